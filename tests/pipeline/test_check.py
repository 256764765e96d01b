"""`jobrunner check`: output and exit status."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobrunner.cli.check import check, main
from tests.pipeline.test_semantics import INVALID, VALID

pytestmark = pytest.mark.unit


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "good.yaml").write_text(VALID)
    (tmp_path / "bad.yaml").write_text(INVALID)
    (tmp_path / "old.yaml").write_text("version: 3\nexpectations: {population_size: 7}\nactions: {}\n")
    (tmp_path / "odd.yaml").write_bytes("version: 5\nactions: {é: 1}\n".encode())
    return tmp_path


def as_json(path: Path, capfdbinary: pytest.CaptureFixture[bytes], status: int) -> dict[str, Any]:
    assert check(str(path), form="json") == status
    out, err = capfdbinary.readouterr()
    assert err == b""
    assert out.endswith(b"}\n")
    assert out.count(b"\n") == 1
    found: dict[str, Any] = json.loads(out.decode())
    return found


def test_valid_file_as_json(study: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    found = as_json(study / "good.yaml", capfdbinary, 0)

    assert set(found) == {"valid", "version", "population_size", "actions", "run_all_order", "problems"}
    assert (found["valid"], found["version"], found["population_size"]) == (True, "5.0", None)
    assert found["run_all_order"] == ["extract", "model", "report"]
    assert found["problems"] == []
    assert found["actions"][0] == {
        "id": "report",
        "run": {
            "image": "deciles-charts",
            "version": "v0.0.33",
            "argv": ["--input-files", "output/table_*.csv"],
        },
        "needs": ["model"],
        "outputs": {"moderately_sensitive": {"page": "output/report.html"}},
        "config": {"title": "It's due", "groups": ["a", "b"]},
        "is_database_action": False,
    }


def test_invalid_file_as_json(study: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    found = as_json(study / "bad.yaml", capfdbinary, 1)

    assert (found["valid"], found["version"], found["population_size"]) == (False, "5.0", None)
    assert found["actions"] == found["run_all_order"] == []
    assert len(found["problems"]) == 8
    assert set(found["problems"][0]) == {"id", "severity", "line", "column", "action", "message"}


def test_warnings_leave_a_file_valid(study: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    found = as_json(study / "old.yaml", capfdbinary, 0)

    assert (found["version"], found["population_size"]) == ("3.0", 7)
    assert [(problem["id"], problem["severity"]) for problem in found["problems"]] == [
        ("PY013", "warning"),
        ("PS025", "warning"),
    ]


def test_json_is_utf_8(study: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    check(str(study / "odd.yaml"), form="json")

    assert "é".encode() in capfdbinary.readouterr().out


def test_plain_lines(study: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    path = study / "bad.yaml"

    assert check(str(path)) == 1

    out, err = capfdbinary.readouterr()
    lines = out.decode().splitlines()
    assert lines[0].startswith(f"{path}:4:10: error PY067: Action `extract` does not say where to write.")
    assert lines[1:3] == [
        "    4 |     run: ehrql:v1 generate-dataset analysis/dataset.py",
        "      |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^",
    ]
    assert sum(not line.startswith(" ") for line in lines) == 8
    assert err.decode() == f"jobrunner check: {path}: 8 errors\n"


def test_plain_lines_of_a_good_file_are_none(study: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert check(str(study / "good.yaml")) == 0

    out, err = capfdbinary.readouterr()
    assert out == b""
    assert err.decode() == f"jobrunner check: {study / 'good.yaml'}: 3 actions, no errors\n"


@pytest.mark.parametrize("form", ["text", "json", "github"])
@pytest.mark.parametrize("name", ["missing.yaml", ".", "a\0b"])
def test_unreadable(study: Path, name: str, form: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert check(str(study / name) if "\0" not in name else name, form=form) == 2

    out, err = capfdbinary.readouterr()
    assert out == b""
    assert err.count(b"\n") == 1
    assert b"cannot read" in err


def test_an_endless_file_is_not_read_to_its_end(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    found = as_json(Path("/dev/zero"), capfdbinary, 1)

    assert [problem["id"] for problem in found["problems"]] == ["PS001"]


@pytest.mark.parametrize(
    "words", [["--bogus"], ["a", "b"], ["--format", "xml"], ["--json", "--format", "github"], ["--jso", "a"]]
)
def test_a_wrong_command_line_is_told_in_one_line(
    words: list[str], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)

    out, err = capfdbinary.readouterr()
    assert ended.value.code == 2
    assert out == b""
    assert err.startswith(b"jobrunner check: ")
    assert err.count(b"\n") == 1


def test_the_command_says_how_it_is_used(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    assert ended.value.code == 0
    assert b"FILE|DIR" in capfdbinary.readouterr().out


def test_the_command_as_a_process(study: Path) -> None:
    """Through the entry point: a wrong file gives 1, `--json` one object, no path means the folder."""
    (study / "project.yaml").write_text(VALID)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "jobrunner.cli.main", "check", *words]
        return subprocess.run(command, cwd=study, capture_output=True, text=True, check=False)

    assert run("bad.yaml").returncode == 1
    assert json.loads(run("--json").stdout)["valid"] is True
    assert json.loads(run("--json", "bad.yaml").stdout)["valid"] is False
    here = run()
    assert here.returncode == 0
    assert here.stderr == "jobrunner check: project.yaml: 3 actions, no errors, 2 warnings\n"
    assert "warning SF001" in here.stdout


def test_a_reader_that_leaves_gets_no_traceback(study: Path) -> None:
    (study / "long.yaml").write_text(
        "version: 5\nactions: {}\n" + "".join(f"k{n}: 1\n" for n in range(20_000))
    )
    command = [sys.executable, "-m", "jobrunner.cli.main", "check", "long.yaml"]

    with subprocess.Popen(command, cwd=study, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()

    assert process.returncode == 1


def test_check_is_light_and_needs_libyaml() -> None:
    """Neither Django nor any other large library is loaded, and without libyaml nothing starts."""
    light = "import sys, jobrunner.cli.check; print(*sorted(name.split('.')[0] for name in sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", light], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"django", "requests", "docker", "pydantic", "typer", "rich"} & set(found)

    without = "import sys; sys.modules['yaml._yaml'] = None; import jobrunner.pipeline"
    refused = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "jobrunner needs PyYAML built with libyaml" in refused.stderr
