"""`jobrunner init`: a study out of a template, in a folder that was empty, and nowhere else."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from jobrunner import templates
from jobrunner.pipeline import load
from jobrunner.study.names import check_name

pytestmark = [pytest.mark.unit, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
FOR_ALL = {".gitignore", ".vscode/settings.json", ".vscode/extensions.json", ".github/workflows/check.yml"}


def jobrunner(
    folder: Path, *words: str, status: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in `folder` and look at its status."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "jobrunner.cli.main", *words],
        cwd=folder, env={**os.environ, **environment}, timeout=60, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def files(folder: Path) -> dict[str, bytes]:
    """Path and content of all that is in a folder, but for the inside of a git repository."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def test_every_folder_with_a_pipeline_is_a_template_and_help_tells_of_it(tmp_path: Path) -> None:
    found = {path.parent.name for path in (ROOT / "project_templates").glob("*/project.yaml")}
    assert found == set(templates.TEMPLATES)
    said = jobrunner(tmp_path, "init", "--help").stdout
    for name, words in templates.TEMPLATES.items():
        assert f"{name:<8}  {words}\n" in said


@pytest.mark.parametrize("name", templates.TEMPLATES)
def test_a_study_has_all_that_it_needs(tmp_path: Path, name: str) -> None:
    said = jobrunner(tmp_path, "init", name, "a study").stdout
    made = files(tmp_path / "a study")
    assert made.keys() >= FOR_ALL | {"README.md", "project.yaml", "tests/run.sh", "dummy/README.md"}
    assert b"\noutput/\n" in made[".gitignore"]
    assert load(made["project.yaml"]).problems == ()
    ((schema, for_file),) = json.loads(made[".vscode/settings.json"])["yaml.schemas"].items()
    assert (made[schema].decode(), for_file) == (jobrunner(tmp_path, "schema").stdout, "project.yaml")
    assert "cd 'a study'\n  jobrunner check\n  jobrunner run run_all\n" in said
    assert {path: made[path] for path in files(templates.template(name))} == files(templates.template(name))
    # The agent refuses a tree with a name that it does not like.
    for part in {part for path in made for part in Path(path).parts}:
        assert check_name(part.encode(), 255) == part
    jobrunner(tmp_path, "check", "a study")


def test_python_is_the_template_when_none_is_named(tmp_path: Path) -> None:
    jobrunner(tmp_path, "init", "study")
    assert (tmp_path / "study" / "project.yaml").read_bytes() == (
        templates.template("python") / "project.yaml"
    ).read_bytes()


def test_an_empty_folder_is_filled_and_git_is_left_as_it_is(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    before = (tmp_path / ".git" / "config").read_bytes()
    said = jobrunner(tmp_path, "init", "r", ".").stdout
    assert "project.yaml" in files(tmp_path)
    assert (tmp_path / ".git" / "config").read_bytes() == before
    assert "git repository" not in said
    assert "cd " not in said


def test_a_new_study_is_a_git_repository_of_its_own_and_ignores_its_outputs(tmp_path: Path) -> None:
    said = jobrunner(tmp_path, "init", "r", "study", GIT_DIR="/nonexistent").stdout
    assert "git repository" in said
    study = tmp_path / "study"
    (study / "output").mkdir()
    (study / "output" / "cohort.csv.gz").touch()
    listed = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=all"], cwd=study, check=True, capture_output=True
    ).stdout
    assert b"?? project.yaml" in listed
    assert b"output" not in listed


def test_no_repository_is_made_within_another(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    jobrunner(tmp_path, "init", "sql-only", "studies/one")
    assert (tmp_path / "studies" / "one" / "project.yaml").is_file()
    assert not (tmp_path / "studies" / "one" / ".git").exists()


def test_a_study_can_be_made_where_there_is_no_git(tmp_path: Path) -> None:
    jobrunner(tmp_path, "init", "sql-only", "study", PATH="/nonexistent")
    assert (tmp_path / "study" / "project.yaml").is_file()
    assert not (tmp_path / "study" / ".git").exists()


@pytest.mark.parametrize("there", ["project.yaml", ".hidden", "output"])
def test_a_folder_with_anything_in_it_is_left_alone(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    said = jobrunner(tmp_path, "init", "r", ".", status=1).stderr
    assert f"is not empty: it has '{there}'" in said
    assert files(tmp_path) == {there: b"mine"}


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("r",), 2, "r is a template; say which folder too: jobrunner init r my-study"),
        (
            ("pyhton", "study"),
            2,
            "there is no template 'pyhton', only python, r, sql-only. Did you mean python?",
        ),
        (("../r", "study"), 2, "there is no template '../r'"),
        (("every-study", "study"), 2, "there is no template 'every-study'"),
        (("",), 2, "the folder has no name"),
        (("r", "a-file"), 1, "a-file is a file, not a folder"),
        (("r", "a-link"), 1, "a-link is a file, not a folder"),
        (("r", "a-file/study"), 1, "cannot write a-file/study"),
        (("r", "x" * 300), 1, "File name too long"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    tmp_path: Path, words: tuple[str, ...], status: int, says: str
) -> None:
    (tmp_path / "a-file").write_text("mine")
    (tmp_path / "a-link").symlink_to("nowhere")
    assert says in jobrunner(tmp_path, "init", *words, status=status).stderr
    assert {path.name for path in tmp_path.iterdir()} == {"a-file", "a-link"}


def test_what_is_installed_read_only_becomes_a_study_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "installed"
    (source / "output").mkdir(parents=True)
    (source / "output" / "left.csv").touch()
    for left in (".jobrunner", ".pytest_cache"):
        (source / left).mkdir()
        (source / left / "x").touch()
    (source / "project.yaml").write_text("version: '5.0'\n")
    (source / "project.yaml").chmod(0o444)
    monkeypatch.setattr(templates, "template", lambda name: source if name == "r" else tmp_path / "none")
    (tmp_path / "none").mkdir()
    templates.copy("r", tmp_path / "study")
    assert files(tmp_path / "study") == {"project.yaml": b"version: '5.0'\n"}
    assert (tmp_path / "study" / "project.yaml").stat().st_mode & 0o200


@pytest.mark.slow
def test_an_installed_wheel_has_every_file_of_every_template(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")],
        cwd=ROOT, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    (wheel,) = (tmp_path / "dist").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    for name in templates.TEMPLATES:
        jobrunner(tmp_path, "init", name, name, PYTHONPATH=str(tmp_path / "installed"))
        expected = {**files(templates.template("every-study")), **files(templates.template(name))}
        expected[".vscode/project-yaml.schema.json"] = jobrunner(tmp_path, "schema").stdout.encode()
        assert files(tmp_path / name) == expected
    where = "from jobrunner import templates; print(templates.template('r'))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", where], env=environment, check=True, capture_output=True
    )
    assert done.stdout.decode().strip().startswith(str(tmp_path / "installed"))
