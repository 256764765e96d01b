"""Showing a path that a job chose, and finding paths that look like a pattern nothing matched."""

from collections.abc import Iterable, Sequence
from itertools import islice

from jobrunner.pipeline.suggestions import Comparisons
from jobrunner.privacy.names import fold

_MOST = 3
_LONGEST_SHOWN = 200
# Of more patterns and paths nobody reads the hints, and the job chose both: what this costs, the agent pays.
_MOST_PATTERNS = 20
_MOST_PATHS = 500


def shown(path: str) -> str:
    """`path` in backquotes, with escapes for what does not print, cut at 200 characters."""
    visible = "".join(
        sign if sign.isprintable() and sign not in "`\\" else sign.encode("unicode_escape").decode("ascii")
        for sign in path[:_LONGEST_SHOWN]
    )
    return f"`{visible}{'...' if len(path) > _LONGEST_SHOWN else ''}`" if path else "the work folder"


def look_alikes(
    patterns: Sequence[str], paths: Iterable[str], comparisons: Comparisons | None = None
) -> dict[str, tuple[str, ...]]:
    """For each pattern up to three of `paths` that a person may have meant: other case, folder or suffix.

    Of many patterns the first 20 are looked at, and of many paths 500. Spelling counts for names of up to
    128 characters, while `comparisons` last.
    """
    comparisons = Comparisons() if comparisons is None else comparisons
    known = sorted(islice(dict.fromkeys(paths), _MOST_PATHS))
    folded = {fold(path): path for path in known}
    by_name: dict[str, list[str]] = {}
    for path in known:
        by_name.setdefault(fold(path.rsplit("/", 1)[-1]), []).append(path)
    found: dict[str, tuple[str, ...]] = {}
    for pattern in patterns[:_MOST_PATTERNS]:
        candidates = [folded[fold(pattern)]] if fold(pattern) in folded else []
        candidates += by_name.get(fold(pattern.rsplit("/", 1)[-1]), [])
        candidates += [folded[near] for near in comparisons.nearest(fold(pattern), folded, _MOST, 0.75)]
        found[pattern] = tuple(dict.fromkeys(candidates))[:_MOST]
    return found
