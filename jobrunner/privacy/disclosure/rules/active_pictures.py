"""SDC033: an svg picture that does more than show itself. Pages of html are held whole (verdicts.py)."""

import re
from collections.abc import Iterator, Mapping
from typing import Final
from xml.parsers import expat

from jobrunner.privacy.disclosure.content import Content
from jobrunner.privacy.disclosure.findings import Finding, Location
from jobrunner.privacy.disclosure.rulebook import Rulebook, RuleSettings

_SVG: Final = "http://www.w3.org/2000/svg"
_RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
# Browsers give a meaning to elements of namespaces under this one, pages among them.
_OF_BROWSERS: Final = "http://www.w3.org/"
# What svg has for standing pictures. Scripts, pages within, animation, sound and films are not among them.
_STILL: Final = frozenset({
    "svg", "g", "defs", "desc", "title", "metadata", "style", "symbol", "use", "switch", "path", "rect",
    "circle", "ellipse", "line", "polyline", "polygon", "text", "tspan", "textpath", "marker", "mask",
    "clippath", "pattern", "lineargradient", "radialgradient", "stop", "filter", "image", "view", "a",
    "feblend", "fecolormatrix", "fecomponenttransfer", "fecomposite", "feconvolvematrix",
    "fediffuselighting", "fedisplacementmap", "fedistantlight", "fedropshadow", "feflood", "fefunca",
    "fefuncb", "fefuncg", "fefuncr", "fegaussianblur", "femerge", "femergenode", "femorphology",
    "feoffset", "fepointlight", "fespecularlighting", "fespotlight", "fetile", "feturbulence",
})  # fmt: skip
_ADDRESSES: Final = frozenset({"href", "src"})
_INSIDE: Final = re.compile(r"\s*(?:#|data:image/(?:png|jpe?g|gif);base64,)", re.I)
_CSS_ADDRESS: Final = re.compile(r"url\(\s*[\"']?", re.I)
_CSS_IMAGES: Final = re.compile(r"image-set\(|\bimage\(|\bsrc\(", re.I)
_CSS_LOADS: Final = re.compile(
    r"@import|image-set\(|\bimage\(|\bsrc\(|expression\(|-moz-binding|behavior\s*:", re.I
)
_CODE: Final = re.compile(r"(?:java|vb)script:", re.I)
_BLANKS: Final = re.compile(r"[\x00-\x20]+")
_ENCODINGS: Final = frozenset({"utf-8", "us-ascii"})
_PUBLIC: Final = "-//W3C//DTD SVG "
_DEEPEST: Final = 200
_MOST_ELEMENTS: Final = 500_000
_SUGGESTION: Final = "Write a plain svg picture, as plotting libraries do, or a png."


class _Active(Exception):
    """The picture does what the text says. A fixed text: it repeats nothing of the file."""


def check(content: Content, book: Rulebook, settings: RuleSettings) -> Iterator[Finding]:
    """At most one finding: the first active thing, with its line."""
    if content.suffix != "svg" or content.text is None:
        return
    reader = _Reader()
    why = reader.why_active(content.text)
    if why is not None:
        yield Finding("SDC033", settings.severity, why, _SUGGESTION, Location(line=reader.line))


class _Reader:
    """Reads one picture as strict XML. No entity is ever expanded: whatever could declare one ends it."""

    def __init__(self) -> None:
        # The text is UTF-8 already; what it says of itself must agree.
        parser = self._parser = expat.ParserCreate("utf-8", " ")
        parser.buffer_text = True
        parser.XmlDeclHandler = self._declaration
        parser.StartDoctypeDeclHandler = self._doctype
        parser.EntityDeclHandler = self._entity
        parser.SkippedEntityHandler = self._entity
        parser.ProcessingInstructionHandler = self._instruction
        parser.StartCdataSectionHandler = self._verbatim
        parser.CommentHandler = self._comment
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        self._open: list[str] = []
        self._elements = 0
        self._style: list[str] = []

    @property
    def line(self) -> int:
        """The line, from 1, at which reading ended."""
        return self._parser.CurrentLineNumber

    def why_active(self, text: str) -> str | None:
        """What the picture does, or None when it only shows itself."""
        try:
            self._parser.Parse(text.encode("utf-8"), True)
        except _Active as active:
            return str(active)
        except expat.ExpatError:
            return "content is not well-formed XML"
        return None

    def _declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            raise _Active("says that it is in another encoding than UTF-8")

    def _doctype(self, _name: str, system: str | None, public: str | None, has_subset: int) -> None:
        if has_subset:
            raise _Active("DOCTYPE with declarations")
        of_w3c = (public or "").startswith(_PUBLIC) and (system or "").startswith("http://www.w3.org/")
        if system is not None and not of_w3c:
            raise _Active("DOCTYPE from outside")

    def _entity(self, *_declared: object) -> None:
        raise _Active("entity")

    def _instruction(self, _target: str, _data: str) -> None:
        raise _Active("processing instruction")

    def _verbatim(self) -> None:
        # Where a page holds the picture, its parser reads CDATA in a title as markup.
        if self._open[-1:] != ["style"]:
            raise _Active("CDATA outside of a style")

    def _comment(self, comment: str) -> None:
        # A page's parser ends such a comment at once.
        if comment.startswith((">", "->")):
            raise _Active("comment that ends early")

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._elements += 1
        if self._elements > _MOST_ELEMENTS:
            raise _Active(f"more than {_MOST_ELEMENTS:,} elements")
        if len(self._open) >= _DEEPEST:
            raise _Active(f"elements nested deeper than {_DEEPEST}")
        # The browser reads the text before and after such an element as one.
        if self._open[-1:] == ["style"]:
            raise _Active("element within a style")
        namespace, _space, local = name.rpartition(" ")
        _require_still(namespace, local.lower())
        self._open.append(local.lower())
        for attribute, value in attributes.items():
            _require_inert(attribute.rpartition(" ")[2].lower(), value)

    def _end(self, _name: str) -> None:
        if self._open.pop() == "style":
            # In one piece: what stands on two sides of a comment is one text for the browser.
            _require_plain_style("".join(self._style))
            self._style.clear()

    def _characters(self, text: str) -> None:
        if self._open[-1:] == ["style"]:
            self._style.append(text)


def _require_still(namespace: str, local: str) -> None:
    if namespace in ("", _SVG):
        if local not in _STILL:
            raise _Active("element that a standing picture does not need")
    elif namespace.startswith(_OF_BROWSERS) and namespace != _RDF:
        raise _Active("element of another language of browsers")


def _require_inert(name: str, value: str) -> None:
    if name.startswith("on"):
        raise _Active("event attribute")
    if name == "base":
        raise _Active("base for its addresses")
    if name in _ADDRESSES and not _INSIDE.match(value):
        raise _Active("address outside of the file")
    if _CODE.search(_BLANKS.sub("", value)):
        raise _Active("address that is code")
    if name == "style":
        _require_plain_style(value)
    if "\\" in value and "(" in value:
        raise _Active("attribute with escapes")
    _require_inside(value)


def _require_plain_style(style: str) -> None:
    if "\\" in style:
        raise _Active("style with escapes")
    if _CODE.search(_BLANKS.sub("", style)):
        raise _Active("address that is code")
    if _CSS_LOADS.search(style):
        raise _Active("style that loads or runs something")
    _require_inside(style)


def _require_inside(value: str) -> None:
    """An attribute like `fill` may hold url(...), or another function that loads, as a style may."""
    if _CSS_IMAGES.search(value):
        raise _Active("attribute that loads something")
    for found in _CSS_ADDRESS.finditer(value):
        if not _INSIDE.match(value, found.end()):
            raise _Active("address outside of the file")
