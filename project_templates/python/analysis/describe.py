"""Action `describe`: the cohort -> tables that say who is in it and what they died of."""

import pandas as pd

from cohort import read_cohort
from rounding import safe_counts, write_table


def baseline(cohort: pd.DataFrame) -> pd.DataFrame:
    """How many people are in each group of age, sex, light chains and outcome."""
    characteristics = {
        "age": cohort["age_band"],
        "sex": cohort["sex"],
        "light chains": cohort["group"],
        "at end of follow-up": cohort["died"].map({0: "alive", 1: "died"}),
    }
    return pd.concat([levels(name, values) for name, values in characteristics.items()], ignore_index=True)


def levels(name: str, values: pd.Series) -> pd.DataFrame:
    """The rows of one characteristic. Total and percentage come from the rounded counts (see rounding.py)."""
    counts = safe_counts(values.value_counts().sort_index())
    return pd.DataFrame(
        {
            "characteristic": name,
            "level": counts.index,
            "n": counts.array,
            "total": counts.sum(),
            "percent": (100 * counts / counts.sum()).round(1).array,
        }
    )


def causes_of_death(cohort: pd.DataFrame) -> pd.DataFrame:
    """Deaths by chapter of the ICD-9, most common first. Rare causes are kept in the table, without a number."""
    counts = safe_counts(cohort.loc[cohort["died"] == 1, "cause"].value_counts())
    table = pd.DataFrame({"cause": counts.index, "deaths": counts.array})
    # Ties, and all redacted rows, in alphabetical order: the order of the rows must tell nothing.
    return table.sort_values(["deaths", "cause"], ascending=[False, True], na_position="last")


def main() -> None:
    cohort = read_cohort()
    write_table(baseline(cohort), "output/tables/baseline.csv", counts=["n"])
    write_table(causes_of_death(cohort), "output/tables/causes_of_death.csv", counts=["deaths"])
    print("Wrote two tables.")


if __name__ == "__main__":
    main()
