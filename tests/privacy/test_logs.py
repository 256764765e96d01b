"""What of a log may enter the medium area: its last MiB, from a whole line on."""

from pathlib import Path

import pytest

from jobrunner.privacy.logs import TAIL_BYTES, append_ours, log_tail, mark_look_alikes
from tests.privacy.making import Site

pytestmark = pytest.mark.unit


def test_a_short_log_is_taken_whole(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"a\nb\n")
    assert log_tail(tmp_path / "log") == b"a\nb\n"


def test_no_more_than_a_mebibyte_is_taken_and_it_begins_with_a_whole_line(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"first\n" + b"x" * 100 + b"\n" + b"y" * (TAIL_BYTES - 50) + b"\n")
    assert log_tail(tmp_path / "log") == b"y" * (TAIL_BYTES - 50) + b"\n"
    assert TAIL_BYTES == 2**20


def test_a_cut_log_of_one_line_begins_with_a_whole_character(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes("\u00e9".encode() * (TAIL_BYTES // 2) + b"!")
    assert log_tail(tmp_path / "log").decode() == "\u00e9" * (TAIL_BYTES // 2 - 1) + "!"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"\x1b]0;title\x07\x1b[2Jgone\n", b"\\x1b]0;title\\x07\\x1b[2Jgone\n"),
        (b"50%\r100%\n", b"50%\\r100%\n"),
        ("\x9b5m\x7f \u202eevil\u2066 a\u2028b\n".encode(), b"\\x9b5m\\x7f \\u202eevil\\u2066 a\\u2028b\n"),
        ("a\tb\r\n\u00e9 \u4e2d\n".encode(), "a\tb\r\n\u00e9 \u4e2d\n".encode()),
    ],
    ids=["ansi", "carriage return", "c1 and bidi", "plain"],
)
def test_what_commands_a_terminal_is_shown_as_an_escape(tmp_path: Path, said: bytes, shown: bytes) -> None:
    (tmp_path / "log").write_bytes(said)
    assert log_tail(tmp_path / "log") == shown
    assert (tmp_path / "log").read_bytes() == said


@pytest.mark.parametrize("said", [b"\x1f\x8b\x08\x1b", b"SQLite format 3\x00\x1b", b"PK\x03\x04\x00"])
def test_what_is_no_text_stays_none(tmp_path: Path, said: bytes) -> None:
    (tmp_path / "log").write_bytes(said)
    assert log_tail(tmp_path / "log") == said


@pytest.mark.parametrize(
    "line",
    [
        "[jobrunner] done",
        "[JobRunner] done",
        " \t[jobrunner] done",
        "\u200b[jobrunner] x",
        "\r\x1b[jobrunner]",
    ],
    ids=ascii,
)
def test_a_line_that_looks_like_ours_is_marked(tmp_path: Path, line: str) -> None:
    log = tmp_path / "log"
    log.write_bytes(f"a\n{line}\nsee [jobrunner]".encode())
    mark_look_alikes(log)
    append_ours(log, ["a.csv is a link.", "b"])
    assert log.read_bytes() == (
        f"a\n(job) {line}\nsee [jobrunner]\n[jobrunner] a.csv is a link.\n[jobrunner] b\n".encode()
    )


@pytest.mark.parametrize("said", ["", "a\n"])
def test_our_lines_need_no_line_of_their_own_before_them(tmp_path: Path, said: str) -> None:
    log = tmp_path / "log"
    log.write_text(said)
    append_ours(log, [])
    assert log.read_text() == said
    append_ours(log, ["b \udcff"])
    assert log.read_text() == f"{said}[jobrunner] b \\udcff\n"


def test_the_medium_copy_is_inert_and_is_what_was_checked(site: Site) -> None:
    record = site.run({"t.csv": "group,n\na,10\nb,25\n"}, log="\x1b[31mred\u202e\n")
    assert not record.log.excluded
    site.publish(record)
    assert site.view(site.medium)["metadata/model.log"] == b"\\x1b[31mred\\u202e\n"
    assert site.view(site.high)["metadata/model.log"] == "\x1b[31mred\u202e\n".encode()
