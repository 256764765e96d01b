"""One lie of a controller: how it is told, and what must come of it inside the site and outside."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tests.evil_controller import replies
from tests.evil_controller.honest import poll_answer
from tests.evil_controller.server import Reply
from tests.evil_controller.setting import Setting

About = tuple[str, int] | None
"""Job id and attempt that a lie is about; None where it is about no job."""
Play = Callable[[Setting], About]


@dataclass(frozen=True, slots=True)
class Lie:
    """`line` is a pattern that the site's own line holds. `heard` is where the lie comes to be known:

    - wire: the job is claimed and refused. The controller hears `reason`; journal, log and status have more.
    - journal: nothing leaves. Journal and status have an incident with reason and detail.
    - log: what came was no answer at all. The log says so, and the agent asks again. Without `line` nothing
      of it is seen at all, since nothing is taken of it.
    """

    id: str
    tells: str
    play: Play
    reason: str
    detail: str
    line: str
    heard: Literal["wire", "journal", "log"]


# --- ways to tell one ---


def offered(**changes: Any) -> Play:
    """An offer that differs from a good one; its approval is good and covers what it says."""

    def play(setting: Setting) -> About:
        return (setting.offer(setting.covered(**changes)), 1)

    return play


def approved(*, signer: str = "approver", **changes: Any) -> Play:
    """A good offer with an approval that differs from a good one."""

    def play(setting: Setting) -> About:
        fields = setting.fields(approval=None)
        approval = setting.approval(fields["project"], signer=getattr(setting, signer), **changes)
        return (setting.offer(fields | {"approval": approval}), 1)

    return play


def said(make: Callable[[Setting], Reply]) -> Play:
    """An answer to a poll."""

    def play(setting: Setting) -> About:
        setting.controller.play("poll", make(setting))
        return None

    return play


def offered_so(change: Callable[[dict[str, Any]], Any]) -> Play:
    """An answer to a poll whose one offer was good before it was changed."""
    return said(lambda setting: replies.answer(poll_answer(change(setting.fields()))))


def granted(**changes: Any) -> Play:
    """A good offer is claimed, and the lease differs from a good one."""

    def play(setting: Setting) -> About:
        lease = {"attempt": 1, "seconds": 60, "token": "t" * 40} | changes
        setting.controller.play("claim", replies.answer({"lease": lease}))
        return (setting.offer(setting.fields()), 1)

    return play
