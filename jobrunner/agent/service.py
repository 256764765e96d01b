"""The agent as a process: start, resume, drain, leave."""

import fcntl
import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import structlog

from jobrunner import __version__
from jobrunner.agent import clock
from jobrunner.agent.agent_key import agent_key
from jobrunner.agent.approvals import check_signers_file
from jobrunner.agent.approving import Approving
from jobrunner.agent.attempt_rows import Attempt, Step
from jobrunner.agent.attempt_values import is_database, staging_name
from jobrunner.agent.capacity import places, this_machine
from jobrunner.agent.claiming import accept, work_loop
from jobrunner.agent.control import ControlSocket, Word
from jobrunner.agent.delivering import deliver_loop
from jobrunner.agent.dispatch import Desk
from jobrunner.agent.ending import Ending
from jobrunner.agent.fitness import Fitness
from jobrunner.agent.folder_policy import check_folders
from jobrunner.agent.journal import Journal
from jobrunner.agent.loops import Shared, heartbeat_loop, keep_running, poll_loop
from jobrunner.agent.overview import HALTED, overview_value, running_value
from jobrunner.agent.pins import Pins
from jobrunner.agent.policy import PolicyProblem, Site, load_site
from jobrunner.agent.private_folder import make_private
from jobrunner.agent.procedure import Procedure, Tools
from jobrunner.agent.report import Reporter
from jobrunner.agent.results import Results
from jobrunner.agent.reusable import FindSource, ReusableActions, none_allowed
from jobrunner.agent.site_hook import SiteHook
from jobrunner.agent.spread_folder import spread
from jobrunner.agent.uid_pool import THIS_MACHINE, Accounts, check_ids
from jobrunner.executors.base import EngineError, Executor, SandboxRefused
from jobrunner.executors.docker import DockerExecutor
from jobrunner.privacy.areas import Areas
from jobrunner.privacy.confined_process import Launcher
from jobrunner.privacy.durable import sync_file
from jobrunner.study import GitRules, GitUnusable, Mirrors
from jobrunner.sync import outbox
from jobrunner.sync.client import AgentClient
from jobrunner.sync.messages import PROTOCOL, Hello
from jobrunner.sync.vocabulary import Reason, Runtime, Stage

log = structlog.get_logger()

_BEFORE_DATABASE_PLACE: Final = frozenset({Step.VERIFY, Step.FETCH, Step.STAGE})


class AlreadyRunning(Exception):
    """Another agent works on the same journal."""


class Agent:
    """One agent of one site. `run` returns when it was told to stop and nothing is left to do."""

    def __init__(self, site: Site, executor: Executor) -> None:
        self._site = site
        self._executor = executor
        self._journal = Journal(site.state / "agent.db")
        self._desk = Desk(places(site.policy, this_machine(site.cache)), site.database_slots)
        self._workers: set[tuple[str, int]] = set()
        self._workers_changed = threading.Condition()
        self._launcher = Launcher()
        self._started = clock.now()
        reporter = Reporter(agent_key(site), site.policy.time_grain_s)
        endpoint = site.endpoint()
        git_rules = site.git_rules()
        approving = Approving(site, self._journal)
        self._shared = Shared(
            journal=self._journal,
            desk=self._desk,
            hello=Hello(
                agent_id=site.policy.backend,
                protocol=PROTOCOL,
                version=__version__,
                runtimes=(Runtime(site.policy.sandbox.runtime),),
                policy_digest=site.digest,
            ),
            new_client=lambda: AgentClient(endpoint),
            foresee=approving.foresee,
            start=self._start_worker,
            stop_attempt=self._stop_attempt,
            first_event=lambda job, number: reporter.stage(job, number, Stage.PREPARING),
        )
        self._fitness = Fitness(site, executor, self._shared)
        self._ending = Ending(self._shared, self._take_up)
        self._procedure = Procedure(
            Tools(
                site=site,
                journal=self._journal,
                desk=self._desk,
                reporter=reporter,
                approving=approving,
                hook=_hook(site),
                executor=executor,
                pins=Pins(_mirrors(site, git_rules)),
                find_source=_find_source(site, self._journal),
                git_rules=git_rules,
                limits=site.limits(),
                results=Results(Areas(site.high, site.medium), executor, self._launcher, site.policy.backend),
                told=lambda urgent: self._shared.told(urgent=urgent),
                halt=self._fitness.distrust_engine,
            )
        )

    def warn(self, event: str, sentence: str) -> None:
        """Say what is not as it should be, in the log and among the incidents that status shows."""
        log.warning(event, problem=sentence)
        self._journal.note(Reason.SITE_POLICY.value, "sandbox", sentence)

    def run(self) -> int:
        """Work until told to drain or to abort (`ending`). Returns the exit status."""
        self._ending.hear_signals()
        control = ControlSocket(self._site.state, self._answers())
        self._launcher.start()
        unfinished = self._journal.open_attempts()
        self._sweep(unfinished)
        self._fitness.begin()
        # Slots of attempts that go on are taken before the first offer can be.
        self._resume(unfinished)
        for loop in (poll_loop, heartbeat_loop, deliver_loop, work_loop):
            threading.Thread(
                target=keep_running, args=(loop, self._shared), name=loop.__name__, daemon=True
            ).start()
        self._make_ready()
        log.info("ready", backend=self._site.policy.backend, mode=self._site.policy.mode, version=__version__)
        self._ending.wait_for_claims()
        self._wait_for_workers()
        self._ending.say_last_words()
        self._shared.finished.set()
        self._fitness.end()
        self._launcher.stop()
        control.close()
        log.info("stopped")
        return 0

    # --- work ---

    def _start_worker(self, attempt: Attempt) -> None:
        """Work on an attempt in a thread of its own, unless one does already.

        When no thread can be had, the attempt stays in the journal, and keeps its slot, for the next start.
        """
        if self._ending.aborting:
            # Its claim was on its way when all others were cancelled.
            self._journal.wish_cancel(attempt.job_id, attempt.number, Reason.BY_SITE)
        with self._workers_changed:
            if attempt.key in self._workers:
                return
            self._workers.add(attempt.key)
        name = f"{attempt.job_id}-{attempt.number}"
        try:
            threading.Thread(target=self._work, args=(attempt,), name=name, daemon=True).start()
        except Exception:
            self._forget_worker(attempt)
            log.exception("no_worker", job=attempt.job_id, attempt=attempt.number, then="Restart the agent.")

    def _forget_worker(self, attempt: Attempt) -> None:
        with self._workers_changed:
            self._workers.discard(attempt.key)
            self._workers_changed.notify_all()

    def _work(self, attempt: Attempt) -> None:
        try:
            self._procedure.run(*attempt.key)
        finally:
            self._forget_worker(attempt)
        self._desk.give_back(attempt.facts["slot"])

    def _make_ready(self) -> None:
        try:
            self._executor.make_ready(self._site.limits())
        except EngineError as problem:
            # Whatever is missing is made when a job needs it.
            log.warning("not_ready", problem=str(problem))

    def _stop_attempt(self, job_id: str, number: int) -> None:
        # Stopping may take the whole StopTimeout; the loop that heard of it goes on meanwhile.
        threading.Thread(target=self._procedure.stop, args=(job_id, number), daemon=True).start()

    def _resume(self, unfinished: list[Attempt]) -> None:
        running = [attempt for attempt in unfinished if attempt.step is not Step.ACCEPT]
        # All have what they held before the first one goes on, which may want a database place.
        for attempt in running:
            holds_database = is_database(attempt) and attempt.step not in _BEFORE_DATABASE_PLACE
            self._desk.occupy(attempt.facts["slot"], database=holds_database)
        for attempt in running:
            log.info("resumed", job=attempt.job_id, attempt=attempt.number, step=attempt.step)
            self._start_worker(attempt)
        intents = [attempt for attempt in unfinished if attempt.step is Step.ACCEPT]
        if intents:
            threading.Thread(target=self._claim_again, args=(intents,), daemon=True).start()

    def _claim_again(self, intents: list[Attempt]) -> None:
        """A claim was on its way when the agent was killed: the controller may think that the job is ours."""
        client = self._shared.new_client()
        for attempt in intents:
            slot = self._desk.take_free()
            if slot is None:
                self._journal.forget_claim(attempt.job_id, attempt.number)
                continue
            if not accept(self._shared, client, attempt, slot):
                self._desk.give_back(slot)
            self._desk.claimed()

    def _sweep(self, unfinished: list[Attempt]) -> None:
        keep = {f"jr-{attempt.job_id}-{attempt.number}" for attempt in unfinished}
        try:
            for name in self._executor.sweep(self._site.policy.backend, keep):
                log.info("swept", name=name)
        except EngineError as problem:
            # What is left over is in nobody's way but its own uid's; the next start tries again.
            log.error("sweep_failed", problem=str(problem))
            self._journal.note(Reason.INTERNAL_ERROR.value, "", f"Leftovers could not be removed: {problem}.")
        staged = {staging_name(attempt) for attempt in unfinished}
        for folder in (self._site.high / "staging").iterdir():
            if folder.name not in staged:
                shutil.rmtree(folder, ignore_errors=True)

    def _take_up(self, attempt: Attempt) -> None:
        """Work again on an attempt that was left when the agent began to drain."""
        self._desk.occupy(attempt.facts["slot"])
        self._start_worker(attempt)

    def _wait_for_workers(self) -> None:
        with self._workers_changed:
            self._workers_changed.wait_for(lambda: not self._workers)

    # --- the operator ---

    def _state(self) -> str:
        if self._ending.aborting:
            return "aborting"
        if self._ending.draining:
            return "draining"
        if self._desk.halts:
            return HALTED
        if self._desk.paused:
            return "paused by the controller"
        return "working"

    def _overview(self) -> dict[str, Any]:
        waiting = self._desk.waiting_for_database()
        with self._journal.transaction() as connection:
            events = outbox.waiting(connection)
        return overview_value(
            state=self._state(),
            policy=self._site.digest,
            version=__version__,
            started=self._started,
            answered=self._shared.contact.answered,
            problem=self._shared.contact.problem,
            halts=list(self._desk.halts.values()),
            tried=self._fitness.verdict,
            places=self._desk.places(),
            waiting_events=events,
            running=[
                running_value(attempt, waits_for_database=attempt.facts["slot"] in waiting)
                for attempt in self._journal.open_attempts()
                if attempt.step is not Step.ACCEPT
            ],
        )

    def _answers(self) -> dict[Word, Callable[[], dict[str, Any]]]:
        def after(act: Callable[[], None]) -> Callable[[], dict[str, Any]]:
            def answer() -> dict[str, Any]:
                act()
                return self._overview()

            return answer

        return {
            Word.STATUS: self._overview,
            Word.DRAIN: after(self._ending.drain),
            Word.ABORT: after(self._ending.abort),
            Word.CANARY: after(self._fitness.try_again),
            Word.TRUST_CLOCK: after(self._fitness.trust_clock),
        }


def _mirrors(site: Site, git_rules: GitRules) -> Mirrors:
    try:
        return Mirrors(site.cache / "mirrors", git_rules)
    except GitUnusable as error:
        raise PolicyProblem(f"git: {error}") from error


def _find_source(site: Site, journal: Journal) -> FindSource:
    rules = site.reusable_rules()
    if rules is None:
        return none_allowed
    (prefix,) = rules.allowed_prefixes
    return ReusableActions(journal, prefix, _mirrors(site, rules)).source


def _hook(site: Site) -> SiteHook | None:
    section = site.policy.hook
    if section is None or site.hook is None:
        return None
    try:
        return SiteHook(site.hook, section.deadline_s, site.policy.backend)
    except OSError as error:
        raise PolicyProblem(f"hook.program: {site.hook} cannot be read; name the program.") from error


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )


def serve(policy_file: Path, accounts: Accounts = THIS_MACHINE) -> int:
    """Check the site and run its agent. Raises PolicyProblem, JournalProblem or AlreadyRunning."""
    site = load_site(policy_file)
    check_signers_file(site)
    check_folders(site, policy_file)
    in_the_way = check_ids(site.policy.mode, accounts)
    os.umask(0o022)
    for setting in ("high", "state", "cache"):
        make_private(getattr(site, setting), f"folders.{setting}")
    for folder in ("staging", "runs"):
        make_private(site.high / folder, "folders.high")
    spread(site.high / "runs")
    # A run that is on the disk counts for nothing while the folder of all runs is not.
    sync_file(site.high.resolve())
    site.medium.mkdir(parents=True, exist_ok=True, mode=0o750)
    lock = os.open(site.state / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise AlreadyRunning(f"another agent runs on {site.state}; stop it first.") from error
    _log_to_stderr()
    log.info("starting", policy=site.digest[:12], boot=clock.boot_id())
    if not site.policy.images:
        log.warning(
            "no_images", message="The policy names no image under [images]: every job will be refused."
        )
    if not any(line.strip() and line[0] != "#" for line in site.allowed_signers.read_text().splitlines()):
        log.warning("no_signers", message="allowed_signers holds no key: every approval will be refused.")
    try:
        executor = DockerExecutor(site.cache / "work")
    except EngineError as problem:
        raise PolicyProblem(f"the container engine does not answer: {problem}. Start it first.") from problem
    except (SandboxRefused, ValueError) as problem:
        raise PolicyProblem(f"no job can be run safely here: {problem}") from problem
    agent = Agent(site, executor)
    for sentence in in_the_way:
        agent.warn("uid_pool", sentence)
    return agent.run()
