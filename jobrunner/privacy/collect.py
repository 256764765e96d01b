"""Collecting what a job wrote, seen from the agent: threats.md section 4 items 2 to 8.

The walk is done by `collector.py` in a process with the job's rights. What it hands over is checked here
again from the start: the name, the patterns, the kind of file, and that this path leads to this inode.
"""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Collection as AnyOf

from jobrunner.pipeline.patterns import PatternSet
from jobrunner.privacy import frames, names
from jobrunner.privacy.alike import look_alikes, shown
from jobrunner.privacy.confined_process import ConfinedProcess, Launcher, NotConfined
from jobrunner.privacy.conversation import Conversation, Heard
from jobrunner.privacy.levels import level_named
from jobrunner.privacy.outputs import (
    CollectedFile,
    Collection,
    CollectLimits,
    CollectorDied,
    CollectorFailed,
    OutputsMissing,
    OutputsRefused,
    Untouched,
)
from jobrunner.privacy.runs import RunFolder

__all__ = [
    "CollectLimits",
    "CollectedFile",
    "Collection",
    "Collector",
    "CollectorDied",
    "CollectorFailed",
    "OutputsMissing",
    "OutputsRefused",
    "Untouched",
    "collect",
]


class Collector:
    """Holds the process that walks through what a job wrote. For one job; `stop` ends it.

    `uid`, `gid`: the attempt's, which the process of `launcher` runs as; ignored without root.
    """

    def __init__(
        self,
        launcher: Launcher,
        uid: int,
        gid: int,
        limits: CollectLimits = CollectLimits(),  # noqa: B008 (frozen)
    ) -> None:
        self._launcher = launcher
        self._uid = uid
        self._gid = gid
        self.limits = limits
        self._process: ConfinedProcess | None = None

    def begin(self) -> None:
        """Have the process get ready while the caller does something else; what goes wrong shows later."""
        try:
            self._launch()
        except NotConfined:
            # `confirmed` tries again.
            pass

    def confirmed(self) -> ConfinedProcess:
        """The process, which has given up its rights. Raises NotConfined."""
        process = self._launch()
        process.confirm()
        return process

    def dismiss(self) -> None:
        """End the process without waiting until it has gone: `stop` does. May be called again."""
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        """End the process and wait until it has gone. May be called again."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def _launch(self) -> ConfinedProcess:
        if self._process is None:
            self._process = ConfinedProcess(
                self._launcher, "collector", [], uid=self._uid, gid=self._gid, timeout=self.limits.seconds
            )
        return self._process


def collect(
    root_fd: int,
    patterns: Sequence[tuple[str, str]],
    *,
    into: RunFolder,
    collector: Collector,
    inputs: AnyOf[str] = (),
    untouched: Mapping[str, Untouched] | None = None,
    kept: Callable[[CollectedFile], None] = lambda _file: None,
    still_wanted: Callable[[], object] = lambda: None,
) -> Collection:
    """Copy every file below `root_fd` that a pattern matches into the run folder `into`.

    `patterns`: (pattern, level as in project.yaml). `collector` serves once; its limits hold.
    `inputs`: paths of staged inputs; one that lies here was changed by the job and is refused if matched.
    `untouched`: for a work folder that is a copy and no overlay, what was put there; files that are still
    the same are no outputs.
    `kept` hears of each file as soon as its copy is there, before it is known whether all can be kept.
    `still_wanted` is called between files, for each MiB and twice a second, and may raise to stop.

    The job's processes must be gone. Raises OutputsRefused, OutputsMissing (in this order), CollectorFailed
    and CollectorDied; the run folder then holds no file.
    """
    levels: dict[str, list[str]] = {}
    for pattern, level in patterns:
        levels.setdefault(pattern, []).append(level_named(level))
    wanted = PatternSet(list(levels))
    into.empty_files()
    conversation = Conversation(
        root_fd,
        wanted,
        levels,
        into,
        frozenset(inputs),
        untouched or {},
        collector.limits,
        kept,
        still_wanted,
    )
    state = conversation.state
    try:
        _converse(conversation, collector)
        for path, other in names.collisions([file.path for file in state.files], ()):
            state.refused.append((path, f"its name collides with {shown(other)}"))
        if state.refused:
            raise OutputsRefused(state.refused)
        _require_all(list(levels), wanted, state)
        return Collection(tuple(sorted(state.files, key=lambda file: file.path)), _notes(state))
    except BaseException:
        into.empty_files()
        raise


def _converse(conversation: Conversation, collector: Collector) -> None:
    try:
        connection = collector.confirmed().connection
    except NotConfined as error:
        raise CollectorFailed(str(error)) from error
    try:
        conversation.run(connection)
        collector.dismiss()
    except frames.BrokenConversation as error:
        raise CollectorDied(str(error)) from error


def _require_all(patterns: Sequence[str], wanted: PatternSet, state: Heard) -> None:
    matched = {pattern for file in state.files for pattern in wanted.matching(file.path)}
    missing = [pattern for pattern in patterns if pattern not in matched]
    if missing:
        known = state.others + [file.path for file in state.files]
        raise OutputsMissing(missing, look_alikes(missing, known), state.oddities)


def _notes(state: Heard) -> tuple[str, ...]:
    return tuple(state.oddities + state.notes)
