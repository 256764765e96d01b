"""The name that was probably meant, for messages. Bounded work, whatever the file holds."""

from collections.abc import Collection

from jobrunner.pipeline.wording import quote

#: Comparisons of two names in one check; a comparison takes some microseconds.
_MOST_COMPARISONS = 20_000


class Suggestions:
    """Looks among known names. After so many comparisons it has no more suggestions."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = [name for name in names if len(name) <= 128]
        self._left = _MOST_COMPARISONS
        self._known: dict[str, str] = {}

    def hint(self, text: str) -> str:
        """`" Did you mean ...?"` with a space before it, or nothing."""
        close = self.closest(text)
        return f" Did you mean {quote(close)}?" if close else ""

    def closest(self, text: str) -> str:
        """The name that was probably meant, or nothing."""
        if text in self._known:
            return self._known[text]
        if len(text) > 128 or len(self._names) > self._left:
            return ""
        self._left -= 2 * len(self._names)
        # Only needed for a file with mistakes, and not cheap to import.
        from difflib import get_close_matches

        close = get_close_matches(text, self._names, n=1) or get_close_matches(text.lower(), self._names, n=1)
        self._known[text] = close[0] if close else ""
        return self._known[text]
