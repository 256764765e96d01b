"""Every command that the researcher's pages show is run as it stands there, with real containers.

A command that no list here knows fails, and so does one that a page does not show any more. Names that a page
makes up for a reader to replace (REQUEST, FILE, north) are replaced here too.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from jobrunner import templates
from tests.docs.shown import Shown, blocks, page, shown
from tests.fixtures.world import World
from tests.local.studies import environment, left_behind

pytest_plugins = ["tests.fixtures.engine"]

TOP = Path(__file__).parents[2]
RESEARCHERS, DUMMY_DATA, LANGUAGE = (
    TOP / "docs" / name for name in ("researchers.md", "dummy-data.md", "language.md")
)
READMES = {name: TOP / "project_templates" / name / "README.md" for name in templates.TEMPLATES}

# Where the page goes from the reader's own machine to a data centre.
_TO_A_DATA_CENTRE = "mkdir -p ~/.config/jobrunner"

RUN = {
    RESEARCHERS: {
        "jobrunner init python my-study", "cd my-study", "jobrunner check", "jobrunner run run_all",
        "sed -i 's/dpi=120/dpi=80/' analysis/plot.py", "jobrunner plan run_all", "sh tests/run.sh",
        "jobrunner run extract", "jobrunner run model", "jobrunner run run_all --jobs 4",
        "jobrunner images list",
        _TO_A_DATA_CENTRE, "echo https://jobs.example.org > ~/.config/jobrunner/controller",
        "install -m 0600 /dev/stdin ~/.config/jobrunner/token    # paste the token, then Ctrl-D",
        "jobrunner request model --project flchain --backend north --watch",
        "jobrunner status REQUEST", "jobrunner status", "jobrunner cancel REQUEST",
    },
    DUMMY_DATA: {
        "jobrunner dummy dummy/schema.yaml --rows 200 --seed 1 --output 'dummy/{table}.csv'",
        "jobrunner dummy dummy/schema.yaml --rows 5 --table visits",
    },
    LANGUAGE: {"jobrunner check", "jobrunner check --json FILE", "jobrunner schema"},
    READMES["python"]: {
        "jobrunner check", "jobrunner run run_all", "sh tests/run.sh", "python3 dummy/make_dummy.py"
    },
    READMES["r"]: {
        "jobrunner check", "jobrunner run run_all", "sh tests/run.sh",
        'docker run --rm --user "$(id -u)" --volume "$PWD:/workspace" jobrunner/r:v2 dummy/make_dummy.R',
    },
    READMES["sql-only"]: {"jobrunner check", "jobrunner run run_all", "sh tests/run.sh"},
}  # fmt: skip

# Not run here, each with the reason.
NOT_RUN = {
    RESEARCHERS: {
        "pip install /path/to/this/checkout": "fetches from a package index, as deploy/setup did",
        "jobrunner dummy": "names the command; its page shows how it is used",
    },
    DUMMY_DATA: {
        "jobrunner dummy": "names the command",
        "jobrunner run": "names the command; researchers.md shows how it is used",
        "pip install pyarrow": "fetches from a package index",
        "pip install duckdb": "fetches from a package index",
        "jobrunner agent schema /etc/jobrunner/agent.toml --output schema.yaml":
            "needs a data centre's policy in /etc; tests/dummy_data/test_commands.py has one of its own",
    },
    LANGUAGE: {
        "python -m docs.reference": "writes the page itself; tests/pipeline/test_reference.py compares them",
    },
}  # fmt: skip


@dataclass
class Terminal:
    """A shell as a reader has it: a folder, a home, and `jobrunner` on the PATH."""

    folder: Path
    home: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def run(self, command: Shown, typed: str = "", names: Mapping[str, str] | None = None) -> str:
        """Run it, which must succeed and print what the page says; returns all that it printed."""
        text = command.text
        for name, value in (names or {}).items():
            text = re.sub(rf"\b{name}\b", value, text)
        if text.startswith("cd "):
            self.folder /= text.removeprefix("cd ")
            return ""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-c", text], cwd=self.folder, input=typed, text=True, check=False, timeout=200,
            env={**environment(self.home), "PATH": path, **self.variables},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}"
        printed = iter([_without_times(line) for line in done.stdout.splitlines()])
        for line in command.prints:
            assert line == "..." or _without_times(line) in printed, f"{text} does not print: {line}"
        return done.stdout


def _without_times(line: str) -> str:
    return re.sub(r"\d+\.\d s\b", "N s", line)


def to_run(path: Path) -> Iterator[Shown]:
    """The commands of a page that are run, in its order."""
    return (command for command in shown(page(path)) if command.text in RUN[path])


@pytest.mark.unit
@pytest.mark.parametrize("path", RUN, ids=lambda path: str(path.relative_to(TOP)))
def test_every_command_of_the_page_is_known_here(path: Path) -> None:
    on_page = {command.text for command in shown(page(path))}
    listed = NOT_RUN.get(path, {})
    assert on_page == RUN[path] | listed.keys()
    assert not RUN[path] & listed.keys()


@pytest.mark.unit
def test_the_pages_are_all_that_a_template_has() -> None:
    for name in templates.TEMPLATES:
        others = {path for path in READMES[name].parent.rglob("README.md") if path != READMES[name]}
        assert [command for path in others for command in shown(page(path))] == []


@pytest.mark.docker
def test_from_nothing_to_a_finished_dummy_run(
    engine: Any, python_v2_image: str, sqlrunner_v1_image: str, tmp_path: Path
) -> None:
    del python_v2_image, sqlrunner_v1_image
    terminal = Terminal(tmp_path, home=tmp_path)
    commands = list(to_run(RESEARCHERS))
    end = [command.text for command in commands].index(_TO_A_DATA_CENTRE)
    said = [(command.text, terminal.run(command)) for command in commands[:end]]
    runs = [text for words, text in said if words == "jobrunner run run_all"]
    assert ["5 succeeded." in runs[0], "2 succeeded." in runs[1]] == [True, True]
    last = dict(said)
    assert "extract: up to date" in last["jobrunner run extract"]
    assert "Nothing to run" in last["jobrunner run run_all --jobs 4"]
    assert "python:v2" in last["jobrunner images list"]
    # The study's own page shows the same way once more.
    said_again = the_commands_of_its_page(terminal, "python")
    assert "Nothing to run" in said_again["jobrunner run run_all"]
    assert left_behind(engine, terminal.folder) == []


def the_commands_of_its_page(terminal: Terminal, template: str) -> dict[str, str]:
    """Run what the README of a template shows, in a study made of it; what each command printed."""
    made_up = {path: path.read_bytes() for path in (terminal.folder / "dummy").glob("*.csv")}
    said = {command.text: terminal.run(command) for command in to_run(READMES[template])}
    # What the page tells to write the rows anew writes those that are there.
    assert {path: path.read_bytes() for path in made_up} == made_up
    return said


STUDY = {
    "project.yaml": """\
version: '5.0'
actions:
  extract:
    run: python:v2 analysis/write.py output/rows.csv
    outputs: {highly_sensitive: {rows: output/rows.csv}}
  model:
    run: python:v2 analysis/write.py output/table.csv
    needs: [extract]
    outputs: {moderately_sensitive: {table: output/table.csv}}
""",
    "analysis/write.py": "import sys\nfrom pathlib import Path\nPath(sys.argv[1]).write_text('n\\n10\\n')\n",
}


@pytest.mark.docker
def test_a_request_to_a_data_centre(python_v2_image: str, tmp_path: Path) -> None:
    commands = {command.text: command for command in to_run(RESEARCHERS)}
    home = tmp_path / "home"
    home.mkdir()
    with World(tmp_path / "world", images={"python:v2": python_v2_image}) as world:
        study = world.add_study("flchain", STUDY)
        world.start_agent()
        subprocess.run(["git", "clone", "-q", "-b", "main", study.url, str(home / "checkout")], check=True)
        terminal = Terminal(home / "checkout", home)
        for text, command in list(commands.items())[list(commands).index(_TO_A_DATA_CENTRE) :]:
            if text.startswith("install "):
                terminal.run(command, typed=study.token)
                # The page's controller is made up; from here on it is the one of this test.
                terminal.variables = {"JOBRUNNER_URL": world.url}
            elif text.startswith("jobrunner request"):
                said = terminal.run(command, names={"north": world.backend})
                assert "\nextract: succeeded (completed)" in said
                assert "\nmodel: succeeded (completed)" in said
                request = re.findall(r"^Request (\S+):", said, re.MULTILINE)[0]
            elif text.startswith("jobrunner cancel"):
                world.kill_agent()
                request = world.ask(study, ["model"])
                terminal.run(command, names={"REQUEST": request})
                assert world.read(study, request)["jobs"]["model"]["state"] == "cancelled"
            elif text.startswith("jobrunner status"):
                said = terminal.run(command, names={"REQUEST": request})
                assert request in said
            else:
                terminal.run(command)
    kept = home / ".config" / "jobrunner"
    assert (kept / "controller").read_text() == "https://jobs.example.org\n"
    assert (kept / "token").read_text() == study.token
    assert (kept / "token").stat().st_mode & 0o777 == 0o600


@pytest.mark.unit
def test_dummy_data_are_made_as_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "dummy").mkdir()
    (tmp_path / "dummy" / "schema.yaml").write_text(blocks(page(DUMMY_DATA), "yaml")[0])
    terminal = Terminal(tmp_path, home=tmp_path)
    _written, looked_at = [terminal.run(command) for command in to_run(DUMMY_DATA)]
    rows = {
        name: (tmp_path / "dummy" / name).read_text().splitlines() for name in ("patients.csv", "visits.csv")
    }
    assert {name: len(lines) - 1 for name, lines in rows.items()} == {"patients.csv": 200, "visits.csv": 500}
    assert looked_at.splitlines()[0] == rows["visits.csv"][0] == "visit_id,patient_id,seen,ward"


@pytest.mark.unit
def test_the_language_is_checked_as_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "project.yaml").write_text(blocks(page(LANGUAGE), "yaml")[0])
    terminal = Terminal(tmp_path, home=tmp_path)
    said = {
        command.text: terminal.run(command, names={"FILE": "project.yaml"}) for command in to_run(LANGUAGE)
    }
    assert "project.yaml: 3 actions, no errors" in said["jobrunner check"]
    assert '"valid": true' in said["jobrunner check --json FILE"]
    assert '"$schema"' in said["jobrunner schema"]


@pytest.mark.docker
@pytest.mark.parametrize("template", sorted(READMES.keys() - {"python"}))
def test_the_commands_of_another_template(
    engine: Any, r_v2_image: str, sqlrunner_v1_image: str, tmp_path: Path, template: str
) -> None:
    del r_v2_image, sqlrunner_v1_image
    terminal = Terminal(tmp_path, home=tmp_path)
    terminal.run(Shown(f"jobrunner init {template} study"))
    terminal.run(Shown("cd study"))
    said = the_commands_of_its_page(terminal, template)
    assert " succeeded.\n" in said["jobrunner run run_all"]
    assert left_behind(engine, terminal.folder) == []
