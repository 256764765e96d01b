"""Records lie where anybody may write: whatever stands in one, it is a record or plainly refused."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.local.problems import LocalProblem
from jobrunner.local.records import Record, RecordUnreadable, dump, load
from jobrunner.local.state import State
from tests.local.test_staleness import RECORD, A

pytestmark = pytest.mark.unit

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def test_it_comes_back() -> None:
    assert load(dump(RECORD), "model") == RECORD
    assert load(dump(RECORD.failed("out_of_time")), "model").failed_since == "out_of_time"


@given(st.binary() | _json.map(lambda value: json.dumps(value).encode("utf-8")))
def test_anything_else_is_refused(content: bytes) -> None:
    with pytest.raises(RecordUnreadable):
        load(content, "model")


@given(st.sampled_from(sorted(json.loads(dump(RECORD)))), _json)
def test_one_field_of_another_kind_is_refused_or_right(name: str, value: Any) -> None:
    content = json.dumps(json.loads(dump(RECORD)) | {name: value}).encode("utf-8")
    try:
        record = load(content, "model")
    except RecordUnreadable:
        return
    assert isinstance(record, Record)
    assert json.loads(dump(record)) == json.loads(content)


@pytest.mark.parametrize(
    "change",
    [
        {"outputs": {"../x": A}, "levels": {"../x": "highly_sensitive"}},
        {"outputs": {"/etc/passwd": A}, "levels": {"/etc/passwd": "highly_sensitive"}},
        {"outputs": {"metadata/x": A}, "levels": {"metadata/x": "highly_sensitive"}},
        {"levels": {}},
        {"refused": {"other": "why"}},
        {"action": "other"},
        {"schema": 2},
        {"more": 1},
        {"finished": True},
        {"failed_since": "no \x1b reason"},
        {"image_id": "latest"},
    ],
)
def test_what_could_mislead_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RecordUnreadable):
        load(json.dumps(json.loads(dump(RECORD)) | change).encode("utf-8"), "model")


def test_deep_and_long_ones_are_refused() -> None:
    with pytest.raises(RecordUnreadable):
        load(b"[" * 100_000, "model")
    with pytest.raises(RecordUnreadable, match="too long"):
        load(b" " * (64 * 2**20 + 1), "model")


def test_the_state_keeps_records_and_stays_out_of_git(tmp_path: Path) -> None:
    state = State(tmp_path)
    assert state.record("model") is None
    with state.locked():
        state.write(RECORD)
        with pytest.raises(LocalProblem, match="Another"), State(tmp_path).locked():
            pass
    assert State(tmp_path).record("model") == RECORD
    assert (tmp_path / ".jobrunner" / ".gitignore").read_text() == "*\n"


def test_a_link_instead_of_a_record_is_not_read(tmp_path: Path) -> None:
    with State(tmp_path).locked():
        pass
    (tmp_path / "elsewhere").write_bytes(dump(RECORD))
    place = tmp_path / ".jobrunner" / "actions" / "model.json"
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RecordUnreadable):
        State(tmp_path).record("model")
    with State(tmp_path).locked():
        State(tmp_path).write(RECORD.failed("interrupted"))
    assert not place.is_symlink()
    assert load((tmp_path / "elsewhere").read_bytes(), "model").failed_since is None


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_something_else_instead_of_a_record_is_no_record(tmp_path: Path, kind: str) -> None:
    state = State(tmp_path)
    with state.locked():
        place = tmp_path / ".jobrunner" / "actions" / "model.json"
        place.mkdir() if kind == "folder" else os.mkfifo(place)
        with pytest.raises(RecordUnreadable):
            state.record("model")
        state.write(RECORD)
        assert State(tmp_path).record("model") == RECORD


@pytest.mark.parametrize(
    "name", [".jobrunner", ".jobrunner/actions", ".jobrunner/collected", ".jobrunner/logs"]
)
def test_a_folder_that_is_a_link_is_not_used(tmp_path: Path, name: str) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    (outside / "kept").write_text("x")
    (root / name).parent.mkdir(parents=True)
    (root / name).symlink_to(outside)
    with pytest.raises(LocalProblem, match="is a link"), State(root).locked():
        pass
    assert [path.name for path in outside.iterdir()] == ["kept"]
