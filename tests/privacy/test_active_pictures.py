"""SDC033: what an svg picture may not do, and the pictures of plotting libraries, which do none of it."""

import hashlib
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.privacy.disclosure import engine, rulebook
from jobrunner.privacy.disclosure.findings import Finding

pytestmark = pytest.mark.unit

BOOK = rulebook.load(rulebook.default_rulebook())
MADE = Path(__file__).parents[1] / "data/svg"
HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


def findings(content: str | bytes) -> list[Finding]:
    data = content.encode() if isinstance(content, str) else content
    report = engine.check_bytes("fig.svg", data, len(data), hashlib.sha256(data).hexdigest(), BOOK)
    return list(report.findings)


def active(content: str | bytes) -> str | None:
    """What SDC033 says, or None."""
    found = [finding.message for finding in findings(content) if finding.rule == "SDC033"]
    return found[0] if found else None


def svg(inside: str, attributes: str = "") -> str:
    return f"{HEAD} {attributes}>{inside}</svg>"


@pytest.mark.parametrize("path", sorted(MADE.glob("*.svg")), ids=lambda path: path.stem)
def test_pictures_of_plotting_libraries_pass(path: Path) -> None:
    assert findings(path.read_bytes()) == []


@pytest.mark.parametrize(
    "content",
    [
        svg("<text>javascript: is a word, and a &lt; b</text>"),
        svg("<title>onload=1</title><desc>url(http://example.org)</desc>"),
        svg('<use xlink:href="#a"/><use href="#b"/><rect fill="url(#c)" clip-path="url( \'#d\' )"/>'),
        svg('<image href="data:image/png;base64,AAAA"/>'),
        svg("<style>.a { fill: #fff; font-family: 'Arial' }</style>"),
        svg('<g opacity=".5" offset="1" inkscape:label="a\\b" xmlns:inkscape="http://www.inkscape.org/x"/>'),
        "\ufeff" + svg(""),
        "<svg><text>a</text></svg>",
        '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/x.dtd">' + svg(""),
    ],
)  # fmt: skip
def test_still_pictures_pass(content: str) -> None:
    assert active(content) is None


ENTITY = '<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "lol">]>'


@pytest.mark.parametrize(
    ("says", "content"),
    [
        ("standing picture", svg("<script>1</script>")),
        ("standing picture", svg("<SCRIPT/>")),
        ("standing picture", svg('<s:script xmlns:s="http://www.w3.org/2000/svg"/>')),
        ("standing picture", "<svg><script>1</script></svg>"),
        ("standing picture", svg("<foreignObject/>")),
        ("standing picture", svg('<animate attributeName="href" values="#a"/>')),
        ("standing picture", svg('<set attributeName="onload" to="1"/>')),
        ("another language", svg('<h:iframe xmlns:h="http://www.w3.org/1999/xhtml"/>')),
        ("another language", svg('<m:math xmlns:m="http://www.w3.org/1998/Math/MathML"/>')),
        ("event attribute", svg("", 'onload="1"')),
        ("event attribute", svg('<g ONCLICK="1"/>')),
        ("outside of the file", svg('<a xlink:href="https://example.org/"/>')),
        ("outside of the file", svg('<a href="javascript:alert(1)"/>')),
        ("outside of the file", svg('<image href="//example.org/x.png"/>')),
        ("outside of the file", svg('<image href="data:image/svg+xml;base64,AAAA"/>')),
        ("outside of the file", svg('<use href="other.svg#a"/>')),
        ("outside of the file", svg('<rect fill="url(https://example.org/#a)"/>')),
        ("outside of the file", svg('<rect style="fill: URL( &quot;//example.org/&quot; )"/>')),
        ("outside of the file", svg("<style>a { fill: url(&#x2f;x) }</style>")),
        ("outside of the file", svg('<rect fill="url(#a) url(//b)"/>')),
        ("address that is code", svg('<g data-x="java&#10;script:1"/>')),
        ("address that is code", svg("<style>a { b: JavaScript:1 }</style>")),
        ("loads or runs", svg("<style>@import '//example.org'</style>")),
        ("loads or runs", svg("<style>@im<!-- -->port '//example.org'</style>")),
        ("loads or runs", svg("<style><![CDATA[@import 'x']]></style>")),
        ("loads or runs", svg("<rect style=\"fill: image-set('x' 1x)\"/>")),
        ("element within a style", svg("<style>@im<g/>port 'x'</style>")),
        ("style with escapes", svg("<style>a { fill: u\\72l(x) }</style>")),
        ("attribute with escapes", svg('<rect fill="u\\72l(//x)"/>')),
        ("base for", svg("", 'xml:base="https://example.org/"')),
        ("CDATA", svg("<title><![CDATA[><script>1</script>]]></title>")),
        ("comment that ends early", svg("<!--><script>1</script>-->")),
        ("processing instruction", '<?xml version="1.0"?><?xml-stylesheet href="x"?>' + svg("")),
        ("DOCTYPE with declarations", ENTITY + svg("<text>&a;</text>")),
        ("DOCTYPE with declarations", "<!DOCTYPE svg []>" + svg("")),
        ("DOCTYPE from outside", '<!DOCTYPE svg SYSTEM "https://example.org/x.dtd">' + svg("")),
        (
            "DOCTYPE from outside",
            '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://example.org/x.dtd">' + svg(""),
        ),
        ("attribute that loads", svg("<rect mask=\"image-set('https://example.org/a' 1x)\"/>")),
        (
            "entity",
            '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/x">' + svg("<text>&a;</text>"),
        ),
        ("another encoding", '<?xml version="1.0" encoding="UTF-7"?>' + svg("+ADw-script+AD4-")),
        ("well-formed", svg("<g>")),
        ("well-formed", svg("") + "<script>1</script>"),
        ("nested deeper", svg("<g>" * 250 + "</g>" * 250)),
    ],
)
def test_an_active_picture_is_kept_out(says: str, content: str) -> None:
    assert says in str(active(content))


def test_the_finding_names_the_line_and_repeats_nothing() -> None:
    (finding,) = findings(svg('\n<g>\n<a href="https://CANARY.example"/></g>'))
    assert (finding.severity, finding.location.line) == ("block", 3)
    assert "CANARY" not in finding.message + finding.suggestion


@pytest.mark.slow
def test_a_picture_of_many_marks_is_read_within_seconds() -> None:
    marks = '<circle cx="1" cy="2" r="3" style="fill: url(#a)"/>'
    started = time.process_time()
    assert active(svg(marks * 250_000)) is None
    assert "elements" in str(active(svg("<g/>" * 500_001)))
    assert time.process_time() - started < 8


@given(st.text(alphabet="<>/!?[]-&;#:= \"'agsvonurl(\\", max_size=60))
def test_whatever_is_inside_there_is_an_answer(inside: str) -> None:
    assert all(finding.rule != "SDC099" for finding in findings(svg(inside)))
