"""What every rule is: a function from one file and the rulebook to findings."""

from collections.abc import Iterable
from typing import Protocol

from jobrunner.privacy.disclosure.content import Content
from jobrunner.privacy.disclosure.findings import Finding
from jobrunner.privacy.disclosure.rulebook import Rulebook, RuleSettings


class Rule(Protocol):
    """No clock, no randomness, no file but this one. All numbers come from `settings` and `book`."""

    def __call__(self, content: Content, book: Rulebook, settings: RuleSettings) -> Iterable[Finding]:
        """The findings on one file, in a fixed order."""
