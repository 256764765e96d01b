"""P25: a site hook that does anything but end with 0 refuses the job, and nothing is fetched for it."""

import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from jobrunner.agent import approving
from jobrunner.agent.attempt_rows import Attempt, Step
from jobrunner.agent.outcome import Ended, end
from jobrunner.agent.policy import PolicyProblem, load_site
from jobrunner.agent.procedure import Procedure
from jobrunner.agent.service import Agent
from jobrunner.agent.site_hook import MOST_SAID, SiteHook
from jobrunner.study import Stop, Stopped
from jobrunner.sync.approvals import Payload
from jobrunner.sync.identity import workspace_name
from jobrunner.sync.vocabulary import Reason
from tests.agent.approvers import payload
from tests.agent.policies import write_site
from tests.agent.test_procedure import REPO, Bench
from tests.evil_controller.idle_engine import IdleEngine

pytestmark = [pytest.mark.unit, pytest.mark.slow]

DIGEST = "d" * 64
DEADLINE_S = 0.6
SIGNED = Payload.model_validate_json(
    json.dumps(payload(approval_id="heart-2026", serial=7, database=True, datasets=["cohort"]))
)


class NoGit:
    """Stands where commits are fetched, and counts how often that was asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def pin(self, _offer: object, _stop: object) -> None:
        self.asked += 1
        raise end(Reason.COMMIT_NOT_FOUND, "branch", "It went on to the fetch.")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    structlog.configure(processors=[structlog.processors.JSONRenderer(default=str)])
    made = Bench(tmp_path, monkeypatch, git__allowed=[REPO.rpartition("/")[0]])
    monkeypatch.setattr(approving, "check_approval", lambda *_a, **_k: (SIGNED, DIGEST))
    yield made
    made.launcher.stop()
    structlog.reset_defaults()


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        place = tmp_path / "site-hook"
        place.write_text(text)
        place.chmod(0o755)
        return place

    return write


@pytest.fixture
def attempt(bench: Bench) -> Attempt:
    return bench.attempt(Step.VERIFY)


def ask(program: Path, attempt: Attempt, stop: Stop | None = None, deadline_s: float = DEADLINE_S) -> None:
    SiteHook(program, deadline_s, "site-one").ask(attempt, SIGNED, DIGEST, stop or Stop())


def refusal(program: Path, attempt: Attempt, deadline_s: float = DEADLINE_S) -> str:
    """The sentence of the refusal that must come."""
    with pytest.raises(Ended) as refused:
        ask(program, attempt, deadline_s=deadline_s)
    outcome = refused.value.outcome
    assert (outcome.reason, outcome.detail) == (Reason.SITE_POLICY, "hook")
    return outcome.message


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


REFUSALS = {
    "veto": ("#!/bin/sh\necho this project; echo is on hold >&2; exit 3\n", "said: this project is on hold"),
    "crash": ("#!/bin/sh\nkill -SEGV $$\n", "signal 11"),
    "killed": ("#!/bin/sh\nkill -KILL $$\n", "signal 9"),
    "hang": ("#!/bin/sh\nexec sleep 60\n", "gave no answer in 0.6 s"),
    "ignores_term": ("#!/bin/sh\ntrap '' TERM INT HUP\nwhile :; do sleep 60; done\n", "gave no answer"),
    "hangs_beside_a_child": ("#!/bin/sh\nsleep 60 &\nexec sleep 60\n", "gave no answer"),
    "closed_output_and_hangs": ("#!/bin/sh\nexec >&- 2>&-\nexec sleep 60\n", "gave no answer"),
    "a_gigabyte": ("#!/bin/sh\nexec head -c 1000000000 /dev/zero\n", f"printed more than {MOST_SAID} bytes"),
    "one_too_much": (f"#!/bin/sh\nhead -c {MOST_SAID + 1} /dev/zero | tr '\\0' x\n", "printed more"),
    "binary": ("#!/bin/sh\nprintf '\\377\\376'\n", "not UTF-8"),
    "escapes": ("#!/bin/sh\nprintf '\\033[2Jall is well'\n", "do not show"),
    "stops_reading_and_fails": ("#!/bin/sh\nexec <&-\nexit 1\n", "exit status 1"),
    "no_interpreter": ("#!/no/such/program\n", "cannot be run"),
    "no_program": ("exit 0\n", "cannot be run"),
}  # fmt: skip


@pytest.mark.parametrize("bad", REFUSALS)
def test_P25_whatever_it_does_but_end_well_is_a_refusal(
    program: Callable[[str], Path], attempt: Attempt, bad: str
) -> None:
    text, sentence = REFUSALS[bad]
    began = time.monotonic()
    said = refusal(program(text), attempt)
    assert time.monotonic() - began < DEADLINE_S + 2
    import re

    assert re.search(sentence, said), said


def test_P25_twin_exit_0_lets_the_job_go_on(
    bench: Bench, attempt: Attempt, program: Callable[[str], Path], tmp_path: Path
) -> None:
    """And what the hook is told: a closed list, through a file, with an environment and folder of its own."""
    seen = tmp_path / "seen"
    seen.mkdir()
    hook = program(
        f'#!/bin/sh\ncd {seen} && cat >question && echo "$# $0" >words && env >environment && pwd -P\n'
    )
    git = NoGit()
    os.environ["AGENT_SECRET"] = "s3cret"
    tools = replace(bench.tools, hook=SiteHook(hook, 10, "site-one"), pins=git)  # type: ignore[arg-type]
    try:
        Procedure(tools).run(*attempt.key)
    finally:
        del os.environ["AGENT_SECRET"]
    after = bench.read(attempt.job_id)
    assert after.outcome is not None
    assert (after.outcome.reason, git.asked) == (Reason.COMMIT_NOT_FOUND, 1)
    assert bench.journal.highest_serial(SIGNED.project) == 7
    offer = attempt.offer
    assert json.loads((seen / "question").read_text()) == {
        "format": 1, "backend": "site-one", "job_id": attempt.job_id, "attempt": 1,
        "request_id": offer.request_id, "project": "study", "repo": offer.repo, "branch": "main",
        "commit": "a" * 40, "action": "act",
        "workspace": workspace_name("study", offer.repo, "main"),
        "approval": {
            "approval_id": "heart-2026", "serial": 7, "digest": DIGEST, "database": True,
            "datasets": ["cohort"], "not_after": SIGNED.not_after,
        },
    }  # fmt: skip
    assert (seen / "words").read_text() == f"0 {hook}\n"
    names = {line.partition("=")[0] for line in (seen / "environment").read_text().splitlines()}
    assert names <= {"PATH", "HOME", "LANG", "TZ", "PWD", "OLDPWD", "SHLVL", "_"}


@pytest.mark.parametrize(
    "good",
    [
        "#!/bin/sh\nexit 0\n",
        "#!/bin/sh\nexec <&- >&- 2>&-\nexit 0\n",
        f"#!/bin/sh\nhead -c {MOST_SAID} /dev/zero | tr '\\0' x\n",
    ],
    ids=["reads_nothing", "closes_everything", "says_all_that_it_may"],
)
def test_P25_twin_a_hook_may_be_silent_deaf_or_wordy(
    program: Callable[[str], Path], attempt: Attempt, good: str
) -> None:
    ask(program(good), attempt)


def test_P25_a_refused_job_fetches_nothing_and_says_site_policy_alone(
    bench: Bench, attempt: Attempt, program: Callable[[str], Path]
) -> None:
    hook = SiteHook(program("#!/bin/sh\necho canary-words; exit 1\n"), 10, "site-one")
    git = NoGit()
    Procedure(replace(bench.tools, hook=hook, pins=git)).run(*attempt.key)  # type: ignore[arg-type]
    after = bench.read(attempt.job_id)
    assert after.outcome is not None
    assert (after.outcome.reason, after.outcome.detail) == (Reason.SITE_POLICY, "hook")
    assert git.asked == 0
    assert bench.journal.highest_serial(SIGNED.project) == 0
    (told,) = bench.told()
    assert told.reason is Reason.SITE_POLICY
    assert "canary-words" not in told.model_dump_json()
    ((_second, job, _number, reason, detail, message),) = bench.journal.incidents(5)
    assert (job, reason, detail) == (attempt.job_id, "site_policy", "hook")
    assert "canary-words" in message


@pytest.mark.parametrize("ending", ["exit 0", "exec sleep 60"], ids=["it_ends", "it_hangs"])
def test_P25_its_children_end_with_it(
    program: Callable[[str], Path], attempt: Attempt, tmp_path: Path, ending: str
) -> None:
    """One that keeps the output open, too: it is neither waited for nor left behind."""
    pid_file = tmp_path / "pid"
    hook = program(
        f"#!/bin/sh\n(trap '' TERM HUP; echo $$ >/dev/null; exec sleep 60) &\necho $! >{pid_file}\n{ending}\n"
    )
    began = time.monotonic()
    if ending == "exit 0":
        ask(hook, attempt)
    else:
        assert "gave no answer" in refusal(hook, attempt)
    assert time.monotonic() - began < DEADLINE_S + 2
    child = int(pid_file.read_text())
    deadline = time.monotonic() + 5
    while not is_gone(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert is_gone(child)


def test_P25_a_cancel_ends_it_at_once(program: Callable[[str], Path], attempt: Attempt) -> None:
    stop = Stop()
    timer = threading.Timer(0.2, stop.ask)
    timer.start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        ask(program("#!/bin/sh\nexec sleep 60\n"), attempt, stop, deadline_s=30)
    assert time.monotonic() - began < 5
    timer.join()


def spoil_by_mode(hook: Path) -> None:
    hook.chmod(0o777)


def spoil_by_bytes(hook: Path) -> None:
    hook.write_text("#!/bin/sh\nexit 0 # another\n")


def spoil_by_name(hook: Path) -> None:
    other = hook.with_name("other")
    other.write_text(hook.read_text())
    other.chmod(0o755)
    other.rename(hook)


def spoil_by_link(hook: Path) -> None:
    hook.rename(hook.with_name("real"))
    hook.symlink_to("real")


def spoil_by_folder(hook: Path) -> None:
    hook.parent.chmod(0o777)


@pytest.mark.parametrize(
    "spoil", [spoil_by_mode, spoil_by_bytes, spoil_by_name, spoil_by_link, spoil_by_folder, Path.unlink]
)
def test_P25_another_or_a_writable_file_than_at_the_start_is_not_run(
    program: Callable[[str], Path], attempt: Attempt, tmp_path: Path, spoil: Callable[[Path], Any]
) -> None:
    ran = tmp_path / "ran"
    place = program(f"#!/bin/sh\ntouch {ran}\n")
    hook = SiteHook(place, DEADLINE_S, "site-one")
    mode = place.parent.stat().st_mode
    spoil(place)
    try:
        with pytest.raises(Ended) as refused:
            hook.ask(attempt, SIGNED, DIGEST, Stop())
    finally:
        place.parent.chmod(stat.S_IMODE(mode))
    assert (refused.value.outcome.reason, refused.value.outcome.detail) == (Reason.SITE_POLICY, "hook")
    assert not ran.exists()


def nothing(_hook: Path) -> None:
    return


def as_folder(hook: Path) -> None:
    hook.unlink()
    hook.mkdir()


def of_somebody(hook: Path) -> None:
    os.chown(hook, 200_001, 200_001)


STARTS: list[tuple[Callable[[Path], Any], str]] = [
    (Path.unlink, "cannot be read"),
    (as_folder, "is not a file"),
    (lambda hook: hook.chmod(0o775), "others can change"),
    (lambda hook: hook.chmod(0o757), "others can change"),
    (lambda hook: hook.chmod(0o644), "is not executable"),
    (spoil_by_folder, "and so replace the program"),
    (lambda hook: hook.parent.chmod(0o775), "and so replace the program"),
    pytest.param(
        of_somebody,
        "belongs to another user",
        marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away"),
    ),
    pytest.param(
        lambda hook: of_somebody(hook.parent),
        "belongs to another user, who can replace",
        marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "sentence"), STARTS)
def test_P25_a_hook_that_others_could_decide_stops_the_start(
    tmp_path: Path, spoil: Callable[[Path], Any], sentence: str
) -> None:
    place = write_site(tmp_path / "site", hook__program="hooks/ask")
    hook = tmp_path / "site" / "hooks" / "ask"
    hook.parent.mkdir(mode=0o755)
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o755)
    spoil(hook)
    with pytest.raises(PolicyProblem, match=rf"hook\.program: .*{sentence}"):
        load_site(place)


def test_P25_twin_a_hook_of_roots_starts(tmp_path: Path) -> None:
    """Also through a link: what is run is the file that it named at the start."""
    place = write_site(tmp_path / "site", hook__program="link", hook__deadline_s=3)
    hook = tmp_path / "site" / "ask"
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o755)
    hook.with_name("link").symlink_to("ask")
    site = load_site(place)
    assert site.hook == hook
    assert Agent(site, IdleEngine())._procedure._tools.hook is not None
