"""SDC030: a suffix that is not allowed, or content that is not what the suffix says."""

from collections.abc import Iterator

from jobrunner.privacy.disclosure import sniff
from jobrunner.privacy.disclosure.content import Content
from jobrunner.privacy.disclosure.findings import Finding
from jobrunner.privacy.disclosure.rulebook import Rulebook, RuleSettings

_PICTURES = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg"}
_MARKUP = frozenset({"html", "svg"})
_PLAIN = frozenset({"csv", "tsv", "txt", "log", "md", "json"})
# A table or report that is JSON throughout escapes the reading that its suffix asks for.
_NEVER_JSON = frozenset({"csv", "tsv"})


def check(content: Content, book: Rulebook, settings: RuleSettings) -> Iterator[Finding]:
    """At most one finding: the first thing that does not agree."""
    why = _why(content, book)
    if why is not None:
        yield Finding(
            rule="SDC030",
            severity=settings.severity,
            message=why,
            suggestion="Write plain UTF-8 text or a png, jpeg or svg picture under its own suffix.",
        )


def _why(content: Content, book: Rulebook) -> str | None:
    suffix, kind = content.suffix, content.kind
    if suffix not in book.types:
        return "files with this suffix are not reviewed"
    if suffix in _PICTURES:
        return (
            None
            if kind == _PICTURES[suffix]
            else f"content is {_named(kind)}, not a picture as its suffix says"
        )
    if kind != sniff.TEXT:
        return f"content is {_named(kind)}"
    if content.text is None:
        return None  # too large: not read, SDC031 says so
    found = sniff.markup(content.text)
    if suffix in _MARKUP:
        return None if found == suffix else f"content does not begin like {suffix}"
    if suffix not in _PLAIN:
        return "this suffix has no rule for its content"
    if found is not None:
        return f"content is {found}"
    if suffix == "json" and not content.is_json:
        return "content is not JSON"
    if suffix in _NEVER_JSON and content.text.lstrip()[:1] in ("{", "["):
        return "content begins like JSON"
    return None


def _named(kind: str) -> str:
    if kind == sniff.BINARY:
        return "neither UTF-8 text nor a known picture"
    return f"a {kind}" if kind != sniff.TEXT else "text"
