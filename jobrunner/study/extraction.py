"""The checked tree of a commit on disk: made once for each tree id, then only read.

threats.md section 5 items 9 to 11, design.md section 6. Bytes go from `git cat-file` into files that we open
ourselves. No checkout, archive, filter, attribute, hook or submodule has a part in it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from jobrunner.study.deadline import Deadline
from jobrunner.study.errors import TreeRefused
from jobrunner.study.links import check_links
from jobrunner.study.locks import locked
from jobrunner.study.objects import WINDOW, ObjectReader
from jobrunner.study.pinned import PinnedCommit
from jobrunner.study.rules import GitRules, Limits
from jobrunner.study.stop import Stop
from jobrunner.study.tree import Entry, EntryKind, walk

# Lower layer of a job's overlay: the job, under any uid, may change its own view of it (design.md section 6).
_MODES = {EntryKind.FILE: 0o666, EntryKind.PROGRAM: 0o777}
_FOLDER_MODE = 0o777


def extract(pinned: PinnedCommit, trees_root: Path, rules: GitRules, stop: Stop | None = None) -> Path:
    """Write the tree of `pinned` to `<trees_root>/<tree id>` if it is not there yet; returns that folder.

    The folder appears whole or not at all: it is written under another name, flushed to disk, and renamed.

    Raises:
        TreeRefused: a rule is broken; nothing is left on disk.
        Unreachable: the mirror is damaged, or another process is writing the same tree; pin and try again.
        Stopped: `stop` was asked; nothing is left on disk.
        OSError: the disk is full or fails.
    """
    final = trees_root / pinned.tree
    if final.is_dir():
        return final
    # Nobody else of this machine may come near folders that are writable by all.
    trees_root.mkdir(mode=0o700, parents=True, exist_ok=True)
    deadline = Deadline.after(rules.limits.tree_seconds, None, stop)
    lock = trees_root / f".{pinned.tree}.lock"
    with locked(lock, deadline):
        if not final.is_dir():
            partial = trees_root / f".{pinned.tree}.partial"
            # Left by a process that was killed; what is in it counts for nothing.
            shutil.rmtree(partial, ignore_errors=True)
            try:
                with ObjectReader(pinned.mirror, rules.limits, deadline) as reader:
                    _write_tree(reader, pinned.tree, partial, rules.limits)
                partial.rename(final)
                _flush_folder(trees_root)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        # Whoever waits for it, or comes later, finds the folder.
        lock.unlink(missing_ok=True)
    return final


def _write_tree(reader: ObjectReader, tree: str, folder: Path, limits: Limits) -> None:
    entries = walk(reader, tree, limits)
    links = _read_links(reader, entries, limits)
    folders = [folder, *(folder / entry.path for entry in entries if entry.kind is EntryKind.FOLDER)]
    for made in folders:
        made.mkdir(mode=0o700)
    _write_files(reader, [entry for entry in entries if entry.kind in _MODES], folder, limits)
    # Last, so that no file can be written through one.
    for path, target in links.items():
        (folder / path).symlink_to(target)
    for made in folders:
        # The process's umask has no say in this.
        made.chmod(_FOLDER_MODE)
        _flush_folder(made)


def _read_links(reader: ObjectReader, entries: Sequence[Entry], limits: Limits) -> dict[str, str]:
    targets: dict[str, bytes] = {}
    for entry in entries:
        if entry.kind is EntryKind.LINK:
            try:
                targets[entry.path] = reader.read(entry.object_id, "blob", limits.link_bytes)
            except TreeRefused as error:
                if error.detail != "too_large":
                    raise
                raise TreeRefused(
                    "symlink",
                    f"The target of the link {entry.path!a} is longer than {limits.link_bytes} bytes.",
                ) from None
    return check_links({entry.path: entry.kind for entry in entries}, targets)


def _write_files(reader: ObjectReader, files: Sequence[Entry], folder: Path, limits: Limits) -> None:
    left = limits.tree_bytes
    for start in range(0, len(files), WINDOW):
        window = files[start : start + WINDOW]
        reader.request(entry.object_id for entry in window)
        for entry in window:
            # Whichever is smaller, so that no more than the allowed bytes ever reach the disk.
            left -= _write_file(reader, entry, folder / entry.path, min(limits.blob_bytes, left))


def _write_file(reader: ObjectReader, entry: Entry, path: Path, limit: int) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        size = reader.answer(entry.object_id, "blob", limit, file.write)
        file.flush()
        os.fchmod(file.fileno(), _MODES[entry.kind])
        os.fsync(file.fileno())
    return size


def _flush_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
