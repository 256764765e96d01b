"""Action `model`: the cleaned cohort -> hazard ratios, survival by year, and a figure."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # There is no screen inside the container.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from statsmodels.duration.hazard_regression import PHReg

from rounding import safe_counts, write_table

GROUPS = {1: "top tenth", 0: "lower nine tenths"}
YEARS = 10


def hazard_ratios(cohort: pd.DataFrame) -> pd.DataFrame:
    """Cox models of death: light chains alone, then with age and sex."""
    variables = pd.DataFrame(
        {
            "top tenth of light chains": cohort["top_tenth"],
            "age, per 10 years": cohort["age"] / 10,
            "male sex": (cohort["sex"] == "male").astype(int),
        }
    )
    models = {"crude": list(variables)[:1], "adjusted for age and sex": list(variables)}
    return pd.concat([cox(name, cohort, variables[terms]) for name, terms in models.items()])


def cox(name: str, cohort: pd.DataFrame, variables: pd.DataFrame) -> pd.DataFrame:
    """One model: a row per term, with people and deaths rounded."""
    model = PHReg(cohort["years"], variables, status=cohort["died"], ties="efron").fit()
    low, high = np.exp(model.conf_int()).T
    people, deaths = safe_counts(pd.Series([len(cohort), cohort["died"].sum()]))
    return pd.DataFrame(
        {
            "model": name,
            "term": variables.columns,
            "hazard_ratio": np.exp(model.params).round(2),
            "ci_low": low.round(2),
            "ci_high": high.round(2),
            "n": people,
            "deaths": deaths,
        }
    )


def survival(cohort: pd.DataFrame) -> pd.DataFrame:
    """Share of each group still alive after 1, 2, ... years: a life table, from rounded counts only.

    A person whose follow-up ended in a year without death was at risk for half of it. The table of a
    group ends before the first year whose numbers are too small to print.
    """
    return pd.concat(
        [life_table(name, cohort[cohort["top_tenth"] == group]) for group, name in GROUPS.items()]
    )


def life_table(name: str, people: pd.DataFrame) -> pd.DataFrame:
    """The rows of one group, one for each year of follow-up."""
    rows, alive = [], 1.0
    for year in range(1, YEARS + 1):
        started = people["years"] >= year - 1
        ended = started & (people["years"] < year)
        died = people["died"] == 1
        counts = safe_counts(pd.Series([started.sum() - (ended & ~died).sum() / 2, (ended & died).sum()]))
        if counts.isna().any():
            break
        at_risk, deaths = counts
        alive *= 1 - deaths / at_risk
        rows.append((name, year, at_risk, deaths, round(alive, 3)))
    return pd.DataFrame(rows, columns=["light_chains", "year", "at_risk", "deaths", "survival"])


def draw(table: pd.DataFrame, path: str) -> None:
    """The curves of the printed table: nothing is drawn that the table does not say."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, rows in table.groupby("light_chains", sort=False):
        axes.plot([0, *rows["year"]], [1, *rows["survival"]], marker="o", label=name)
    axes.set(xlabel="Years since the blood sample", ylabel="Share alive", ylim=(0, 1.02))
    axes.set_title("Survival by serum free light chains, age 50 and over")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def main() -> None:
    cohort = pd.read_csv("output/cohort.csv.gz")
    for folder in ("output/tables", "output/figures"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    write_table(hazard_ratios(cohort), "output/tables/hazard_ratios.csv", counts=["n", "deaths"])
    curves = survival(cohort)
    write_table(curves, "output/tables/survival.csv", counts=["at_risk", "deaths"])
    draw(curves, "output/figures/survival.png")
    print("Wrote hazard ratios, survival by year and a figure.")


if __name__ == "__main__":
    main()
