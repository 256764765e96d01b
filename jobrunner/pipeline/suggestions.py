"""The name that was probably meant, for messages. Bounded work, whatever the file holds."""

from collections.abc import Collection, Iterable
from heapq import nlargest
from typing import Final

from jobrunner.pipeline.wording import quote

#: What all comparisons of one check may cost; one unit takes 0.1 to 0.3 microseconds. A count and no clock:
#: the agent and a laptop must tell the same problems of the same file.
MOST_COST: Final = 2_000_000
#: No name longer than this is compared: the cost of two long ones grows with both.
LONGEST_NAME: Final = 128

_COST_OF_A_LOOK: Final = 4
_COST_OF_A_RATIO: Final = 100


class Comparisons:
    """What comparing names may still cost. After that nothing is like anything any more."""

    def __init__(self, most_cost: int = MOST_COST) -> None:
        self.left = most_cost

    def nearest(self, text: str, names: Iterable[str], most: int = 1, cutoff: float = 0.6) -> list[str]:
        """Up to `most` of `names` that are like `text`, the likest first; none once the work was too much.

        As difflib.get_close_matches, with the cost of each step taken off before it is made.
        """
        if len(text) > LONGEST_NAME or self.left <= 0:
            return []
        # Only needed for a file with mistakes, and not cheap to import.
        from difflib import SequenceMatcher

        matcher = SequenceMatcher()
        matcher.set_seq2(text)
        found: list[tuple[float, str]] = []
        for name in names:
            self.left -= _COST_OF_A_LOOK
            if len(name) > LONGEST_NAME:
                continue
            both = len(name) + len(text)
            if 2 * min(len(name), len(text)) < cutoff * both:
                continue
            self.left -= both
            if self.left <= 0:
                return []
            matcher.set_seq1(name)
            if matcher.quick_ratio() < cutoff:
                continue
            self.left -= _COST_OF_A_RATIO + len(name) * len(text)
            if self.left <= 0:
                return []
            likeness = matcher.ratio()
            if likeness >= cutoff:
                found.append((likeness, name))
        return [name for _, name in nlargest(most, found)]


class Suggestions:
    """Looks among known names, at the cost of `comparisons`, which many of these may share."""

    def __init__(self, names: Collection[str], comparisons: Comparisons | None = None) -> None:
        self._names = names
        self._comparisons = Comparisons() if comparisons is None else comparisons
        self._known: dict[str, str] = {}

    def hint(self, text: str) -> str:
        """`" Did you mean ...?"` with a space before it, or nothing."""
        close = self.closest(text)
        return f" Did you mean {quote(close)}?" if close else ""

    def closest(self, text: str) -> str:
        """The name that was probably meant, or nothing."""
        if text not in self._known:
            nearest = self._comparisons.nearest
            close = nearest(text, self._names) or nearest(text.lower(), self._names)
            self._known[text] = close[0] if close else ""
        return self._known[text]
