"""Each template as its new owner meets it: init, check, run on made-up data, change something, run again."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobrunner import templates
from jobrunner.pipeline import load
from jobrunner.privacy.disclosure import engine as disclosure
from jobrunner.privacy.disclosure import rulebook

pytest_plugins = ["tests.fixtures.engine"]
pytestmark = pytest.mark.docker

# A file of the study that is changed; which actions must then run again, and which must not.
CHANGED = {
    "python": ("analysis/plot.py", {"plot"}, {"extract", "describe", "model"}),
    "r": ("dummy/cohort.csv", {"extract", "describe", "model", "plot"}, set()),
    "sql-only": ("analysis/causes.sql", {"causes"}, {"people", "tenths"}),
}


@dataclass(frozen=True, slots=True)
class Study:
    """A study out of a template, and what the commands say in it."""

    template: str
    root: Path

    def jobrunner(self, *words: str) -> str:
        """Run a command that must succeed; returns all that it printed."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "jobrunner.cli.main", *words],
            cwd=self.root, timeout=200, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    def actions(self) -> dict[str, dict[str, str]]:
        """Level of each output path, by action."""
        pipeline = load((self.root / "project.yaml").read_bytes()).pipeline
        assert pipeline is not None
        return {name: dict(action.patterns()) for name, action in pipeline.actions.items()}

    def outputs(self) -> dict[str, bytes]:
        """Path and content of every output of every action."""
        return {
            path: (self.root / path).read_bytes() for action in self.actions().values() for path in action
        }


@pytest.fixture(scope="module", params=templates.TEMPLATES)
def study(
    request: pytest.FixtureRequest, python_v2_image: str, r_v2_image: str, sqlrunner_v1_image: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Study:  # fmt: skip
    """A study of each template in turn, all of whose actions have run once."""
    del python_v2_image, r_v2_image, sqlrunner_v1_image
    made = Study(request.param, tmp_path_factory.mktemp("studies") / request.param)
    made.root.mkdir()
    made.jobrunner("init", request.param, ".")
    made.jobrunner("check")
    said = made.jobrunner("run", "run_all")
    assert f"{len(made.actions())} succeeded." in said
    return made


def test_a_second_run_executes_nothing_and_says_why(study: Study) -> None:
    before = study.outputs()
    said = study.jobrunner("run", "run_all")
    for action in study.actions():
        assert f"{action}: up to date: definition, image, " in said
    assert study.outputs() == before


def test_the_same_study_gives_the_same_bytes(study: Study) -> None:
    before = study.outputs()
    assert all(before.values())
    assert f"{len(study.actions())} succeeded." in study.jobrunner("run", "run_all", "--fresh")
    assert study.outputs() == before


def test_no_rule_for_release_finds_anything_in_what_people_may_see(study: Study) -> None:
    book = rulebook.load(rulebook.default_rulebook())
    levels = {path: level for action in study.actions().values() for path, level in action.items()}
    for path, content in study.outputs().items():
        if levels[path] == "moderately_sensitive":
            report = disclosure.check_bytes(Path(path).name, content, len(content), "0" * 64, book)
            assert list(report.findings) == [], path


def test_rows_of_people_are_highly_sensitive_and_nothing_else_is(study: Study) -> None:
    rows = {
        path for action in study.actions().values() for path, level in action.items()
        if level == "highly_sensitive"
    }  # fmt: skip
    assert rows == (set() if study.template == "sql-only" else {"output/cohort.csv.gz"})


def test_its_own_tests_pass(study: Study) -> None:
    done = subprocess.run(
        ["sh", "tests/run.sh"], cwd=study.root, timeout=60, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "OK" in done.stderr or "All tests of rounding.R passed." in done.stdout


def test_the_dummy_rows_of_r_are_what_their_script_makes(r_v2_image: str, tmp_path: Path) -> None:
    study = tmp_path / "study"
    shutil.copytree(templates.template("r"), study)
    (study / "dummy" / "cohort.csv").unlink()
    command = ["docker", "run", "--rm", "--network", "none", "--user", str(os.geteuid())]
    command += ["--volume", f"{study}:/workspace", r_v2_image, "dummy/make_dummy.R"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    shipped = templates.template("r") / "dummy" / "cohort.csv"
    assert (study / "dummy" / "cohort.csv").read_bytes() == shipped.read_bytes()


def test_a_changed_file_runs_again_what_names_it_and_says_so(study: Study) -> None:
    changed, again, up_to_date = CHANGED[study.template]
    place = study.root / changed
    lines = place.read_bytes().splitlines(keepends=True)
    place.write_bytes(b"".join(lines[:-1]) if place.suffix == ".csv" else b"".join([*lines, b"\n"]))
    said = study.jobrunner("run", "run_all")
    assert f": runs: {changed} changed\n" in said
    for action in again:
        assert f"{action}: succeeded" in said
    for action in up_to_date:
        assert f"{action}: succeeded" not in said
