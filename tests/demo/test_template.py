"""The study that researchers copy is valid, and the set-up scripts are scripts."""

import subprocess
from pathlib import Path

import pytest

from jobrunner.demo import study_repository
from jobrunner.demo.folder import DemoFolder
from jobrunner.pipeline import load, run_all_order

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]


def test_the_pipeline_of_the_template_has_no_problem() -> None:
    loaded = load((study_repository.template() / "project.yaml").read_bytes())
    assert loaded.problems == ()
    assert loaded.pipeline is not None
    assert list(run_all_order(loaded.pipeline.actions)) == ["describe", "model"]


def test_the_template_carries_no_data() -> None:
    tables = [path.name for path in study_repository.template().rglob("*") if path.suffix in (".csv", ".gz")]
    assert tables == []


def test_the_same_template_and_data_give_the_same_commit(tmp_path: Path) -> None:
    commits = set()
    for name in ("a", "b"):
        folder = DemoFolder(tmp_path / name)
        study_repository.make(folder, b"age,sex\n97,F\n", "http://127.0.0.1:1/flchain")
        commits.add(study_repository.head(folder))
        assert (folder.study / "data" / "flchain.csv").read_bytes() == b"age,sex\n97,F\n"
    assert len(commits) == 1


@pytest.mark.parametrize("script", ["deploy/setup", ".ci/run"])
def test_scripts_parse_and_can_be_executed(script: str) -> None:
    assert (ROOT / script).stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)


def test_setup_refuses_a_word_that_it_does_not_know() -> None:
    done = subprocess.run(
        [str(ROOT / "deploy/setup"), "engin"], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert "engin" in done.stderr
