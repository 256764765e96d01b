"""The one way in which this program fails."""


class Problem(Exception):
    """The output cannot be made. The text is one or two sentences for the person who wrote the action."""
