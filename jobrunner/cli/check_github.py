"""Problems as workflow commands of GitHub Actions, which shows them beside the lines of a pull request."""

from collections.abc import Iterable

from jobrunner.pipeline.model import Problem

# A character outside this table cannot end a command or one of its properties.
_IN_MESSAGE = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_IN_PROPERTY = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A", ":": "%3A", ",": "%2C"})


def as_annotations(path: str, problems: Iterable[Problem]) -> str:
    """One line for each problem, `::error file=...,line=...,col=...,title=...::message`."""
    file = path.translate(_IN_PROPERTY)
    return "".join(
        f"::{problem.severity} file={file},line={problem.line},col={problem.column},title={problem.id}"
        f"::{problem.message.translate(_IN_MESSAGE)}\n"
        for problem in problems
    )
