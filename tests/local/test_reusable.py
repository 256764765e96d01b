"""A reusable action on a laptop: its own code at the commit of its tag, on the study's inputs."""

from pathlib import Path

import pytest

from tests.fixtures.git_fixtures import StudyRepository, run_git, serve
from tests.local.studies import commit, jobrunner, write
from tests.whole.test_reusable import EXTRACT, MAIN, PIPELINE

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.fixtures.engine"]


def tag(counter: StudyRepository, name: str, *, again: bool = False) -> None:
    """Make the tag at the head of `main`, or move it there."""
    force = ["--force"] if again else []
    run_git(counter.work, "tag", "--annotate", *force, "--message", name, name)
    run_git(counter.work, "push", "--quiet", *force, str(counter.bare), f"refs/tags/{name}")


def test_it_runs_its_own_code_and_needs_no_network_twice(tmp_path: Path, python_v2_image: str) -> None:
    del python_v2_image
    files = {"action.yaml": "run: python:v2 python app/main.py --quiet\n", "app/main.py": MAIN}
    (tmp_path / "git").mkdir()
    counter = StudyRepository.create(tmp_path / "git", "reusable/counter", files)
    tag(counter, "v1.0")
    root = tmp_path / "home" / "study"
    write(root, {"project.yaml": PIPELINE, "analysis/extract.py": EXTRACT})
    commit(root)
    with serve(tmp_path / "git") as git:
        prefix = git.url("reusable")
        done = jobrunner(root, "run", "table", JOBRUNNER_REUSABLE_PREFIX=prefix)
    assert (done.status, done.ran) == (0, ["extract", "table"]), done
    assert (root / "output" / "table.csv").read_text() == "group,n\nall,40\n"
    log = (root / ".jobrunner" / "logs" / "table.log").read_text()
    words = ["--quiet", "--column", "age group", "--config", '{"title": "It\\u0027s due"}']
    assert f"arguments {words}" in log
    assert "files ['action.yaml', 'app/main.py', 'output/rows.csv']" in log

    again = jobrunner(root, "run", "table", JOBRUNNER_REUSABLE_PREFIX=prefix)
    assert (again.status, again.ran) == (0, [])
    assert again.reason("table").startswith("up to date")
