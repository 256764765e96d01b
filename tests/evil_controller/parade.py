"""Every lie, told one after the other to real agents, and what came of each."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jobrunner.agent.status import status_lines
from tests.evil_controller.canaries import found_in
from tests.evil_controller.certificates import server_context
from tests.evil_controller.closed_list import unlisted
from tests.evil_controller.lie import About, Lie
from tests.evil_controller.lies_about_code import REPOSITORIES
from tests.evil_controller.lies_about_jobs import JOBS
from tests.evil_controller.lies_in_approvals import APPROVALS
from tests.evil_controller.lies_in_messages import MESSAGES
from tests.evil_controller.lies_in_offers import OFFERS
from tests.evil_controller.lies_on_the_line import LINES, OVER_TLS
from tests.evil_controller.server import EvilController
from tests.evil_controller.setting import Setting, open_setting

FAMILIES: Final[dict[str, tuple[Lie, ...]]] = {
    "offers": OFFERS,
    "jobs": JOBS,
    "code": REPOSITORIES,
    "approvals": APPROVALS,
    "messages": MESSAGES,
    "lines": LINES,
    "over tls": OVER_TLS,
}
TABLE: Final[tuple[Lie, ...]] = tuple(lie for lies in FAMILIES.values() for lie in lies)
_PATIENCE_S: Final = 5.0
_EVERYTHING: Final = 100_000
_NEWEST: Final = 4


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of a lie.

    `wire` is the reason that the controller heard, "" where it heard none. `journal` is reason and detail of
    the incident, `line` its sentence or else that of the log, `status` whether the site's own status shows
    just that. `claimed`: whether the agent asked for a job. `containers`: how many were made or started.
    """

    about: About
    wire: str
    journal: tuple[str, str]
    line: str
    status: bool
    claimed: bool
    containers: int


class Parade:
    """Tells lies when they are asked for, each at most once."""

    def __init__(self, plain: Setting, open_tls: Callable[[], Setting]) -> None:
        self._plain = plain
        self._open_tls = open_tls
        self._tls: Setting | None = None
        self._seen: dict[str, Seen] = {}

    @property
    def plain(self) -> Setting:
        """The setting in which http to loopback is allowed."""
        return self._plain

    @property
    def settings(self) -> list[Setting]:
        """All that were opened so far."""
        return [self._plain] if self._tls is None else [self._plain, self._tls]

    def seen(self, lie: Lie) -> Seen:
        """Tell it, unless it was told already, and say what came of it."""
        if lie.id not in self._seen:
            self._seen[lie.id] = _tell(lie, self._setting(lie))
        return self._seen[lie.id]

    def leaked(self) -> list[str]:
        """The places of a site whose canaries stand in what its controller received."""
        return [
            place
            for setting in self.settings
            for place in found_in(setting.controller.received, setting.canaries)
        ]

    def unlisted(self) -> list[str]:
        """What the controllers received beside the closed lists of wall W1 of threats.md."""
        requests = (one for setting in self.settings for one in setting.controller.requests())
        return [fault for request in requests if (fault := unlisted(request))]

    def _setting(self, lie: Lie) -> Setting:
        if lie not in OVER_TLS:
            return self._plain
        if self._tls is None:
            self._tls = self._open_tls()
        return self._tls


@contextmanager
def open_parade(folder: Path) -> Iterator[Parade]:
    """Two sites in `folder`, the second one as soon as a lie needs https."""
    with ExitStack() as stack:
        controller = stack.enter_context(EvilController(hold_s=0.02))
        # Sixteen small places, since what is refused only later keeps its place for a while.
        limits = {
            "limits__slots": 16,
            "limits__cores": 0.05,
            "limits__memory_mib": 16,
            "limits__disk_mib": 16,
        }
        plain = stack.enter_context(open_setting(folder / "plain", controller, **limits))

        def open_tls() -> Setting:
            own = server_context(folder / "ca")
            secure = stack.enter_context(EvilController(tls=own, hold_s=0.05))
            ca_file = str(folder / "ca" / "ca.pem")
            return stack.enter_context(
                open_setting(folder / "tls", secure, controller__ca_file=ca_file, **limits)
            )

        plain.polled_again()
        yield Parade(plain, open_tls)


def _tell(lie: Lie, setting: Setting) -> Seen:
    incidents, lines = len(_incidents(setting)), len(setting.agent.log)
    claims = len(setting.controller.requests("claim"))
    setting.lies_begin()
    about = lie.play(setting)
    wire, journal, line, status = "", ("", ""), "", False
    if lie.heard == "wire":
        wire = _told_reason(setting, about)
    if lie.heard != "log":
        journal, line = _new_incident(setting, about, lie.line, incidents)
        status = _status_shows(setting, about, journal, line)
    elif lie.line:
        line = _new_line(setting, lie.line, lines)
    if lie in OVER_TLS:
        setting.controller.speak_as_before()
    setting.polled_again()
    claimed = len(setting.controller.requests("claim")) > claims
    return Seen(about, wire, journal, line, status, claimed, setting.containers)


def _incidents(setting: Setting) -> list[tuple[int, str | None, int | None, str, str, str]]:
    return setting.agent.journal.incidents(_EVERYTHING)[::-1]


def _told_reason(setting: Setting, about: About) -> str:
    """The last reason of the attempt that the controller heard."""
    if about is None:
        raise ValueError("only a job is heard of on the wire")
    job, number = about
    setting.outcome(job, number)

    def ends() -> list[str]:
        return [
            event["reason"]
            for event in setting.told(job)
            if event["attempt"] == number and event["stage"] == "ended"
        ]

    setting.agent.wait_until(ends)
    return ends()[-1]


def _wait(look: Callable[[], str | None]) -> str:
    deadline = time.monotonic() + _PATIENCE_S
    while (found := look()) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return found or ""


def _new_incident(setting: Setting, about: About, pattern: str, known: int) -> tuple[tuple[str, str], str]:
    """Reason, detail and sentence of the new incident about this job, or about none, which fits."""
    wanted = (None, None) if about is None else about
    found: list[tuple[str, str, str]] = []

    def look() -> str | None:
        about_it = [row[3:] for row in _incidents(setting)[known:] if row[1:3] == wanted]
        found[:] = [row for row in about_it if re.search(pattern, row[2])]
        return "found" if found else None

    _wait(look)
    if len(found) != 1:
        return ("", ""), f"{len(found)} such incidents"
    reason, detail, message = found[0]
    return (reason, detail), message


def _new_line(setting: Setting, pattern: str, known: int) -> str:
    """The new line of the log that the pattern fits, as call and problem or as its event."""

    def look() -> str | None:
        for entry in setting.agent.log[known:]:
            text = f"{entry.get('call', '')} {entry['event']} {entry.get('problem', '')}"
            if re.search(pattern, text):
                return text.strip()
        return None

    return _wait(look)


def _status_shows(setting: Setting, about: About, journal: tuple[str, str], sentence: str) -> bool:
    """Whether `jobrunner agent status` has a line of just this job, reason, detail and sentence."""
    name = "" if about is None else f"  {about[0]}-{about[1]}"
    wanted = f"{name}  {journal[0]} {journal[1]}: {sentence}"
    return any(line.endswith(wanted) for line in status_lines(setting.agent.policy, _NEWEST))
