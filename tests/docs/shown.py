"""The commands that a page shows, in their order, and what the page says that they print.

A fenced block without a language holds commands, one a line, a longer one with a backslash at its breaks; a
block `output` holds what the command before it prints. A span of code in a sentence is a command if it begins
with one of PROGRAMS and a space.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("jobrunner", "pip", "docker", "git", "make", "sh", "python", "python3", "sed", "cat", "curl")

_FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_GOES_ON = re.compile(r" \\\n *")
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")


@dataclass(frozen=True, slots=True)
class Shown:
    """`text` as the page has it, on one line; `prints`: lines of the block `output` that follows."""

    text: str
    prints: tuple[str, ...] = ()


def shown(page: str) -> list[Shown]:
    """Every command of a page."""
    return list(_with_prints([*_parts(page)]))


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of this language."""
    return [content for found, content in _FENCE.findall(page) if found == language]


def page(path: Path) -> str:
    """The text of a page."""
    return path.read_text("utf-8")


def _parts(page: str) -> Iterator[tuple[str, str]]:
    """(kind, text): a command, or what is printed."""
    end = 0
    for fence in _FENCE.finditer(page):
        yield from _spans(page[end : fence.start()])
        language, content = fence.groups()
        if language == "":
            whole = _GOES_ON.sub(" ", content)
            yield from (("command", line) for line in whole.splitlines() if line.strip())
        elif language == "output":
            yield "prints", content
        end = fence.end()
    yield from _spans(page[end:])


def _spans(prose: str) -> Iterator[tuple[str, str]]:
    for span in _SPAN.findall(prose):
        words = span.split()
        if words[0] in PROGRAMS and len(words) > 1:
            yield "command", " ".join(words)


def _with_prints(parts: list[tuple[str, str]]) -> Iterator[Shown]:
    following = [*parts, ("command", "")][1:]
    for (kind, text), (next_kind, printed) in zip(parts, following, strict=True):
        if kind == "command":
            yield Shown(text, tuple(printed.splitlines()) if next_kind == "prints" else ())
