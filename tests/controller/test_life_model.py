"""A model-based test: whatever people, agents and the clock do, the record stays true."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from django.db import DatabaseError, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from jobrunner.controller.jobs.cancelling import cancel_request
from jobrunner.controller.jobs.models import Job, JobEvent, JobRequest, Receipt
from jobrunner.controller.jobs.offers import look
from jobrunner.controller.jobs.pausing import set_paused
from jobrunner.controller.jobs.refusals import Refused
from jobrunner.controller.jobs.transitions import ACTIVE, FINAL, RULES, SUMMED_UP, Situation, State
from jobrunner.sync.messages import Lease
from jobrunner.sync.vocabulary import MAX_ATTEMPTS, REASONS_OF_EXIT, ExitClass, Reason
from tests.fixtures.controller_rows import Rows

pytestmark = [pytest.mark.unit, pytest.mark.django_db]

ENDS = [(reason, kind) for kind, reasons in REASONS_OF_EXIT.items() for reason in sorted(reasons)]
STEPS = {(before, after) for found in RULES for before in found.before for after in found.after}


class Life(RuleBasedStateMachine):
    """People ask, cancel and pause; an agent claims, reports late, twice and out of order; time passes."""

    leases = Bundle("leases")

    @initialize()
    def begin(self) -> None:
        self.around = transaction.atomic()
        self.around.__enter__()
        self.rows = Rows()
        self.final: dict[str, tuple[str, str]] = {}

    def teardown(self) -> None:
        if hasattr(self, "around"):
            transaction.set_rollback(True)
            self.around.__exit__(None, None, None)

    @rule(
        actions=st.lists(
            st.sampled_from(["extract", "count", "chart", "other", "run_all"]), min_size=1, unique=True
        ),
        force=st.booleans(),
    )
    def ask(self, actions: list[str], force: bool) -> None:
        self.rows.ask(*actions, force=force)

    @rule(target=leases, pick=st.integers(0, 5), attempt=st.integers(1, 4))
    def claim(self, pick: int, attempt: int) -> object:
        jobs = list(Job.objects.order_by("-pk")[: pick + 1])
        if not jobs:
            return multiple()
        try:
            return (jobs[-1].job_id, self.rows.claim(jobs[-1], attempt))
        except Refused:
            return multiple()

    @rule(lease=leases, reason=st.sampled_from([Reason.PREPARING, Reason.EXECUTING, Reason.COLLECTING]))
    def progress(self, lease: tuple[str, Lease], reason: Reason) -> None:
        self._report(lease, lambda job: self.rows.report(job, lease[1], reason))

    @rule(lease=leases, end=st.sampled_from(ENDS))
    def end(self, lease: tuple[str, Lease], end: tuple[Reason, ExitClass]) -> None:
        self._report(lease, lambda job: self.rows.report(job, lease[1], *end))

    def _report(self, lease: tuple[str, Lease], send: Callable[[Job], None]) -> None:
        job = Job.objects.get(job_id=lease[0])
        before = (job.state, job.reason, job.attempt)
        try:
            send(job)
        except Refused:
            job.refresh_from_db()
            assert (job.state, job.reason, job.attempt) == before
            return
        assert job.attempt == lease[1].attempt

    @rule(pick=st.integers(0, 3), by_person=st.booleans())
    def cancel(self, pick: int, by_person: bool) -> None:
        for request in JobRequest.objects.order_by("-pk")[pick : pick + 1]:
            cancel_request(request, self.rows.person if by_person else None, now=self.rows.now)

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        set_paused(self.rows.agent(), paused, now=self.rows.now)

    @rule(seconds=st.sampled_from([1, 60, 130]))
    def wait(self, seconds: int) -> None:
        self.rows.tick(seconds)

    @rule(places=st.integers(0, 2))
    def look(self, places: int) -> None:
        agent = self.rows.agent()
        agent.free_plain = places
        found, _ = look(agent, accepting=True, now=self.rows.now, terms=self.rows.terms)
        assert len(found) <= places

    @invariant()
    def the_record_is_true(self) -> None:
        if not hasattr(self, "rows"):
            return
        jobs = list(Job.objects.prefetch_related("needs", "events"))
        active = [(job.workspace_id, job.action) for job in jobs if job.state in ACTIVE]
        assert len(active) == len(set(active)), "one job of an action is active at a time"
        for job in jobs:
            self._check(job)
        for request in JobRequest.objects.prefetch_related("jobs"):
            self._check_sum(request)

    def _check_sum(self, request: JobRequest) -> None:
        mine = list(request.jobs.all())
        states = {job.state for job in mine}
        assert request.state == next(state for state in SUMMED_UP if state in states)
        ended = None if states & set(ACTIVE) else max(job.finished_at for job in mine)
        assert request.finished_at == ended

    def _check(self, job: Job) -> None:
        states = {need.state for need in job.needs.all()}
        now = Situation(State(job.state), job.reason)
        if job.reason == "waiting_for_dependencies":
            assert states - {"succeeded"}, "it waits for something"
            assert states <= {"pending", "running", "succeeded"}, "what it waits for can still succeed"
        elif job.state in ("pending", "running") or job.reason == "completed":
            assert states <= {"succeeded"}, "what runs has its inputs"
        assert job.tries <= MAX_ATTEMPTS
        history = [Situation(State(event.state), event.reason) for event in job.events.all()]
        assert history[-1] == now, "the last event says what is"
        assert set(pairwise(history)) <= STEPS
        if job.state in FINAL:
            assert self.final.setdefault(job.job_id, (job.state, job.reason)) == (job.state, job.reason)


@pytest.mark.slow
def test_the_life_of_jobs_keeps_its_promises() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Life,
        settings=settings(
            max_examples=40,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("verb", ["update", "delete"])
@pytest.mark.parametrize("model", [JobEvent, Receipt])
def test_the_database_refuses_to_change_a_record(model: type[JobEvent] | type[Receipt], verb: str) -> None:
    rows = Rows()
    rows.ask("other")
    (job,) = Job.objects.all()
    rows.finish(job)
    change = {
        "update": lambda: model.objects.update(attempt=7),
        "delete": lambda: model.objects.all()._raw_delete(model.objects.db),
    }[verb]
    with pytest.raises(DatabaseError, match="only ever added"), transaction.atomic():
        change()
    assert model.objects.filter(attempt=1).exists()
