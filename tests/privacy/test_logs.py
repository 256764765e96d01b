"""What of a log may enter the medium area: its last MiB, from a whole line on."""

from pathlib import Path

import pytest

from jobrunner.privacy.logs import TAIL_BYTES, log_tail

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
