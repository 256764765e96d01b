"""Action `report`: the tables and the figure -> one page of Markdown to read.

The page is made of what output checkers see anyway, so it adds nothing that they would have to check anew.
"""

from pathlib import Path

import pandas as pd

PAGE = """\
# Do people with high serum free light chains die earlier?

{answer}

![Share alive by years since the blood sample](figures/survival.png)

## Who was in the study

{baseline}

## Hazard ratios of death

{hazard_ratios}

## Survival by year

{survival}

## Causes of death

{causes}

Counts of 1 to 7 are redacted, the others rounded to 5. Everything else was worked out from those.
"""


def read(name: str) -> pd.DataFrame:
    """A table exactly as it was printed: all of it is text, and nothing is taken for a missing value."""
    return pd.read_csv(f"output/tables/{name}.csv", dtype=str, keep_default_na=False)


def answer(hazard_ratios: pd.DataFrame) -> str:
    """The result in one sentence, from the row of the adjusted model."""
    adjusted = hazard_ratios[hazard_ratios["model"] == "adjusted for age and sex"].iloc[0]
    return (
        f"Among {adjusted['n']} people, of whom {adjusted['deaths']} died, those in the top tenth of light chains\n"
        f"had {adjusted['hazard_ratio']} times the hazard of death of the others at the same age and sex\n"
        f"(95 % confidence interval {adjusted['ci_low']} to {adjusted['ci_high']})."
    )


def as_markdown(table: pd.DataFrame) -> str:
    """The lines of a table, with spaces for the underscores of its header."""
    header = [name.replace("_", " ") for name in table]
    lines = [header, ["---"] * len(header), *table.values.tolist()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> None:
    hazard_ratios = read("hazard_ratios")
    page = PAGE.format(
        answer=answer(hazard_ratios),
        baseline=as_markdown(read("baseline")),
        hazard_ratios=as_markdown(hazard_ratios),
        survival=as_markdown(read("survival")),
        causes=as_markdown(read("causes_of_death")),
    )
    Path("output/report.md").write_text(page, encoding="utf-8")
    print("Wrote the report.")


if __name__ == "__main__":
    main()
