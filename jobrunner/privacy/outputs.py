"""What collecting gives back, and the two ways in which outputs can be wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobrunner.privacy.alike import shown

# Sentences of one kind that a person is told; more are counted.
_MOST_SENTENCES = 40


class OutputsMissing(Exception):
    """Patterns that no regular file matches: the reason outputs_missing.

    `patterns`: those left empty. `alike`: for each, paths of files that look like it. `oddities`: sentences
    about links, pipes and devices that stood where an output was expected.
    """

    def __init__(
        self, patterns: Sequence[str], alike: Mapping[str, Sequence[str]], oddities: Sequence[str]
    ) -> None:
        self.patterns = tuple(patterns)
        self.alike = {pattern: tuple(paths) for pattern, paths in alike.items()}
        self.oddities = tuple(oddities)
        super().__init__("no file matches: " + ", ".join(shown(pattern) for pattern in self.patterns[:20]))

    def sentences(self) -> list[str]:
        """What is missing, in whole sentences for the job's log."""
        lines = []
        for pattern in self.patterns[:_MOST_SENTENCES]:
            alike = self.alike.get(pattern, ())
            hint = f" Files that look alike: {', '.join(shown(path) for path in alike)}." if alike else ""
            lines.append(f"No file matches the output {shown(pattern)}.{hint}")
        beyond = len(self.patterns) - _MOST_SENTENCES
        if beyond > 0:
            lines.append(f"And {beyond} more {'pattern' if beyond == 1 else 'patterns'} matched nothing.")
        return [*lines, *_first(self.oddities)]


class OutputsRefused(Exception):
    """Files that may not be kept: the reason outputs_refused. `refused`: pairs (path, why).

    The path is empty where the whole work folder is meant. For the job's log only.
    """

    def __init__(self, refused: Sequence[tuple[str, str]]) -> None:
        self.refused = tuple(refused)
        super().__init__("; ".join(f"{shown(path)}: {why}" for path, why in self.refused[:20]))

    def sentences(self) -> list[str]:
        """What was refused and why, in whole sentences for the job's log."""
        # What concerns the whole folder comes first: it must not be among those that are only counted.
        refused = sorted(self.refused, key=lambda one: one[0] != "")
        return _first(
            [f"Output {shown(path) if path else '(all)'} was refused: {why}." for path, why in refused]
        )


def _first(sentences: Sequence[str]) -> list[str]:
    beyond = len(sentences) - _MOST_SENTENCES
    return [*sentences[:_MOST_SENTENCES], *([f"And {beyond} more like these."] if beyond > 0 else [])]


class CollectorFailed(Exception):
    """The collecting process could not be started, or kept rights: nothing was collected."""


class CollectorDied(CollectorFailed):
    """It died, fell silent or made no sense while it walked. What the job wrote may be why."""


@dataclass(frozen=True, slots=True)
class CollectLimits:
    """Caps of threats.md section 4 item 4: counts, bytes in all, seconds.

    `waiting_bytes`: memory of the names and paths that wait to be walked, so that the collector never runs
    out of its own.
    """

    depth: int = 32
    entries: int = 200_000
    waiting_bytes: int = 64 * 1024**2
    files: int = 5_000
    total_bytes: int = 20 * 1024**3
    seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class CollectedFile:
    """One output as stored. `path` is relative to the job's folder; the last three are of the stored file."""

    path: str
    level: str
    sha256: str
    size: int
    stored: Path
    device: int
    inode: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Collection:
    """All files, sorted by path, and sentences for the job's log."""

    files: tuple[CollectedFile, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Untouched:
    """What a file looked like when it was put into the job's folder: it is no output while it looks so."""

    device: int
    inode: int
    size: int
    mtime_ns: int
