"""What `run` and `plan` say before anything runs: no engine is asked."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from jobrunner.cli.run import engine_help
from jobrunner.executors.base import EngineError
from jobrunner.local.bench import open_executor
from jobrunner.local.hashing import hash_files
from jobrunner.local.landing import why_blocked
from jobrunner.local.planning import steps, wish
from jobrunner.local.preflight import check_actions, check_recipes, dummy_file, dummy_warnings, to_build
from jobrunner.local.problems import LocalProblem
from jobrunner.local.records import Record, dump
from jobrunner.local.situation import Situation, look, read_pipeline
from jobrunner.local.staleness import Verdict
from jobrunner.pipeline.starting import image_name
from tests.local.studies import command, commit, environment, write
from tests.local.test_records import RECORD

pytestmark = [pytest.mark.unit, pytest.mark.slow]

PIPELINE = """\
version: '5.0'
actions:
  extract:
    run: sqlrunner:v1 {dummy} --output output/rows.csv analysis/q.sql
    outputs: {{highly_sensitive: {{rows: output/rows.csv}}}}
  model:
    run: python:v2 analysis/model.py
    needs: [extract]
    outputs: {{moderately_sensitive: {{t: output/t.csv}}}}
"""


def situation(root: Path, dummy: str = "--dummy-data-file dummy/rows.csv", text: str = "") -> Situation:
    write(root, {"project.yaml": text or PIPELINE.format(dummy=dummy), "analysis/q.sql": "SELECT 1"})
    write(root, {"analysis/model.py": "", ".gitignore": "*.secret\n", "dummy/rows.csv": "a\n1\n"})
    commit(root)
    return look(root, read_pipeline(root), {})


def test_the_plan_says_what_waits_for_what(tmp_path: Path) -> None:
    found = situation(tmp_path)
    planned = steps(found, wish(found.pipeline, ["model"], fresh=False, force_needs=False))
    assert [(step.action, step.doing) for step in planned] == [("extract", "run"), ("model", "run")]
    assert planned[0].verdict.why == ("it has never succeeded here",)


def test_named_actions_and_needs_are_forced_apart(tmp_path: Path) -> None:
    pipeline = situation(tmp_path).pipeline
    assert wish(pipeline, ["model"], fresh=True, force_needs=False).options == {"model": "--fresh"}
    assert wish(pipeline, ["model"], fresh=False, force_needs=True).options == {"extract": "--force-needs"}
    assert wish(pipeline, ["run_all"], fresh=True, force_needs=True).options == {
        "extract": "--fresh",
        "model": "--fresh",
    }


def test_an_unknown_action_is_told_with_the_words_of_the_controller(tmp_path: Path) -> None:
    pipeline = situation(tmp_path).pipeline
    with pytest.raises(LocalProblem, match=r"RQ004: There is no action `modl`\. Did you mean `model`\?"):
        wish(pipeline, ["modl"], fresh=False, force_needs=False)


@pytest.mark.parametrize(
    ("dummy", "said"),
    [
        ("", "add `--dummy-data-file FILE` to its `run`"),
        ("--dummy-data-file dummy/none.csv", "`dummy/none.csv`, but it is not there"),
        ("--dummy-data-file=rows.secret", "`rows.secret`, but git ignores it"),
    ],
)
def test_a_database_action_needs_dummy_data(tmp_path: Path, dummy: str, said: str) -> None:
    write(tmp_path, {"rows.secret": "a\n"})
    found = situation(tmp_path, dummy)
    with pytest.raises(LocalProblem) as problem:
        check_actions(found.pipeline.actions.values(), found.study)
    assert problem.value.word == "no_dummy_data"
    assert said in problem.value.message


@pytest.mark.parametrize("dummy", ["dummy/rows.csv", "./dummy/rows.csv", "/workspace/dummy/rows.csv"])
def test_dummy_data_may_be_named_in_any_way_that_the_action_reads(tmp_path: Path, dummy: str) -> None:
    found = situation(tmp_path, f"--dummy-data-file {dummy}")
    check_actions(found.pipeline.actions.values(), found.study)
    assert dummy_file(found.pipeline.actions["extract"]) == "dummy/rows.csv"


def test_a_command_that_no_job_may_be_started_with_is_told(tmp_path: Path) -> None:
    long = "python:v2 a.py\n    config: {text: " + "x" * 130_000 + "}"
    found = situation(tmp_path, text=PIPELINE.format(dummy="").replace("python:v2 analysis/model.py", long))
    with pytest.raises(LocalProblem, match="too long to be started") as problem:
        check_actions([found.pipeline.actions["model"]], found.study)
    assert problem.value.word == "not_supported"


@pytest.mark.parametrize("place", [".git/index.txt", "a/.Git/*.csv", ".jobrunner/actions/first.json"])
def test_an_output_among_the_files_of_git_or_our_records_is_told(tmp_path: Path, place: str) -> None:
    found = situation(tmp_path, text=PIPELINE.format(dummy="").replace("output/t.csv", place))
    with pytest.raises(LocalProblem) as problem:
        check_actions([found.pipeline.actions["model"]], found.study)
    assert problem.value.word == "not_supported"
    assert f"The output `{place}` of action `model` cannot come into the work tree" in problem.value.message


@pytest.mark.parametrize("place", ["short/t.csv", "short/*.csv", "short/deep*/t.csv", "file/t.csv", "dummy"])
def test_an_output_behind_a_link_or_a_file_is_told(tmp_path: Path, place: str) -> None:
    (tmp_path / "short").symlink_to("dummy")
    (tmp_path / "file").touch()
    text = PIPELINE.format(dummy="").replace("output/t.csv", "output/x*.csv")
    found = situation(tmp_path, text=text)
    model = found.pipeline.actions["model"]
    check_actions([model], found.study)
    assert why_blocked(tmp_path, place) is not None
    if place.endswith(".csv"):
        found = situation(tmp_path, text=text.replace("output/x*.csv", place))
        with pytest.raises(LocalProblem, match=r"cannot come into the work tree: .* is a link or a file"):
            check_actions([found.pipeline.actions["model"]], found.study)


def test_a_reusable_action_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    root = tmp_path / "study"
    situation(root, text=PIPELINE.format(dummy="").replace("python:v2 analysis/model.py", "counter:v1 x"))
    done = jobrunner(root, "plan", "model")
    assert done.returncode == 1
    assert (
        "RA002: Action `model` uses `counter:v1`: nothing found at `http://127.0.0.1:1/counter`."
        in done.stderr
    )


def ran(root: Path, action: str, outputs: Mapping[str, str]) -> None:
    """Write what a run of the action just now would have left: its outputs and its record."""
    write(root, outputs)
    found = look(root, read_pipeline(root), {})
    (root / ".jobrunner" / "actions").mkdir(parents=True, exist_ok=True)
    definition, code = found.pipeline.actions[action], found.code(action)
    inputs = found.inputs_of(definition)
    seen = {path: one for path, one in code.hashes.items() if path not in {*outputs, *inputs}}
    record = Record(
        action=action,
        image=image_name(definition),
        image_id="sha256:" + "a" * 64,
        argv=definition.command(),
        patterns=definition.patterns(),
        needs=definition.needs,
        inputs=inputs,
        named={path: one for path, one in seen.items() if path in code.named},
        others={path: one for path, one in seen.items() if path not in code.named},
        outputs=hash_files(root, outputs),
        levels=dict.fromkeys(outputs, "moderately_sensitive"),
        finished=1,
    )
    found.state.write(record)


def verdict(root: Path, action: str = "model") -> Verdict:
    return look(root, read_pipeline(root), {}).verdict(action)


def both_ran(root: Path, text: str = "") -> None:
    situation(root, text=text)
    ran(root, "extract", {"output/rows.csv": "a\n1\n"})
    ran(root, "model", {"output/t.csv": "a\n1\n"})
    assert not verdict(root).runs


def test_a_tracked_file_that_an_output_pattern_matches_is_watched(tmp_path: Path) -> None:
    write(tmp_path, {"data/list.csv": "a\n"})
    text = PIPELINE.format(dummy="").replace("analysis/model.py", "analysis/model.py data/list.csv")
    both_ran(tmp_path, text.replace("output/t.csv", "data/*.csv"))
    write(tmp_path, {"data/list.csv": "b\n"})
    assert verdict(tmp_path).why == ("data/list.csv changed",)


def test_tracked_inputs_and_outputs_are_told_as_such_only(tmp_path: Path) -> None:
    write(tmp_path, {"output/rows.csv": "old\n", "output/t.csv": "old\n"})
    named = "analysis/model.py output/rows.csv output/t.csv"
    both_ran(tmp_path, PIPELINE.format(dummy="").replace("analysis/model.py", named))
    write(tmp_path, {"output/t.csv": "b\n"})
    assert verdict(tmp_path).why == ("its output output/t.csv was changed by hand",)


def test_what_a_named_link_leads_to_is_watched(tmp_path: Path) -> None:
    write(tmp_path, {"analysis/real.py": "", "lists/a.csv": ""})
    (tmp_path / "analysis" / "link.py").symlink_to("real.py")
    (tmp_path / "short").symlink_to("lists")
    both_ran(tmp_path, PIPELINE.format(dummy="").replace("model.py", "link.py short/a.csv"))
    write(tmp_path, {"analysis/real.py": "changed", "lists/a.csv": "changed"})
    assert verdict(tmp_path).why == ("analysis/real.py, lists/a.csv changed",)


def test_the_executable_bit_is_watched(tmp_path: Path) -> None:
    both_ran(tmp_path)
    (tmp_path / "analysis" / "model.py").chmod(0o755)
    assert verdict(tmp_path).why == ("analysis/model.py changed",)


def jobrunner(root: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """The command where no engine answers."""
    env = environment(root) | {"DOCKER_HOST": "tcp://127.0.0.1:1", "HOME": str(root.parent)}
    env |= {"JOBRUNNER_REUSABLE_PREFIX": "http://127.0.0.1:1"}
    return subprocess.run(command(root, *words), env=env, capture_output=True, text=True, check=False)


def test_plan_tells_what_would_keep_run_from_starting(tmp_path: Path) -> None:
    root = tmp_path / "study"
    situation(root, dummy="")
    for words in (["plan", "run_all"], ["plan", "run_all", "--json"]):
        done = jobrunner(root, *words)
        assert done.returncode == 1
        assert "jobrunner: Action `extract` reads a database, and there is none here." in done.stderr
        assert "extract" in done.stdout, "the plan itself is told too"
    assert jobrunner(root, "plan", "model", "--json").returncode == 1, "its need would run too"


def test_images_that_are_missing_are_named(tmp_path: Path) -> None:
    found = situation(tmp_path, text=PIPELINE.format(dummy="").replace("python:v2", "stata-mp:v1"))
    actions = list(found.pipeline.actions.values())
    images = {"sqlrunner:v1": None, "stata-mp:v1": None}
    assert to_build(actions, images) == [
        "There is no image for sqlrunner:v1 here yet; `jobrunner run` builds it first, which takes minutes."
    ]
    with pytest.raises(LocalProblem, match="no image for stata-mp:v1 here, and no recipe") as problem:
        check_recipes(actions, images)
    assert problem.value.word == "image_missing"
    check_recipes(actions, {})


def test_without_an_engine_plan_answers_and_run_says_what_to_do(tmp_path: Path) -> None:
    root = tmp_path / "study"
    situation(root)
    done = jobrunner(root, "plan", "run_all", "--json")
    assert [step["doing"] for step in json.loads(done.stdout)["actions"]] == ["run", "run"]
    assert not (root / ".jobrunner").exists(), "a plan writes nothing"
    done = jobrunner(root, "run", "run_all")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Is Docker running" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("host", "tls", "said"),
    [
        ("ssh://user:secret@docker.example", "", "must be unix:///path or tcp://host:port"),
        ("tcp://127.0.0.1:1", "1", "an engine behind TLS cannot be used here"),
        ("tcp://127.0.0.1:1", "", "Is Docker running"),
        ("unix:///nowhere", "1", "Is Docker running"),
    ],
)
def test_an_engine_that_cannot_be_used_is_told_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, tls: str, said: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    monkeypatch.setenv("DOCKER_TLS_VERIFY", tls)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(EngineError) as problem:
        open_executor(tmp_path)
    told = engine_help(str(problem.value))
    assert said in told
    assert ("Is Docker running" in told) == (said == "Is Docker running")
    assert "secret" not in told


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "project.yaml cannot be read"),
        ({"project.yaml": "version: 5\n"}, "project.yaml:1:1: error PY014: "),
        ({"project.yaml": "a: [\n"}, "project.yaml has errors, so nothing was run:"),
    ],
)
def test_a_study_that_cannot_be_read_is_told(tmp_path: Path, files: dict[str, str], said: str) -> None:
    root = tmp_path / "study"
    root.mkdir()
    write(root, files)
    for word in ("run", "plan"):
        done = jobrunner(root, word, "run_all")
        assert done.returncode == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_hostile_records_are_told_without_a_traceback(tmp_path: Path) -> None:
    root = tmp_path / "study"
    situation(root)
    actions = root / ".jobrunner" / "actions"
    actions.mkdir(parents=True)
    (actions / "extract.json").write_bytes(b"\x1b]0;x\x07" + b"[" * 99_999)
    os.mkfifo(actions / "model.json")
    done = jobrunner(root, "plan", "run_all")
    assert done.stdout.splitlines() == [
        "extract: runs: what was remembered of it cannot be used (it is damaged)",
        "model: runs: what was remembered of it cannot be used (it is no file)",
    ]


def test_what_a_record_says_is_not_obeyed_by_the_terminal(tmp_path: Path) -> None:
    root = tmp_path / "study"
    situation(root)
    actions = root / ".jobrunner" / "actions"
    actions.mkdir(parents=True)
    (actions / "model.json").write_bytes(
        dump(replace(RECORD, image="\x1b[31mx", named={"\x1b[2J": "a" * 64}))
    )
    done = jobrunner(root, "plan", "model")
    assert "\x1b" not in done.stdout
    assert "\\x1b[2J is gone" in done.stdout


SCHEMA = "version: 1\ntables:\n  rows:\n    columns:\n      a: int\n      b: int\n"


def test_rows_that_are_not_as_declared_are_a_warning_with_both_lists(tmp_path: Path) -> None:
    root = tmp_path / "study"
    write(root, {"dummy/schema.yaml": SCHEMA})
    found = situation(root)
    actions = found.pipeline.actions.values()
    declared = "dummy/rows.csv is not as dummy/schema.yaml declares: "
    assert dummy_warnings(actions, found.study) == (
        f"{declared}The column `b` is declared, but the dummy data do not have it.",
        f"{declared}Its columns are `a`; declared are `a`, `b`.",
    )
    without_database = [found.pipeline.actions["model"]]
    assert dummy_warnings(without_database, found.study) == ()

    done = jobrunner(root, "plan", "model")
    assert (done.returncode, done.stderr.count(declared)) == (0, 2)
    write(root, {"dummy/rows.csv": "a,b\n1,2\n"})
    done = jobrunner(root, "plan", "model")
    assert (done.returncode, done.stderr) == (0, "")


def test_rows_behind_a_link_are_not_looked_at(tmp_path: Path) -> None:
    write(tmp_path, {"dummy/rows.schema.yaml": SCHEMA, "elsewhere.csv": "secret\n1\n"})
    situation(tmp_path)
    (tmp_path / "dummy" / "rows.csv").unlink()
    (tmp_path / "dummy" / "rows.csv").symlink_to("../elsewhere.csv")
    found = look(tmp_path, read_pipeline(tmp_path), {})
    assert dummy_warnings(found.pipeline.actions.values(), found.study) == ()


@pytest.mark.parametrize("word", ["run", "plan"])
def test_errors_of_the_file_are_shown_as_check_shows_them(tmp_path: Path, word: str) -> None:
    root = tmp_path / "study"
    write(root, {"project.yaml": PIPELINE.format(dummy="").replace("[extract]", "[extrat]")})
    checked = jobrunner_check(root)
    done = jobrunner(root, word, "run_all")
    shown = f"{root}/project.yaml:8:13: error PY037: Action `model` needs `extrat`, but the file has no such"
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"jobrunner: project.yaml has errors, so nothing was run:\n{checked}"
    assert checked.startswith(shown)
    assert checked.splitlines()[1:] == ["    8 |     needs: [extrat]", "      |             ^^^^^^"]


def jobrunner_check(root: Path) -> str:
    """What `jobrunner check` prints of the study."""
    words = [sys.executable, "-P", "-m", "jobrunner.cli.main", "check", str(root)]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout
