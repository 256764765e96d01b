"""Which files of the study the words of a command name. Only these decide alone that an action runs again."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, Final

from jobrunner.pipeline import matches

# As many links in a row as Linux follows.
_MAX_HOPS: Final = 40


def named_files(
    argv: Sequence[str],
    config: Mapping[str, Any] | None,
    files: Iterable[str],
    links: Mapping[str, str] = MappingProxyType({}),
) -> frozenset[str]:
    """Those of `files` that a word, the value of `--option=value`, or a text in `config` names.

    A folder names all that is in it; `*` stands for anything within one folder, as in output patterns; after
    `-m` a module `a.b` is `a/b.py`. `links`: those of `files` that are links, with the text of each; whoever
    names one also names what it leads to, within the study.
    """
    whole = frozenset(files)
    found: set[str] = set()
    ahead = {path for word in {*_words(argv), *_texts(config)} if (path := _plain(word)) is not None}
    followed: set[str] = set()
    while ahead:
        path = ahead.pop()
        followed.add(path)
        passed, end = _follow(path, links)
        meant = _meant(end, whole) if end else frozenset()
        found |= whole & (passed | meant)
        ahead |= (meant & links.keys()) - followed
    return frozenset(found)


def _meant(path: str, files: frozenset[str]) -> frozenset[str]:
    """The files that a path means on whose way is no link."""
    if path in files:
        return frozenset({path})
    if "*" in path:
        return frozenset(one for one in files if matches(path, one))
    return frozenset(one for one in files if one.startswith(f"{path}/"))


def _follow(path: str, links: Mapping[str, str]) -> tuple[set[str], str]:
    """The links on the way of `path`, and where it ends; "" when it leaves the study or does not end."""
    here: list[str] = []
    ahead = path.split("/")[::-1]
    passed: set[str] = set()
    hops = 0
    while ahead:
        part = ahead.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not here:
                return passed, ""
            here.pop()
            continue
        step = "/".join([*here, part])
        if step not in links:
            here.append(part)
            continue
        hops += 1
        if hops > _MAX_HOPS or links[step].startswith("/"):
            return passed, ""
        passed.add(step)
        ahead += links[step].split("/")[::-1]
    return passed, "/".join(here)


def _words(argv: Sequence[str]) -> Iterator[str]:
    for number, word in enumerate(argv):
        yield word
        if word.startswith("-") and "=" in word:
            yield word.partition("=")[2]
        if number and argv[number - 1] == "-m":
            yield f"{word.replace('.', '/')}.py"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


def _plain(word: str) -> str | None:
    """The word as a path relative to the study; None when it cannot be one."""
    if not word or "\0" in word or len(word) > 512:
        return None
    path = PurePosixPath(word)
    if path.is_absolute():
        if path.parts[:2] != ("/", "workspace"):
            return None
        path = PurePosixPath(*path.parts[2:])
    # "." alone names the whole study, which says nothing about which file matters.
    if not path.parts or ".." in path.parts:
        return None
    return path.as_posix()
