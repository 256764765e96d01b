"""Runs the queries on a small made-up table of which the true counts are known. Needs Python, nothing else."""

import csv
import sqlite3
import unittest
from pathlib import Path

STUDY = Path(__file__).parents[1]
TABLE = "CREATE TABLE flchain (id INTEGER, age INTEGER, sex TEXT, flc_grp INTEGER, death TEXT, chapter TEXT)"


def ask(query: str, *groups: tuple) -> list[dict[str, str]]:
    """The answer of a query; each group is (how many people, age, sex, tenth, death, cause)."""
    database = sqlite3.connect(":memory:")
    database.row_factory = sqlite3.Row
    database.execute(TABLE)
    for number, *person in groups:
        database.executemany("INSERT INTO flchain VALUES (0, ?, ?, ?, ?, ?)", [person] * number)
    return [dict(row) for row in database.execute((STUDY / "analysis" / query).read_text())]


class Queries(unittest.TestCase):
    def test_counts_of_1_to_7_are_removed_and_the_others_rounded(self):
        printed = {n: ask("causes.sql", (n, 60, "F", 1, "dead", "Neoplasms"))[0]["deaths"] for n in range(1, 24)}
        for true, shown in printed.items():
            if true <= 7:
                self.assertEqual(shown, "[REDACTED]")
            else:
                self.assertEqual(int(shown) % 5, 0)
                self.assertLessEqual(abs(int(shown) - true), 2)

    def test_percentages_come_from_the_rounded_counts(self):
        dead, alive = (23, 72, "M", 10, "dead", "Circulatory"), (95, 72, "M", 10, "alive", None)
        expected = {"people": "120", "deaths": "25", "percent_died": "20.8"}
        self.assertEqual(ask("people.sql", dead, alive), [{"age_band": "70-79", "sex": "male", **expected}])
        self.assertEqual(ask("tenths.sql", dead, alive), [{"tenth": 10, **expected}])

    def test_a_removed_count_takes_its_percentage_with_it_and_none_stays_none(self):
        few = ask("people.sql", (3, 85, "F", 1, "dead", "Mental"), (40, 85, "F", 1, "alive", None))
        none = ask("people.sql", (40, 85, "F", 1, "alive", None))
        self.assertEqual([(row["deaths"], row["percent_died"]) for row in few], [("[REDACTED]", "[REDACTED]")])
        self.assertEqual([(row["deaths"], row["percent_died"]) for row in none], [("0", "0.0")])

    def test_nobody_below_50_is_counted(self):
        for query in ("people.sql", "tenths.sql", "causes.sql"):
            self.assertEqual(ask(query, (100, 49, "F", 1, "dead", "Neoplasms")), [])

    def test_the_dummy_tables_have_the_columns_of_the_answers(self):
        for query in sorted((STUDY / "analysis").glob("*.sql")):
            with (STUDY / "dummy" / f"{query.stem}.csv").open(newline="") as file:
                columns = next(csv.reader(file))
            self.assertEqual(list(ask(query.name, (9, 60, "F", 1, "dead", "Neoplasms"))[0]), columns)


if __name__ == "__main__":
    unittest.main()
