"""Write dummy/flchain.csv: SYNTHETIC rows with the columns of action `extract`.

Nobody is in them. They are drawn from a seeded random number generator and were never fitted to any real
data: the shares and rates below are round numbers, chosen so that every table of the study has rows.
Run `python dummy/make_dummy.py` after a change; the same program always writes the same bytes.
"""

import csv
import math
import random
from pathlib import Path

PEOPLE = 400
SEED = 20260101
LONGEST_YEARS = 12
DEATHS_PER_YEAR = {0: 0.06, 1: 0.15}
CAUSES = ["Circulatory", "Neoplasms", "Respiratory", "Mental", "External Causes"]
WEIGHTS = [16, 12, 6, 4, 1]
COLUMNS = ["age", "sex", "light_chains", "top_tenth", "years", "died", "cause"]


def person(draw: random.Random) -> list[object]:
    """One made-up person."""
    # A third of them, not a tenth: the tables of a small file would be redacted otherwise.
    top_tenth = int(draw.random() < 1 / 3)
    light_chains = 2 + 6 * draw.random() if top_tenth else 0.5 + 2 * draw.random()
    until_death = -math.log(1 - draw.random()) / DEATHS_PER_YEAR[top_tenth]
    followed = LONGEST_YEARS * (1 - draw.random() ** 3)
    died = int(until_death < followed)
    return [
        50 + int(45 * draw.random() ** 2),
        "female" if draw.random() < 0.55 else "male",
        round(light_chains, 3),
        top_tenth,
        round(max(0.001, min(until_death, followed)), 3),
        died,
        draw.choices(CAUSES, WEIGHTS)[0] if died else "",
    ]


def main() -> None:
    draw = random.Random(SEED)
    with Path(__file__).with_name("flchain.csv").open("w", newline="", encoding="ascii") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(person(draw) for _ in range(PEOPLE))


if __name__ == "__main__":
    main()
