"""Which files of the study the words of a command name. Only these decide alone that an action runs again."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from jobrunner.pipeline import matches


def named_files(
    argv: Sequence[str], config: Mapping[str, Any] | None, files: Iterable[str]
) -> frozenset[str]:
    """Those of `files` that a word, the value of `--option=value`, or a text in `config` names.

    A folder names all that is in it; `*` stands for anything within one folder, as in output patterns; after
    `-m` a module `a.b` is `a/b.py`.
    """
    known = sorted(files)
    whole = frozenset(known)
    found: set[str] = set()
    for word in {*_words(argv), *_texts(config)}:
        path = _plain(word)
        if path is None:
            continue
        if path in whole:
            found.add(path)
        elif "*" in path:
            found.update(one for one in known if matches(path, one))
        else:
            found.update(one for one in known if one.startswith(f"{path}/"))
    return frozenset(found)


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
