import shutil
import subprocess
from pathlib import Path

import pytest

from jobrunner.agent.spread_folder import spread

pytestmark = pytest.mark.unit


def flags(folder: Path) -> str | None:
    """The letters of `lsattr`, or None where the file system has none."""
    lsattr = shutil.which("lsattr")
    if lsattr is None:
        pytest.skip("lsattr (e2fsprogs) is not installed")
    shown = subprocess.run([lsattr, "-d", folder], capture_output=True, text=True, check=False)
    return shown.stdout.split()[0] if shown.returncode == 0 else None


def test_folders_within_are_spread_and_the_hint_is_not_passed_on(tmp_path: Path) -> None:
    if "e" not in (flags(tmp_path) or ""):
        pytest.skip("the temporary folder is not on ext4")
    spread(tmp_path)
    spread(tmp_path)
    within = tmp_path / "within"
    within.mkdir()
    assert "T" in (flags(tmp_path) or "")
    assert "T" not in (flags(within) or "")


@pytest.mark.parametrize("folder", ["/proc/self", "/dev/shm", "/sys"])
def test_a_file_system_without_the_hint_is_no_error(folder: str) -> None:
    if not Path(folder).is_dir():
        pytest.skip("there is no such folder")
    spread(Path(folder))


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        spread(tmp_path / "missing")
