"""How states, times and ids read on a page."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from django import template
from django.urls import reverse
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from jobrunner.controller.feed.listing import Outcome, Part

_CODE: Final = re.compile(r"`([^`]*)`")
_NONE: Final = "\N{EN DASH}"

register = template.Library()

# A word, a shape and a colour each: none of them is needed to understand the others. 16 by 16 units; what has
# the class `cut` takes the colour of the ground.
_RING: Final = '<circle cx="8" cy="8" r="6.2"/>'
SHAPES: Final = {
    "pending": f'{_RING}<path d="M8 4.6V8l2.4 1.6"/>',
    "running": f'{_RING}<path class="full" d="M6.4 5.1v5.8L11 8z"/>',
    "succeeded": (
        '<circle class="full" cx="8" cy="8" r="7.2"/><path class="cut" d="m4.8 8.3 2.2 2.2 4.3-4.7"/>'
    ),
    "failed": ('<path class="full" d="M8 .2 15.8 8 8 15.8.2 8z"/><path class="cut" d="m6 6 4 4m0-4-4 4"/>'),
    "refused": f'{_RING}<path d="m3.8 3.8 8.4 8.4"/>',
    "cancelled": (
        '<rect class="full" x="1.4" y="1.4" width="13.2" height="13.2" rx="2"/>'
        '<path class="cut" d="M4.6 8h6.8"/>'
    ),
}
QUIET_SHAPES: Final = {
    "did_not_run": f'{_RING}<path d="M5 8h6"/>',
    "reused": f'{_RING}<path d="m5 8.2 2 2 4-4.3"/>',
}
"""What is neither good nor bad news. The full tick is for what has succeeded altogether."""
WORDS: Final = {"pending": "waiting", "did_not_run": "did not run"}
"""States and outcomes that people call by another word than programs do."""


@register.filter
def word(state: str) -> str:
    """The word for a state."""
    return WORDS.get(state, state)


@register.filter
def told(part: Part) -> str:
    """How many jobs had which outcome, in words."""
    if part.outcome is Outcome.REUSED:
        return f"{part.count} reused from {'an earlier run' if part.count == 1 else 'earlier runs'}"
    if part.outcome is Outcome.SUCCEEDED:
        return f"{part.count} ran and succeeded"
    return f"{part.count} {word(part.outcome)}"


@register.simple_tag
def sign(state: str) -> SafeString:
    """The shape of a state or outcome; its word stands beside it."""
    return format_html(
        '<svg class="sign state-{}" viewBox="0 0 16 16" aria-hidden="true" focusable="false">{}</svg>',
        state,
        shape(state),
    )


@register.filter
def shape(state: str) -> SafeString:
    """What to draw for a state or outcome, for use within a drawing."""
    return mark_safe(SHAPES.get(state) or QUIET_SHAPES[state])  # noqa: S308 - constants of this module


@register.simple_tag
def state(value: str) -> SafeString:
    """A state as shape and word, coloured."""
    return format_html('<span class="state state-{}">{}{}</span>', value, sign(value), word(value))


@register.simple_tag
def because(reason: str) -> SafeString:
    """A reason, leading to what it means."""
    return format_html('<a class="reason" href="{}#{}">{}</a>', reverse("about"), reason, words(reason))


@register.filter
def iso(value: datetime) -> str:
    """A time as programs read it."""
    return f"{value:%Y-%m-%dT%H:%M:%SZ}"


@register.filter
def clock(value: datetime) -> str:
    """A time to the second, as people read it on every page."""
    return f"{value:%d %b %Y, %H:%M:%S}".lstrip("0")


@register.simple_tag
def moment(value: datetime | None, *, seconds: bool = False) -> SafeString | str:
    """A time that people and programs can read; a dash where there is none."""
    if value is None:
        return _NONE
    shown = clock(value) if seconds else f"{value:%d %b %Y, %H:%M}".lstrip("0")
    return format_html('<time datetime="{}">{}</time>', iso(value), shown)


@register.simple_tag
def day(value: datetime) -> SafeString:
    """The day of a time."""
    shown = f"{value:%d %b %Y}".lstrip("0")
    return format_html('<time datetime="{}">{}</time>', f"{value:%Y-%m-%d}", shown)


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


@register.simple_tag
def elapsed(since: datetime, now: datetime) -> SafeString:
    """How long something has been going on: whole minutes, so that a page is calm and stays true a while."""
    minutes = max(0, int((now - since).total_seconds())) // 60
    hours, rest = divmod(minutes, 60)
    shown = f"{hours} h {rest} min" if hours else f"{minutes} min" if minutes else "less than a minute"
    return format_html('<span class="elapsed">{}</span>', shown)


@register.filter
def in_short(actions: Sequence[str]) -> str:
    """The first of these actions, and how many more there are, as plain text."""
    more = len(actions) - 1
    return ", ".join(actions[:1]) + (f" and {more} more" if more > 0 else "")


@register.simple_tag
def names(actions: Sequence[str], most: int) -> SafeString:
    """The first `most` of these actions, and how many more there are."""
    shown = format_html_join(", ", "<code>{}</code>", ((action,) for action in actions[:most]))
    more = len(actions) - most
    return format_html("{} and {} more", shown, more) if more > 0 else shown


@register.filter
def short(commit: str) -> str:
    """The first digits of a commit."""
    return commit[:10]
