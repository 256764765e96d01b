"""Action `plot`: the tables of `describe` and `model` -> a figure.

It reads printed tables only, so it can show nothing that they do not say.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # There is no screen inside the container.

import matplotlib.pyplot as plt
import pandas as pd


def sizes(baseline: pd.DataFrame) -> dict[str, str]:
    """How many people are in each group of light chains, as the table prints it."""
    groups = baseline[baseline["characteristic"] == "light chains"]
    return dict(zip(groups["level"], groups["n"]))


def draw(survival: pd.DataFrame, people: dict[str, str], path: str) -> None:
    """A curve for each group that the table of survival has."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, rows in survival.groupby("light_chains", sort=False):
        label = f"{name} ({people[name]} people)"
        axes.plot([0, *rows["year"]], [1, *rows["survival"]], marker="o", label=label)
    axes.set(xlabel="Years since the blood sample", ylabel="Share alive", ylim=(0, 1.02))
    axes.set_title("Survival by serum free light chains, age 50 and over")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    # No version of the library in the file: the same data give the same bytes.
    figure.savefig(path, dpi=120, metadata={"Software": None})


def main() -> None:
    # As text: a count may be printed as "[REDACTED]".
    baseline = pd.read_csv("output/tables/baseline.csv", dtype={"n": "string"})
    survival = pd.read_csv("output/tables/survival.csv")
    Path("output/figures").mkdir(parents=True, exist_ok=True)
    draw(survival, sizes(baseline), "output/figures/survival.png")
    print("Wrote a figure.")


if __name__ == "__main__":
    main()
