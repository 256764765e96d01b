"""What git says about a fetch, read from its trace, and what that means for the job.

Git's exit status is 128 for everything and its error output mixes its own words with the host's. Its trace
(`GIT_TRACE2_EVENT`, one JSON object a line) keeps the fixed text of each error, with `%s` for what varies,
apart from the rest, and says whether the other side spoke git's protocol at all.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from jobrunner.study.errors import (
    CommitNotFound,
    IntakeError,
    MirrorBroken,
    TagNotFound,
    TreeRefused,
    Unreachable,
)

_MAX_TRACE_BYTES = 2**20
_NO_SUCH_REF = "couldn't find remote ref %s"
_HTTP_STATUS = re.compile(r"The requested URL returned error: (\d{3})\Z")
_FAULT = re.compile(r"object [0-9a-f]{40}: ([A-Za-z0-9]+): ")


@dataclass(frozen=True, slots=True)
class FetchReport:
    """`spoke_git`: the host answered by git's protocol. `errors`: pairs of (fixed text, whole text)."""

    spoke_git: bool
    errors: tuple[tuple[str, str], ...]

    def text_of(self, fixed: str) -> str | None:
        """The whole text of the first error whose fixed text is `fixed`."""
        return next((text for form, text in self.errors if form == fixed), None)

    def mentions(self, words: str) -> bool:
        """Whether the whole text of some error holds `words`."""
        return any(words in text for _, text in self.errors)


def read_report(trace: Path) -> FetchReport:
    """Read the trace of one fetch. A missing file or an unreadable line counts as nothing said."""
    spoke_git, errors = False, []
    try:
        with trace.open("rb") as stream:
            content = stream.read(_MAX_TRACE_BYTES)
    except FileNotFoundError:
        content = b""
    for line in content.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if not isinstance(event, dict):
            continue
        if event.get("event") == "data" and event.get("key") == "negotiated-version":
            spoke_git = True
        elif event.get("event") == "error":
            errors.append((str(event.get("fmt")), str(event.get("msg"))))
    return FetchReport(spoke_git, tuple(errors))


def judge(status: int, report: FetchReport, host: str) -> IntakeError | None:
    """What a fetch that ended with `status` means; None when it succeeded.

    A page that is not git's looks to git like an old kind of host without any branch. Therefore nothing
    is final, and not even success counts, unless the host spoke git's protocol.
    """
    if not report.spoke_git:
        return Unreachable(_no_answer(report, host))
    if status == 0:
        return None
    if (missing := report.text_of(_NO_SUCH_REF)) is not None:
        if missing.startswith(_NO_SUCH_REF.replace("%s", "refs/tags/")):
            return TagNotFound(f"The git host {host} has no such tag.")
        return CommitNotFound("branch", f"The git host {host} has no such branch. It may have been deleted.")
    if report.mentions("File too large") or report.mentions("Out of memory"):
        return TreeRefused("too_large", "The repository is larger than the site's limits for one fetch.")
    if report.text_of("fsck error in packed object") is not None:
        return _fault(report)
    if any(form.startswith(("RPC failed", "unable to access")) for form, _ in report.errors):
        return Unreachable(f"The git host {host} stopped in the middle of its answer. It is tried again.")
    return MirrorBroken(f"git could not add what {host} sent to the mirror. The mirror is made again.")


def _no_answer(report: FetchReport, host: str) -> str:
    told = " ".join(text for _, text in report.errors)
    if status := _HTTP_STATUS.search(told):
        code = int(status[1])
        if 300 <= code < 400:
            return f"The git host {host} sends this address elsewhere ({code}). Name the new address."
        return f"The git host {host} answered with status {code}. It is tried again."
    if "not found" in told:
        return f"The git host {host} shows no such repository to us. Check its name and the site's token."
    if "terminal prompts disabled" in told or "Authentication failed" in told:
        return f"The git host {host} wants a token for this repository. Add one to the site's policy."
    if "certificate" in told:
        return f"The certificate of the git host {host} cannot be verified."
    return f"The git host {host} gave no answer that git understands. It is tried again."


def _fault(report: FetchReport) -> TreeRefused:
    faults = (_FAULT.match(text) for _, text in report.errors)
    fault = next((found[1] for found in faults if found), "unknown")
    message = f"git found the fault {fault} in an object of this repository's history."
    if fault.startswith("gitmodules") and fault != "gitmodulesSymlink":
        return TreeRefused("gitlink", message)
    if fault.lower().endswith("symlink") or fault.startswith("symlink"):
        return TreeRefused("symlink", message)
    return TreeRefused("name", message)
