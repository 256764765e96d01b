"""What libyaml says about text that is not YAML, in words for the person who wrote it."""

from yaml import MarkedYAMLError, YAMLError

from jobrunner.pipeline.wording import plain

_GENERAL_HINT = "Check quotes, colons and indentation just above."


def explain(error: YAMLError) -> tuple[int, int, str]:
    """Line and column, from 1, where reading stopped, and the message of PY001."""
    line = column = 1
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        line, column = error.problem_mark.line + 1, error.problem_mark.column + 1
    return line, column, f"This is not valid YAML: {_what(error)}"


def _what(error: YAMLError) -> str:
    if not isinstance(error, MarkedYAMLError):
        return f"{plain(' '.join(str(error).split()))}. {_GENERAL_HINT}"
    problem, context = error.problem or "it cannot be read", error.context or ""
    began = f"line {error.context_mark.line + 1}" if error.context_mark is not None else "an earlier line"
    if problem == "found unexpected end of stream" and "quoted scalar" in context:
        return f"the quote that opens on {began} is never closed. Close it, or c{_GENERAL_HINT[1:]}"
    if problem == "mapping values are not allowed in this context":
        hint = "Put the text in quotes, or mend the indentation."
        return f"a `:` followed by a space stands where no value may begin. {hint}"
    if problem == "found character that cannot start any token" or "tab character" in problem:
        hint = "Indent with spaces, or put the text in quotes."
        return f"no value may begin with this sign (a tab, `@`, `%`, a backtick). {hint}"
    if problem == "could not find expected ':'":
        return f"the key that begins on {began} has no `:` after it. Add it, or mend the indentation."
    if problem in ("did not find expected key", "did not find expected '-' indicator"):
        hint = "Mend its indentation, or quotes just above."
        return f"this line does not fit the list or mapping that begins on {began}. {hint}"
    if problem in ("did not find expected ',' or '}'", "did not find expected ',' or ']'"):
        return f"the bracket that opens on {began} is not closed, or a comma is missing. Add what is missing."
    return f"{plain(problem)}{' ' + plain(context) if context else ''}. {_GENERAL_HINT}"
