"""`jobrunner demo` for real: the whole way from the database to the report, twice, and a study that fails."""

import csv
import gzip
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobrunner.demo import study_repository
from jobrunner.executors.base import MIB, ActionRun, Limits
from jobrunner.executors.docker import DockerExecutor
from jobrunner.privacy.disclosure import engine as disclosure
from jobrunner.privacy.disclosure import rulebook
from tests.fixtures.canary_runs import AGENT, job_id, run_to_end

pytest_plugins = ["tests.fixtures.engine"]
pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

COMMAND = [sys.executable, "-P", "-m", "jobrunner.cli.main", "demo"]
TABLES = ("baseline", "causes_of_death", "hazard_ratios", "survival")
COHORT = "output/cohort.csv.gz"
# The analyses of the study, one after the other.
ANALYSES = "for a in describe model plot report; do python3 analysis/$a.py || exit 1; done"


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
def demo(python_v2_image: str, sqlrunner_v1_image: str, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The first run, from nothing."""
    del python_v2_image, sqlrunner_v1_image
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


def test_the_two_analyses_run_at_once(demo: Demo) -> None:
    events = [json.loads(line) for line in (demo.root / "logs" / "agent.log").read_text().splitlines()]
    jobs = {event["action"]: event["job"] for event in events if event["event"] == "claimed"}
    order = [(event["job"], event["event"]) for event in events if "job" in event]
    for one, other in (("describe", "model"), ("model", "describe")):
        assert order.index((jobs[one], "claimed")) < order.index((jobs[other], "succeeded"))


def test_aggregates_are_in_the_medium_area_and_rows_are_not(demo: Demo) -> None:
    names = {path.name for path in demo.medium.rglob("*.csv")}
    assert names == {f"{name}.csv" for name in TABLES}
    assert not list(demo.medium.rglob("*cohort*"))
    header, *rows = rows_of(demo)
    assert header == "age,sex,light_chains,top_tenth,years,died,cause"
    assert len(rows) == 7874


def test_rows_come_from_the_database_and_not_from_the_repository(demo: Demo) -> None:
    place = demo.root / "site-database" / "flchain.sqlite"
    assert place.stat().st_mode & 0o777 == 0o444
    with sqlite3.connect(f"file:{place}?mode=ro", uri=True) as connection:
        (oldest,) = connection.execute('SELECT age, kappa + "lambda" FROM flchain ORDER BY id LIMIT 1')
    connection.close()
    assert rows_of(demo)[1].startswith(f"{oldest[0]},female,{oldest[1]},1,")
    repository = demo.root / "study"
    assert [path.name for path in repository.rglob("*.csv")] == ["flchain.csv"]
    assert (repository / "dummy" / "flchain.csv").read_bytes().count(b"\n") == 401


def test_the_report_says_what_the_tables_say(demo: Demo) -> None:
    report = (demo.medium / "output" / "report.md").read_text()
    assert f"{demo.medium}/output/report.md" in demo.said
    adjusted = demo.table("hazard_ratios")[1]
    assert f"had {adjusted['hazard_ratio']} times the hazard" in report
    for name in TABLES:
        for row in demo.table(name):
            assert f"| {' | '.join(row.values())} |" in report


def test_no_log_tells_how_many_there_are(demo: Demo) -> None:
    logs = {path.stem: path.read_text() for path in (demo.medium / "metadata").glob("*.log")}
    assert logs["extract"] == f"Wrote {COHORT} (columns: 7).\n"
    assert logs.keys() == {"extract", "describe", "model", "plot", "report"}
    assert not any(character.isdigit() for name in logs if name != "extract" for character in logs[name])


def test_dummy_data_give_the_same_columns(
    demo: Demo, executor: DockerExecutor, python_v2_image: str, sqlrunner_v1_image: str, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(study_repository.template(), tree)
    words = ("--dummy-data-file", "dummy/flchain.csv", "--output", COHORT, "analysis/extract.sql")
    run = dummy_run(tree, sqlrunner_v1_image, ("/usr/local/bin/run-action", "sqlrunner"), words)
    ended = run_to_end(executor, run)
    assert ended.exit.status == 0, ended.log.decode()
    (tree / "output").mkdir()
    with executor.open_outputs(run) as folder:
        (tree / COHORT).write_bytes(Path(f"/proc/self/fd/{folder}/{COHORT}").read_bytes())
    assert gzip.decompress((tree / COHORT).read_bytes()).decode().splitlines()[0] == rows_of(demo)[0]

    run = dummy_run(
        tree, python_v2_image, ("/usr/local/bin/run-action", "python3"), ("/bin/sh", "-c", ANALYSES)
    )
    ended = run_to_end(executor, run)
    assert ended.exit.status == 0, ended.log.decode()
    with executor.open_outputs(run) as folder:
        output = Path(f"/proc/self/fd/{folder}/output")
        for name in TABLES:
            with (output / "tables" / f"{name}.csv").open(newline="") as file:
                rows = list(csv.DictReader(file))
            assert list(rows[0]) == list(demo.table(name)[0])
        assert (output / "report.md").stat().st_size > 1000
        assert (output / "figures" / "survival.png").stat().st_size > 1000


def dummy_run(tree: Path, image: str, entrypoint: tuple[str, ...], words: tuple[str, ...]) -> ActionRun:
    """An action of the study without a database."""
    job = job_id()
    uid = 200_240 if "sqlrunner" in entrypoint else 200_241
    return ActionRun(
        agent_id=AGENT, job_id=job, attempt=1, image_id=image, entrypoint=entrypoint, argv=words, uid=uid,
        gid=uid, tree=tree, folders=("output", "output/tables", "output/figures"),
        limits=Limits(disk=256 * MIB, inodes=10_000),
    )  # fmt: skip


def rows_of(demo: Demo) -> list[str]:
    """The lines of the cohort that the database action wrote."""
    (cohort,) = (demo.root / "site-data" / "high" / "workspaces").rglob("cohort.csv.gz")
    return gzip.decompress(cohort.read_bytes()).decode().splitlines()


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
    # The tables, the figure and the report.
    assert len(files) == len(TABLES) + 2
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
