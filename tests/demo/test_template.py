"""The study that researchers copy is valid, and the set-up scripts are scripts."""

import shutil
import subprocess
import sys
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
    assert list(run_all_order(loaded.pipeline.actions)) == ["extract", "describe", "model", "plot", "report"]


def test_the_template_carries_no_data_but_what_its_script_makes(tmp_path: Path) -> None:
    template = study_repository.template()
    tables = [path for path in template.rglob("*") if path.suffix in (".csv", ".gz", ".arrow", ".png")]
    assert tables == [template / "dummy" / "flchain.csv"]
    shutil.copy(template / "dummy" / "make_dummy.py", tmp_path)
    subprocess.run([sys.executable, "-I", str(tmp_path / "make_dummy.py")], check=True)
    made = (tmp_path / "flchain.csv").read_bytes()
    assert made == tables[0].read_bytes()
    assert made.count(b"\n") == 401
    for text in ((template / "dummy" / "README.md").read_text(), (tmp_path / "make_dummy.py").read_text()):
        assert "synthetic" in text.lower()


def test_only_the_query_gets_a_database_and_only_analyses_get_rows() -> None:
    pipeline = load((study_repository.template() / "project.yaml").read_bytes()).pipeline
    assert pipeline is not None
    actions = pipeline.actions
    assert [name for name, action in actions.items() if action.is_database_action] == ["extract"]
    assert [name for name, action in actions.items() if "extract" in action.needs] == ["describe", "model"]


def test_the_same_template_gives_the_same_commit(tmp_path: Path) -> None:
    commits = set()
    for name in ("a", "b"):
        folder = DemoFolder(tmp_path / name)
        study_repository.make(folder, "http://127.0.0.1:1/flchain")
        commits.add(study_repository.head(folder))
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
