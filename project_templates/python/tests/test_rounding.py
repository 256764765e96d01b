"""Tests of analysis/rounding.py. `sh tests/run.sh` runs them in the image of the actions."""

import sys
import tempfile
import unittest
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "analysis"))

from rounding import safe_counts, write_table


class Rounding(unittest.TestCase):
    def test_counts_of_1_to_7_are_gone_and_zero_stays(self):
        self.assertEqual(safe_counts(pd.Series([0, 1, 5, 7])).isna().tolist(), [False, True, True, True])

    def test_the_others_are_rounded_to_the_nearest_5(self):
        self.assertEqual(safe_counts(pd.Series([0, 8, 12, 13, 17, 18])).tolist(), [0, 10, 10, 15, 15, 20])

    def test_a_redacted_count_leaves_no_trace_in_the_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tables" / "table.csv"
            table = pd.DataFrame({"group": ["a", "b"], "n": safe_counts(pd.Series([3, 100]))})
            write_table(table, str(path), counts=["n"])
            self.assertEqual(path.read_text(), "group,n\na,[REDACTED]\nb,100\n")


if __name__ == "__main__":
    unittest.main()
