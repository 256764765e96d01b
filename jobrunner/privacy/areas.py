"""The high and medium areas of a site: the current view of each workspace (design.md section 6).

The view is a function of manifest.json in the high area. `publish` may be killed anywhere and called
again: it brings both views to what the new manifest says, replaces the manifests by rename, and only then
removes what no manifest names any more.
"""

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from jobrunner.privacy import durable, manifest, notices
from jobrunner.privacy.levels import MODERATELY
from jobrunner.privacy.logs import log_tail
from jobrunner.privacy.manifest import Manifest
from jobrunner.privacy.records import RunRecord
from jobrunner.privacy.runs import read_run

_MANIFEST = "metadata/manifest.json"
# The medium area is read by another user, the airlock; the high one by whom the site lets in by group.
_HIGH_FOLDER = 0o750
_MEDIUM_FOLDER = 0o755


class Areas:
    """Both areas. Several processes and threads may publish: one workspace at a time is locked."""

    def __init__(self, high: Path, medium: Path) -> None:
        self.high = high
        self.medium = medium

    def manifest(self, workspace: str) -> Manifest | None:
        """The manifest of a workspace, with highly sensitive outputs, or None before its first output.

        Raises manifest.ManifestBroken and ValueError.
        """
        manifest.require_names(workspace, "x")
        try:
            return manifest.load((self._high_view(workspace) / _MANIFEST).read_bytes())
        except FileNotFoundError:
            return None

    def current_run(self, workspace: str, action: str) -> RunRecord | None:
        """The run whose outputs are current for this action: the one to pin as input. None if there is none.

        Raises FileNotFoundError and RecordBroken when the manifest names a run that is not there whole.
        """
        current = self.manifest(workspace)
        entry = current["actions"].get(action) if current else None
        return read_run(self.high, entry["job_id"], entry["attempt"]) if entry else None

    def require_free(
        self, workspace: str, action: str, paths: Collection[str], actions: Collection[str] | None = None
    ) -> None:
        """Raise OutputsRefused when another action owns one of `paths`: ask before the run is recorded.

        `actions`: those of project.yaml at this commit. One that the file no longer has owns nothing.
        """
        manifest.require_free(self.manifest(workspace), action, paths, actions)

    def publish(self, record: RunRecord, *, backend: str, actions: Collection[str] | None = None) -> bool:
        """Make `record` the current run of its action, in both areas. True when it is current afterwards.

        False, and nothing changed, when a higher attempt of the same job is current already. `actions` as
        in `require_free`. Raises ValueError for a run that did not succeed, OutputsRefused when another
        action has taken a path meanwhile, ManifestBroken.
        """
        if not record.succeeded:
            raise ValueError("only a run that succeeded can become current")
        workspace = record.facts.workspace
        manifest.require_names(workspace, record.facts.action)
        with self._locked(workspace):
            old = self.manifest(workspace)
            manifest.require_same_project(old, record)
            if manifest.is_older(old, record):
                return False
            manifest.require_free(old, record.facts.action, [one.path for one in record.outputs], actions)
            new = manifest.with_run(old, record, backend)
            self._fill_high(record)
            self._fill_medium(record, new)
            durable.write_new(
                self._medium_view(workspace) / _MANIFEST, manifest.dump(manifest.medium_part(new))
            )
            durable.write_new(self._high_view(workspace) / _MANIFEST, manifest.dump(new))
            _remove_others(self._high_view(workspace), manifest.high_view(new))
            _remove_others(self._medium_view(workspace), manifest.medium_view(new))
        return True

    def _high_view(self, workspace: str) -> Path:
        return self.high / "workspaces" / workspace

    def _medium_view(self, workspace: str) -> Path:
        return self.medium / "workspaces" / workspace

    @contextmanager
    def _locked(self, workspace: str) -> Iterator[None]:
        durable.make_folders(self._high_view(workspace) / "metadata", _HIGH_FOLDER)
        durable.make_folders(self._medium_view(workspace) / "metadata", _MEDIUM_FOLDER)
        # The kernel lets go of it when the process dies, however it dies.
        lock = os.open(self._high_view(workspace), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _fill_high(self, record: RunRecord) -> None:
        filler = _Filler(self._high_view(record.facts.workspace), _HIGH_FOLDER)
        stored = str(record.files)
        for output in record.outputs:
            filler.put(f"{stored}/{output.path}", output.path)
        filler.put(str(record.log_path), f"metadata/{record.facts.action}.log")
        filler.sync()

    def _fill_medium(self, record: RunRecord, new: Manifest) -> None:
        filler = _Filler(self._medium_view(record.facts.workspace), _MEDIUM_FOLDER)
        stored = str(record.files)
        for output in record.outputs:
            if output.level == MODERATELY and not output.excluded:
                filler.put(f"{stored}/{output.path}", output.path)
        if not record.log.excluded:
            filler.write(log_tail(record.log_path), f"metadata/{record.facts.action}.log")
        for path, message in manifest.notice_paths(new).items():
            filler.write(notices.notice(message), path)
        filler.sync()


class _Filler:
    """Puts files into one view, and remembers the folders it has to sync."""

    def __init__(self, view: Path, folder_mode: int) -> None:
        self.view = view
        self.folder_mode = folder_mode
        self._root = str(view)  # paths as text: there may be many thousands
        self._ready = {""}
        self._to_sync = {view}

    def put(self, stored: str, path: str) -> None:
        """Make `path` of the view the stored file: a hard link, or a copy on another file system."""
        target = self._place(path)
        try:
            durable.link_new(stored, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _copy(Path(stored), Path(target))

    def write(self, content: bytes, path: str) -> None:
        """Make `path` of the view a file with this content."""
        target = Path(self._place(path))
        if not target.is_file() or target.read_bytes() != content:
            durable.write_new(target, content)

    def sync(self) -> None:
        """Bring the new names to the disk."""
        durable.sync_folders(self._to_sync)

    def _place(self, path: str) -> str:
        """Where `path` goes, with its folders made. What an older run of the action left in the way goes."""
        inside = path.rpartition("/")[0]
        if inside not in self._ready:
            self._make(inside)
            self._ready.add(inside)
        target = f"{self._root}/{path}"
        if _is_folder(target):
            shutil.rmtree(target)
        return target

    def _make(self, inside: str) -> None:
        folder = self.view
        for part in inside.split("/"):
            folder = folder / part
            if folder.is_symlink() or folder.is_file():
                folder.unlink()
            if not folder.is_dir():
                folder.mkdir(self.folder_mode)
                self._to_sync.add(folder.parent)
        self._to_sync.add(folder)


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def _copy(stored: Path, target: Path) -> None:
    temporary = durable.temporary_beside(target)
    try:
        shutil.copyfile(stored, temporary, follow_symlinks=False)
        temporary.chmod(0o444)
        durable.sync_file(temporary)
        temporary.rename(target)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_others(view: Path, expected: set[str]) -> None:
    """Remove every file of the view that is not expected, and the folders that this leaves empty."""
    root = str(view)
    for inside, _folders, files in os.walk(root, topdown=False):
        prefix = f"{inside[len(root) + 1 :]}/" if inside != root else ""
        for name in files:
            if f"{prefix}{name}" not in expected:
                Path(inside, name).unlink()
        if prefix not in ("", "metadata/"):
            try:
                Path(inside).rmdir()
            except OSError:
                continue  # not empty: it still holds current outputs
