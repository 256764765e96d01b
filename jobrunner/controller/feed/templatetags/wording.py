"""How states, times and ids read on a page."""

import re
from datetime import datetime
from typing import Final

from django import template
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

_CODE: Final = re.compile(r"`([^`]*)`")
_NONE: Final = "\N{EN DASH}"

register = template.Library()

# A word, a sign and a colour each: none of them is needed to understand the others.
SIGNS: Final = {
    "pending": "\N{WHITE CIRCLE}",
    "running": "\N{CIRCLE WITH RIGHT HALF BLACK}",
    "succeeded": "\N{CHECK MARK}",
    "failed": "\N{MULTIPLICATION X}",
    "refused": "\N{CIRCLED DIVISION SLASH}",
    "cancelled": "\N{BLACK SQUARE}",
}


@register.simple_tag
def state(value: str) -> SafeString:
    """A state as sign and word, coloured."""
    return format_html(
        '<span class="state state-{}"><span class="sign" aria-hidden="true">{}</span>{}</span>',
        value,
        SIGNS[value],
        value,
    )


@register.simple_tag
def moment(value: datetime | None) -> SafeString | str:
    """A time that people and programs can read; a dash where there is none."""
    if value is None:
        return _NONE
    return format_html(
        '<time datetime="{}">{}</time>', f"{value:%Y-%m-%dT%H:%M:%SZ}", f"{value:%d %b %Y, %H:%M:%S}"
    )


@register.filter
def words(reason: str) -> str:
    """`out_of_memory` as "out of memory"."""
    return reason.replace("_", " ")


@register.filter
def sentence(text: str) -> SafeString:
    """A plain sentence; what stands between backticks is shown as code."""
    return mark_safe(_CODE.sub(r"<code>\1</code>", escape(text)))  # noqa: S308 - escaped before


@register.filter
def duration(seconds: int | None) -> str:
    """Seconds as people say them; a dash where there are none."""
    if seconds is None:
        return _NONE
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


@register.filter
def short(commit: str) -> str:
    """The first digits of a commit."""
    return commit[:10]
