"""Action `report`: the tables and the figure -> one page to read.

The page is made of what output checkers see anyway, so it adds nothing that they would have to check anew.
"""

from html import escape
from pathlib import Path

import pandas as pd

PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body>
<h1>{title}</h1>
<p>{answer}</p>
<h2>Who was in the study</h2>
{baseline}
<h2>Hazard ratios of death</h2>
{hazard_ratios}
<h2>Survival</h2>
<p><img src="figures/survival.png" width="720" alt="Share alive by years since the blood sample, two curves"></p>
{survival}
<h2>Causes of death</h2>
{causes}
<p>Counts of 1 to 7 are redacted, the others rounded to 5. Everything else was worked out from those.</p>
</body>
</html>
"""


def read(name: str) -> pd.DataFrame:
    """A table exactly as it was printed: all of it is text, and nothing is taken for a missing value."""
    return pd.read_csv(f"output/tables/{name}.csv", dtype=str, keep_default_na=False)


def answer(hazard_ratios: pd.DataFrame) -> str:
    """The result in one sentence, from the row of the adjusted model."""
    adjusted = hazard_ratios[hazard_ratios["model"] == "adjusted for age and sex"].iloc[0]
    return (
        f"Among {adjusted['n']} people, of whom {adjusted['deaths']} died, those in the top tenth of light chains "
        f"had {adjusted['hazard_ratio']} times the hazard of death of the others "
        f"(95 % confidence interval {adjusted['ci_low']} to {adjusted['ci_high']}), at the same age and sex."
    )


def html(table: pd.DataFrame) -> str:
    """A table for the page; what is in it is escaped."""
    return table.rename(columns=lambda name: name.replace("_", " ")).to_html(index=False, border=0)


def main() -> None:
    hazard_ratios = read("hazard_ratios")
    page = PAGE.format(
        title="Do people with high serum free light chains die earlier?",
        answer=escape(answer(hazard_ratios)),
        baseline=html(read("baseline")),
        hazard_ratios=html(hazard_ratios),
        survival=html(read("survival")),
        causes=html(read("causes_of_death")),
    )
    Path("output/report.html").write_text(page, encoding="utf-8")
    print("Wrote the report.")


if __name__ == "__main__":
    main()
