"""What `jobrunner check` says about the folder of a study: scripts, images and inputs that are not there."""

from pathlib import Path

import pytest

from jobrunner.cli.check import check
from jobrunner.cli.check_folder import missing_beside
from jobrunner.pipeline import load
from jobrunner.pipeline.suggestions import Comparisons

pytestmark = pytest.mark.unit

STUDY = """\
version: '5.0'
actions:
  extract:
    run: ehrql:v1 generate-dataset analysis/dataset.py --output output/data.csv.gz
    outputs: {highly_sensitive: {data: output/data.csv.gz}}
  model:
    run: r:v2 analysis/model.R --in=output/data.csv.gz
    needs: [extract]
    outputs: {moderately_sensitive: {table: output/table.csv}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "analysis").mkdir()
    for name in ("dataset.py", "model.R"):
        (tmp_path / "analysis" / name).touch()
    (tmp_path / "project.yaml").write_text(STUDY)
    return tmp_path


def found(folder: Path, text: str) -> list[tuple[str, str, str]]:
    """(id line:column, action, message) of each warning about this text."""
    loaded = load(text.encode())
    assert loaded.pipeline is not None, loaded.problems
    problems = missing_beside(folder, text.encode(), loaded.pipeline)
    assert all(problem.severity == "warning" for problem in problems)
    return [(f"{p.id} {p.line}:{p.column}", p.action or "", p.message) for p in problems]


def with_run(folder: Path, run: str) -> list[tuple[str, str, str]]:
    return found(folder, STUDY.replace("r:v2 analysis/model.R --in=output/data.csv.gz", run))


def test_a_whole_folder_is_silent(folder: Path) -> None:
    assert found(folder, STUDY) == []


def test_a_script_that_is_not_there(folder: Path) -> None:
    assert with_run(folder, "r:v2 analysis/modle.R") == [
        (
            "SF001 7:10",
            "model",
            "Action `model` runs or reads `analysis/modle.R`, which is not in the folder, and no action "
            "makes it. Add the file, or fix the spelling. Did you mean `analysis/model.R`?",
        )
    ]


@pytest.mark.parametrize(
    "run",
    [
        "r:v2 ./analysis/model.R",
        "python:v2 -m analysis.model",
        "python:v2 /usr/lib/x.py ../x.py $HOME/x.py a*/x.py",
        "python:v2 --output-name x y.z",
        "deciles-charts:v1 analysis/unknown.py",
        "r:v2 analysis/model.R --label v1.csv",
        "r:v2 analysis/model.R output/table.csv",
        "ehrql:v1 generate-measures analysis/dataset.py -- codes=analysis/dataset.py",
    ],
)
def test_what_may_well_be_right_is_not_named(folder: Path, run: str) -> None:
    assert with_run(folder, run) == []


@pytest.mark.parametrize(
    ("image", "meant"), [("R", "r"), ("pyhton", "python"), ("Python", "python"), ("ehrQL", "ehrql")]
)
def test_an_image_that_nearly_is_a_runtime(folder: Path, image: str, meant: str) -> None:
    ((place, _, message),) = with_run(folder, f"{image}:v2 analysis/model.R")

    assert place == "SF002 7:10"
    assert message.endswith(f"Did you mean `{meant}`?")


@pytest.mark.parametrize("image", ["deciles-charts", "cohort-joiner", "kaplan-meier-function", "safetab"])
def test_a_reusable_action_is_no_slip(folder: Path, image: str) -> None:
    assert with_run(folder, f"{image}:v2 --x") == []


def test_an_input_that_another_action_makes(folder: Path) -> None:
    assert found(folder, STUDY.replace("    needs: [extract]\n", "")) == [
        (
            "SF003 7:10",
            "model",
            "Action `model` names `output/data.csv.gz`, which is not in the folder. `extract` makes it: "
            "add that to `needs`.",
        )
    ]


def test_an_input_that_nobody_makes(folder: Path) -> None:
    ((place, _, message),) = with_run(folder, "r:v2 analysis/model.R codelists/smoking.csv")
    assert (place, "no action makes it" in message) == ("SF003 7:10", True)

    (folder / "codelists").mkdir()
    (folder / "codelists" / "smoking.csv").touch()
    assert with_run(folder, "r:v2 analysis/model.R codelists/smoking.csv") == []


def test_a_script_that_a_needed_action_writes(folder: Path) -> None:
    text = STUDY.replace("table: output/table.csv", "table: output/table.csv, code: output/run.txt")
    text += "  later:\n    run: r:v2 analysis/model.R output/run.txt\n    needs: [model]\n"
    text += "    outputs: {highly_sensitive: {z: z.csv}}\n"

    assert found(folder, text) == []


def test_a_link_out_of_the_folder_and_a_loop_do_no_harm(folder: Path) -> None:
    (folder / "analysis" / "loop.R").symlink_to("loop.R")

    ((place, _, _),) = with_run(folder, "r:v2 analysis/loop.R")
    assert place == "SF001 7:10"


def test_warnings_of_the_folder_leave_the_status_alone(
    folder: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (folder / "analysis" / "model.R").unlink()

    assert check(str(folder)) == 0

    out, err = capfdbinary.readouterr()
    assert out.decode().startswith(f"{folder}/project.yaml:7:10: warning SF001: ")
    assert err.decode() == f"jobrunner check: {folder}/project.yaml: 2 actions, no errors, 1 warning\n"


def test_a_file_is_checked_for_itself(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (folder / "analysis" / "model.R").unlink()

    assert check(str(folder / "project.yaml")) == 0
    assert capfdbinary.readouterr().out == b""


def test_a_folder_with_a_wrong_file(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (folder / "project.yaml").write_text(STUDY.replace("[extract]", "[extrat]"))

    assert check(str(folder), form="github") == 1
    assert b",line=8,col=13,title=PY037::" in capfdbinary.readouterr().out


def test_json_is_about_a_file(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Exit status 2 for a folder, as project-yaml.md section 8 has it."""
    assert check(str(folder), form="json") == 2

    out, err = capfdbinary.readouterr()
    assert out == b""
    assert b"it is a folder; name the file" in err


def test_J01_files_that_were_meant_share_what_looking_for_them_may_cost(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = "r:v2 analysis/modle.R analysis/mdoel.R analysis/moedl.R"
    hinted = [message for _, _, message in with_run(folder, run) if "Did you mean" in message]
    assert len(hinted) == 3
    monkeypatch.setattr("jobrunner.cli.check_folder.Comparisons", lambda: Comparisons(most_cost=300))
    messages = [message for _, _, message in with_run(folder, run)]
    assert ["Did you mean" in message for message in messages] == [True, False, False]
