"""`jobrunner demo` for real: the whole way with the public cohort, twice, and with a study that fails."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobrunner.privacy.disclosure import engine as disclosure
from jobrunner.privacy.disclosure import rulebook

pytest_plugins = ["tests.fixtures.engine"]
pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

COMMAND = [sys.executable, "-P", "-m", "jobrunner.cli.main", "demo"]
TABLES = ("baseline", "causes_of_death", "hazard_ratios", "survival")


@dataclass(frozen=True, slots=True)
class Demo:
    """A demo folder in which the first run has ended."""

    root: Path
    said: str

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "DEMO_DIR": str(self.root), "DEMO_EXIT": "1"}

    @property
    def medium(self) -> Path:
        (workspace,) = (self.root / "site-data" / "medium" / "workspaces").iterdir()
        return workspace

    @property
    def kept(self) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads((self.root / "demo.json").read_text())
        return fields

    def run(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            COMMAND, env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )

    def table(self, name: str) -> list[dict[str, str]]:
        with (self.medium / "output" / "tables" / f"{name}.csv").open(newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def demo(python_v2_image: str, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The first run, from nothing."""
    del python_v2_image
    root = tmp_path_factory.mktemp("first") / "demo"
    done = Demo(root, "").run()
    if done.returncode != 0:
        pytest.fail(f"{done.stdout}\n{done.stderr}")
    return Demo(root, done.stdout)


def is_answered(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_first_run_succeeds_and_leaves_no_program_behind(demo: Demo) -> None:
    assert "all actions succeeded" in demo.said
    assert not is_answered(demo.kept["controller_port"])
    assert not is_answered(demo.kept["git_port"])
    assert "draining" in (demo.root / "logs" / "agent.log").read_text()


def test_aggregates_are_in_the_medium_area_and_rows_are_not(demo: Demo) -> None:
    names = {path.name for path in demo.medium.rglob("*.csv")}
    assert names == {f"{name}.csv" for name in TABLES}
    assert not list(demo.medium.rglob("*cohort*"))
    (cohort,) = (demo.root / "site-data" / "high" / "workspaces").rglob("cohort.csv.gz")
    assert cohort.stat().st_size > 10_000


def test_the_numbers_are_those_of_the_published_cohort(demo: Demo) -> None:
    sexes = {row["level"]: int(row["n"]) for row in demo.table("baseline") if row["characteristic"] == "sex"}
    assert sexes == {"female": 4350, "male": 3525}
    crude, adjusted, _, _ = demo.table("hazard_ratios")
    assert crude["deaths"] == "2170"
    # The paper gives 4.4 for the top tenth of its 15,859 people, 2.1 after adjustment (age, sex, kidneys).
    assert 4 < float(crude["hazard_ratio"]) < 4.6
    assert 1.9 < float(adjusted["hazard_ratio"]) < 2.4


def test_no_count_is_small_or_unrounded(demo: Demo) -> None:
    counts = [
        row[column]
        for name, columns in {
            "baseline": ("n", "total"),
            "causes_of_death": ("deaths",),
            "hazard_ratios": ("n", "deaths"),
            "survival": ("at_risk", "deaths"),
        }.items()
        for row in demo.table(name)
        for column in columns
    ]
    assert counts.count("[REDACTED]") == 3
    numbers = [int(count) for count in counts if count != "[REDACTED]"]
    assert all(number == 0 or (number >= 10 and number % 5 == 0) for number in numbers)


def test_no_file_rule_finds_anything(demo: Demo) -> None:
    book = rulebook.load(rulebook.default_rulebook())
    files = [path for path in (demo.medium / "output").rglob("*") if path.is_file()]
    assert len(files) == len(TABLES) + 1
    for path in files:
        content = path.read_bytes()
        report = disclosure.check_bytes(path.name, content, len(content), "0" * 64, book)
        assert list(report.findings) == [], path.name


def test_a_second_run_reuses_the_folder(demo: Demo) -> None:
    before = demo.kept
    began = time.monotonic()
    done = demo.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - began < 45
    assert demo.kept == before
    assert "registering" not in done.stdout


def test_a_study_that_fails_gives_status_1_and_says_where_its_log_is(demo: Demo) -> None:
    study = demo.root / "study"
    script = study / "analysis" / "model.py"
    good = script.read_text()
    try:
        push(study, script, "print('this is the log'); raise SystemExit(4)\n")
        done = demo.run()
    finally:
        push(study, script, good)
    assert done.returncode == 1
    assert "model: failed, nonzero exit" in done.stdout
    place = done.stdout.partition("its log: ")[2].splitlines()[0]
    assert "this is the log" in Path(place).read_text()


def test_term_in_the_middle_ends_everything_and_the_next_run_succeeds(demo: Demo) -> None:
    with subprocess.Popen(
        COMMAND, env=demo.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        if process.stdout is None:
            pytest.fail("no output")
        for line in process.stdout:
            if ": running" in line:
                break
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait(90) == 128 + signal.SIGTERM
    assert not is_answered(demo.kept["controller_port"])
    done = demo.run()
    assert done.returncode == 0, done.stdout + done.stderr


def push(study: Path, script: Path, text: str) -> None:
    """Change a script as a researcher would."""
    script.write_text(text)
    for words in (["commit", "--quiet", "--all", "--message", "change"], ["push", "--quiet"]):
        subprocess.run(["git", *words], cwd=study, check=True, timeout=60)
