"""Reporting on the nodes of a schema: the shapes and names that every part of it needs."""

import unicodedata
from collections.abc import Sequence
from typing import Final

from jobrunner.pipeline.findings import Findings
from jobrunner.pipeline.nodes import MAPPING, Node
from jobrunner.pipeline.suggestions import Suggestions
from jobrunner.pipeline.wording import listing, quote

MOST_NAME: Final = 128


class Reporter:
    """Collects problems. Methods that check say whether all was well, or give what they found."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings

    def at(self, node: Node, word: str, message: str) -> None:
        """A problem at a node; `word` is its id."""
        self._findings.error(word, node, None, message)

    def hint(self, text: str, names: Sequence[str]) -> str:
        """`" Did you mean ...?"` or nothing."""
        return Suggestions(names, self._findings.comparisons).hint(text)

    def unknown_keys(self, mapping: Node, allowed: Sequence[str], what: str) -> None:
        """Report each key that does not belong here."""
        for key, _ in mapping.entries.values():
            if key.text not in allowed:
                hint = self.hint(key.text, allowed) or f" Allowed are {listing(allowed, len(allowed))}."
                self.at(key, "unknown_key", f"{what} has the unknown key {quote(key.text)}.{hint}")

    def needed(self, mapping: Node, key: str, what: str, mend: str, at: Node | None = None) -> Node | None:
        """The value of a key that must be there."""
        if key in mapping.entries:
            return mapping.entries[key][1]
        self.at(at or mapping, "missing_key", f"`{key}` is missing from {what}. {mend}")
        return None

    def is_mapping(self, node: Node, what: str, mend: str) -> bool:
        """Whether this holds keys and values."""
        if node.kind is MAPPING:
            return True
        self.at(node, "wrong_shape", f"{what} is {node.describe()}. {mend}")
        return False

    def name(self, key: Node, kind: str) -> str:
        """Check the name of a table or column; returns words for it."""
        text = key.text
        if fault_of_name(text):
            self.at(
                key,
                "bad_name",
                f"The name of this {kind} is {quote(text)}. Use 1 to {MOST_NAME} characters that show, "
                "without blanks around them.",
            )
        return f"{kind} {quote(text)}"


def fault_of_name(name: str) -> bool:
    """Whether a table or column cannot have this name; nothing may hide in it, or turn or end a line."""
    if not name or name != name.strip() or len(name) > MOST_NAME:
        return True
    return any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp") for char in name)
