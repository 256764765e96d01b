"""Whether an action must run again, and the reason in plain words, whichever way it goes.

An action is up to date while its definition, its image, its inputs, the files that its command names and its
outputs are what they were at its last success. Other files of the study may matter too, which nobody can
tell from outside: those that changed are named, and the person decides.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from jobrunner.local.records import Record

_MOST_NAMED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """How things are now; fields as in `Record`.

    `image_id` is None when it cannot be told. `outputs`: those that the record names, as they lie now; one
    that is gone is missing.
    """

    image: str
    image_id: str | None
    argv: tuple[str, ...]
    patterns: tuple[tuple[str, str], ...]
    needs: tuple[str, ...]
    inputs: Mapping[str, str]
    named: Mapping[str, str]
    others: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`runs`, and why or why not, in phrases. `notes`: whole sentences about what does not decide."""

    runs: bool
    why: tuple[str, ...]
    notes: tuple[str, ...] = ()


def judge(record: Record | None, now: Present, *, option: str = "", unreadable: str = "") -> Verdict:
    """Compare the last success with the present.

    `option`: that by which the person wants it in any case. `unreadable`: why its record could not be read.
    """
    why = [f"it was asked for with {option}"] if option else []
    if record is None:
        broken = f"what was remembered of it cannot be used ({unreadable})"
        return Verdict(True, (*why, broken if unreadable else "it has never succeeded here"))
    if record.failed_since is not None:
        why.append(f"it failed when it last ran ({record.failed_since})")
    why += _definition(record, now)
    why += _changes(record.named, now.named, "")
    why += _inputs(record, now)
    why += _outputs(record, now)
    if why:
        return Verdict(True, tuple(why))
    return Verdict(False, (_same(now),), tuple(_notes(record, now)))


def _definition(record: Record, now: Present) -> Iterator[str]:
    if record.image != now.image:
        yield f"its image is {now.image}, and was {record.image}"
    elif now.image_id is not None and record.image_id != now.image_id:
        yield f"the image {now.image} is another one than before"
    if record.argv != now.argv:
        yield "its command changed"
    if record.needs != now.needs:
        yield "its `needs` changed"
    if record.patterns != now.patterns:
        yield "its `outputs` in project.yaml changed"


def _inputs(record: Record, now: Present) -> Iterator[str]:
    yield from _changes(record.inputs, now.inputs, "its input ")


def _outputs(record: Record, now: Present) -> Iterator[str]:
    gone = [path for path in record.outputs if path not in now.outputs]
    edited = [path for path, digest in record.outputs.items() if now.outputs.get(path, digest) != digest]
    if gone:
        yield f"its output {_some(gone)} {'was' if len(gone) == 1 else 'were'} deleted"
    if edited:
        yield f"its output {_some(edited)} {'was' if len(edited) == 1 else 'were'} changed by hand"


def _changes(before: Mapping[str, str], now: Mapping[str, str], what: str) -> Iterator[str]:
    changed = [path for path in before if path in now and before[path] != now[path]]
    added = [path for path in now if path not in before]
    removed = [path for path in before if path not in now]
    if changed:
        yield f"{what}{_some(changed)} changed"
    if added:
        yield f"{what}{_some(added)} is new" if len(added) == 1 else f"{what}{_some(added)} are new"
    if removed:
        yield f"{what}{_some(removed)} is gone" if len(removed) == 1 else f"{what}{_some(removed)} are gone"


def _same(now: Present) -> str:
    parts = ["definition", "image" if now.image_id is not None else ""]
    parts += [_count(len(now.named), "named file"), _count(len(now.inputs), "input")]
    parts += [_count(len(now.outputs), "output")]
    listed = [part for part in parts if part]
    return f"{', '.join(listed[:-1])} and {listed[-1]} are as they were"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}" if number else ""


def _notes(record: Record, now: Present) -> Iterator[str]:
    differ = sorted(
        path for path in {*record.others, *now.others} if record.others.get(path) != now.others.get(path)
    )
    if differ:
        yield f"{_some(differ)} changed since; --fresh runs an action again in any case."
    if now.image_id is None:
        yield f"The image {now.image} is not at hand, so nobody looked whether it is still the same."


def _some(paths: list[str]) -> str:
    first = ", ".join(sorted(paths)[:_MOST_NAMED])
    more = len(paths) - _MOST_NAMED
    return f"{first} and {more} more" if more > 0 else first
