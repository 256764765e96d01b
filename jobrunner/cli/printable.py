"""Text of others on a terminal: what a file, a job or a bundle says is shown and never obeyed."""


def printable(text: str) -> str:
    """The text without signs that a terminal would obey: what a job or a file name says is not trusted."""
    return "".join(
        sign if sign.isprintable() or sign == "\t" else sign.encode("unicode_escape").decode("ascii")
        for sign in text
    )


def printable_lines(text: str) -> str:
    """The same for a text of several lines."""
    return "\n".join(printable(line) for line in text.splitlines())
