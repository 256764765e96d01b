"""Action `describe`: data/flchain.csv -> the cleaned cohort, and tables that describe it."""

from pathlib import Path

import pandas as pd

from rounding import safe_counts, write_table

DAYS_PER_YEAR = 365.25
AGE_BANDS = {"50-59": (50, 60), "60-69": (60, 70), "70-79": (70, 80), "80 and over": (80, 200)}


def clean(raw: pd.DataFrame) -> pd.DataFrame:
    """One row per person, with the columns that the model needs and no others.

    Follow-up is in years. Who died on the day of the blood sample counts with half a day, because a
    survival time must be above zero.
    """
    cohort = pd.DataFrame()
    cohort["age"] = raw["age"]
    cohort["age_band"] = raw["age"].map(age_band)
    cohort["sex"] = raw["sex"].map({"F": "female", "M": "male"})
    cohort["light_chains"] = raw["kappa"] + raw["lambda"]
    cohort["top_tenth"] = (raw["flc.grp"] == 10).astype(int)
    cohort["years"] = raw["futime"].clip(lower=0.5) / DAYS_PER_YEAR
    cohort["died"] = (raw["death"] == "dead").astype(int)
    cohort["cause"] = raw["chapter"]
    if cohort.drop(columns="cause").isna().any(axis=None):
        raise SystemExit("The cohort has missing or unknown values where none are expected.")
    return cohort


def age_band(age: int) -> str | None:
    """The band that an age in years falls into; None below the youngest."""
    return next((band for band, (low, high) in AGE_BANDS.items() if low <= age < high), None)


def baseline(cohort: pd.DataFrame) -> pd.DataFrame:
    """How many people are in each group of age, sex, light chains and outcome."""
    characteristics = {
        "age": cohort["age_band"],
        "sex": cohort["sex"],
        "light chains": cohort["top_tenth"].map({0: "lower nine tenths", 1: "top tenth"}),
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
    raw = pd.read_csv("data/flchain.csv")
    cohort = clean(raw)
    Path("output/tables").mkdir(parents=True, exist_ok=True)
    # No time stamp in the archive: the same data give the same bytes.
    cohort.to_csv("output/cohort.csv.gz", index=False, compression={"method": "gzip", "mtime": 0})
    write_table(baseline(cohort), "output/tables/baseline.csv", counts=["n"])
    write_table(causes_of_death(cohort), "output/tables/causes_of_death.csv", counts=["deaths"])
    print("Wrote the cohort and two tables.")


if __name__ == "__main__":
    main()
