"""Output patterns and the paths they match (project-yaml.md section 6.8).

Matching goes segment by segment and respects letter case. `*` stands for zero or more characters other than
`/`; all else is literal. Nothing whose first segment is `metadata`, in any letter case, is ever matched.
"""

from collections.abc import Iterable

_RESERVED = "metadata"


def matches(pattern: str, path: str) -> bool:
    """Whether a path relative to the job's folder, with `/` between segments, fits the pattern."""
    wanted, given = pattern.split("/"), path.split("/")
    if given[0].lower() == _RESERVED:
        return False
    if len(wanted) != len(given):
        return False
    return all(_fits(star.split("*"), name) for star, name in zip(wanted, given, strict=True))


def literal_parent(pattern: str) -> str:
    """The folder part up to the first segment that holds `*`; `""` is the job's folder itself."""
    folders = pattern.split("/")[:-1]
    literal: list[str] = []
    for folder in folders:
        if "*" in folder:
            break
        literal.append(folder)
    return "/".join(literal)


def _fits(parts: list[str], name: str) -> bool:
    """Whether `name` is the parts in order with anything between them. Greedy, so without backtracking."""
    if len(parts) == 1:
        return name == parts[0]
    first, last = parts[0], parts[-1]
    end = len(name) - len(last)
    if end < len(first) or not name.startswith(first) or not name.endswith(last):
        return False
    position = len(first)
    for part in parts[1:-1]:
        found = name.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True


class _Folder:
    """The patterns that share the segments up to here."""

    __slots__ = ("ends", "exact", "stars", "wild")

    def __init__(self) -> None:
        self.exact: dict[str, _Folder] = {}
        self.wild: dict[str, _Folder] = {}
        #: (length before the first `*`, length after the last) -> (those two texts) -> (parts, folder).
        self.stars: dict[tuple[int, int], dict[tuple[str, str], list[tuple[list[str], _Folder]]]] = {}
        #: Numbers of the patterns that end here.
        self.ends: list[int] = []

    def child(self, segment: str) -> "_Folder":
        if "*" not in segment:
            return self.exact.setdefault(segment, _Folder())
        if segment not in self.wild:
            folder = self.wild[segment] = _Folder()
            parts = segment.split("*")
            first, last = parts[0], parts[-1]
            table = self.stars.setdefault((len(first), len(last)), {})
            table.setdefault((first, last), []).append((parts, folder))
        return self.wild[segment]


class PatternSet:
    """Many patterns asked at once; the cost of a look-up hardly grows with their number.

    `steps` counts the comparisons made so far, for callers that must bound them.
    """

    __slots__ = ("_patterns", "_root", "steps")

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = tuple(patterns)
        self._root = _Folder()
        self.steps = 0
        for number, pattern in enumerate(self._patterns):
            folder = self._root
            for segment in pattern.split("/"):
                folder = folder.child(segment)
            folder.ends.append(number)

    def could_contain(self, folder: str) -> bool:
        """Whether a file somewhere below this folder (`""`: the job's folder) can match a pattern."""
        if not folder:
            return bool(self._patterns)
        return any(found.exact or found.wild for found in self._walk(folder))

    def matching(self, path: str) -> tuple[str, ...]:
        """The patterns that the path matches, in the order in which they were given."""
        return tuple(self._patterns[number] for number in self.matching_numbers(path))

    def matching_numbers(self, path: str) -> list[int]:
        """The places, from 0, of these patterns among those given."""
        return sorted(number for found in self._walk(path) for number in found.ends)

    def _walk(self, path: str) -> list[_Folder]:
        segments = path.split("/")
        if segments[0].lower() == _RESERVED:
            return []
        reached = [self._root]
        for segment in segments:
            reached = [child for folder in reached for child in self._children(folder, segment)]
            if not reached:
                break
        return reached

    def _children(self, folder: _Folder, segment: str) -> Iterable[_Folder]:
        self.steps += 1
        if segment in folder.exact:
            yield folder.exact[segment]
        for (first, last), table in folder.stars.items():
            self.steps += 1
            if len(segment) < first + last:
                continue
            for parts, child in table.get((segment[:first], segment[len(segment) - last :]), ()):
                self.steps += 1
                if _fits(parts, segment):
                    yield child
