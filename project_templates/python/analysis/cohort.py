"""The rows of action `extract`, read in one place."""

import pandas as pd

AGE_BANDS = {"50-59": (50, 60), "60-69": (60, 70), "70-79": (70, 80), "80 and over": (80, 200)}
GROUPS = {1: "top tenth", 0: "lower nine tenths"}


def read_cohort() -> pd.DataFrame:
    """One row per person: age, age_band, sex, light_chains, group, top_tenth, years, died, cause.

    Ends the action when a value is missing where none may be. What is written then names columns, not people.
    """
    cohort = pd.read_csv("output/cohort.csv.gz")
    cohort["age_band"] = cohort["age"].map(age_band)
    cohort["group"] = cohort["top_tenth"].map(GROUPS)
    missing = cohort.drop(columns="cause").isna().any()
    if missing.any():
        raise SystemExit(f"Values are missing or unknown in: {', '.join(missing[missing].index)}.")
    return cohort


def age_band(age: int) -> str | None:
    """The band that an age in years falls into; None below the youngest."""
    return next((band for band, (low, high) in AGE_BANDS.items() if low <= age < high), None)
