"""What a mirror is made of on disk, and when it has to be made again.

threats.md section 5 item 4. We write its few files ourselves, so no template, hook or attribute file can be
in it, and a mirror with anything else in it is not used.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from jobrunner.study.rules import Limits

_HEAD = b"ref: refs/heads/none\n"
_CONFIG = b"[core]\n\trepositoryformatversion = 0\n\tbare = true\n"
_NAMES = {"HEAD", "config", "objects", "refs"}
_BROKEN = "broken"


def make_mirror(mirror: Path) -> None:
    """Write an empty bare repository."""
    (mirror / "objects" / "pack").mkdir(parents=True)
    (mirror / "refs").mkdir()
    (mirror / "HEAD").write_bytes(_HEAD)
    (mirror / "config").write_bytes(_CONFIG)


def replace_mirror(mirror: Path, fresh: Path) -> None:
    """Put `fresh` in the place of `mirror`, whatever is there."""
    old = mirror.with_suffix(".old")
    shutil.rmtree(old, ignore_errors=True)
    if mirror.is_symlink() or mirror.is_file():
        mirror.unlink()
    elif mirror.exists():
        mirror.rename(old)
    fresh.rename(mirror)
    shutil.rmtree(old, ignore_errors=True)


def mark_broken(mirror: Path) -> None:
    """Have the mirror made again at its next use; a reader may be at work in it now."""
    (mirror / _BROKEN).touch()


def is_sound(mirror: Path, limits: Limits) -> bool:
    """Whether `mirror` holds what we write and what git adds to it, and nothing else.

    So hooks, alternates, grafts, a shallow mark, another configuration a leftover lock
    and the mark of `mark_broken` all lead to a new mirror, and so do too many or too large packs.
    """
    if mirror.is_symlink() or not mirror.is_dir():
        return False
    if {entry.name for entry in mirror.iterdir()} != _NAMES:
        return False
    if {entry.name for entry in (mirror / "objects").iterdir()} != {"pack"}:
        return False
    if (mirror / "HEAD").read_bytes() != _HEAD:
        return False
    if (mirror / "config").read_bytes() != _CONFIG:
        return False
    if len(list((mirror / "objects" / "pack").glob("*.pack"))) > limits.mirror_packs:
        return False
    return folder_bytes(mirror) <= limits.mirror_bytes


def remove_part_files(mirror: Path) -> None:
    """Delete what a fetch that failed left behind."""
    for part in (mirror / "objects" / "pack").glob("tmp_*"):
        part.unlink(missing_ok=True)


def folder_bytes(folder: Path) -> int:
    """Sum of the sizes of the files below `folder`; links are not followed."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            # git renames and removes its part files meanwhile.
            with contextlib.suppress(FileNotFoundError):
                total += (Path(parent) / name).lstat().st_size
    return total
