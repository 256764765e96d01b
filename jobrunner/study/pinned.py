"""A commit that was proved to be on its branch, as a value that both sides plan and run from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from jobrunner.study.deadline import Deadline
from jobrunner.study.errors import PipelineMissing, TreeRefused
from jobrunner.study.objects import ObjectReader
from jobrunner.study.rules import Limits
from jobrunner.study.stop import Stop
from jobrunner.study.tree import Entry, EntryKind, read_folder

PIPELINE_FILE = "project.yaml"


@dataclass(frozen=True, slots=True)
class PinnedCommit:
    """Made by `Mirrors.pin` alone.

    Attributes:
        url, branch, commit: as asked for.
        tree: id of the commit's root tree, 40 hex digits; equal trees have equal ids.
        mirror: the bare repository that holds it.
        limits: of the rules under which it was pinned.
    """

    url: str
    branch: str
    commit: str
    tree: str
    mirror: Path
    limits: Limits = field(repr=False)

    def read_file(self, path: str, limit: int, stop: Stop | None = None) -> bytes:
        """The bytes of the file `path` at this commit, at most `limit`.

        Raises:
            PipelineMissing: `path` is project.yaml and is not there.
            FileNotFoundError: another path that is not there, or is a folder.
            TreeRefused: it is a link (`symlink`), is longer than `limit` (`too_large`), or a folder on the
                way to it breaks a rule of the tree.
            Unreachable: the mirror is damaged and will be made again; pin the commit anew.
            Stopped: `stop` was asked.
        """
        deadline = Deadline.after(self.limits.tree_seconds, None, stop)
        with ObjectReader(self.mirror, self.limits, deadline) as reader:
            entry = self._find(reader, path)
            if entry.kind is EntryKind.LINK:
                raise TreeRefused("symlink", f"{path!a} is a symbolic link; commit the file itself.")
            return reader.read(entry.object_id, "blob", limit)

    def _find(self, reader: ObjectReader, path: str) -> Entry:
        parent, tree = "", self.tree
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            wanted = "/".join(parts[:depth])
            entries = read_folder(reader, parent, tree, self.limits)
            entry = next((entry for entry in entries if entry.path == wanted), None)
            is_last = depth == len(parts)
            if entry is None or (entry.kind is EntryKind.FOLDER) == is_last:
                break
            if is_last:
                return entry
            parent, tree = wanted, entry.object_id
        if path == PIPELINE_FILE:
            raise PipelineMissing(
                f"There is no project.yaml at the root of {self.url} at {self.commit}. Add one and commit it."
            )
        raise FileNotFoundError(f"There is no file {path!a} in {self.url} at {self.commit}.")
