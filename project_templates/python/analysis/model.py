"""Action `model`: the cohort -> hazard ratios, and survival by year."""

import numpy as np
import pandas as pd
from statsmodels.duration.hazard_regression import PHReg

from cohort import GROUPS, read_cohort
from rounding import safe_counts, write_table

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
        [life_table(name, cohort[cohort["group"] == name]) for name in GROUPS.values()]
    )


def life_table(name: str, people: pd.DataFrame) -> pd.DataFrame:
    """The rows of one group, one for each year of follow-up."""
    rows, alive = [], 1.0
    for year in range(1, YEARS + 1):
        started = people["years"] >= year - 1
        ended = started & (people["years"] < year)
        died = people["died"] == 1
        counts = safe_counts(pd.Series([started.sum() - (ended & ~died).sum() // 2, (ended & died).sum()]))
        if counts.isna().any():
            break
        at_risk, deaths = counts
        alive *= 1 - deaths / at_risk
        rows.append((name, year, at_risk, deaths, round(alive, 3)))
    return pd.DataFrame(rows, columns=["light_chains", "year", "at_risk", "deaths", "survival"])


def main() -> None:
    cohort = read_cohort()
    write_table(hazard_ratios(cohort), "output/tables/hazard_ratios.csv", counts=["n", "deaths"])
    write_table(survival(cohort), "output/tables/survival.csv", counts=["at_risk", "deaths"])
    print("Wrote hazard ratios and survival by year.")


if __name__ == "__main__":
    main()
