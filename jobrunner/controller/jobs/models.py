"""What was asked for, the jobs that follow from it, and the two append-only records of their lives."""

from typing import ClassVar

from django.conf import settings
from django.db import models

from jobrunner.controller.jobs.transitions import ACTIVE, FINAL, State
from jobrunner.controller.projects.models import Backend, Project, Workspace

_ACTIVE = [state.value for state in ACTIVE]
_FINAL = [state.value for state in FINAL]


class JobRequest(models.Model):
    """A person asks: these actions, at this commit, on this backend. `client_key` makes asking idempotent.

    `state` sums its jobs up (`transitions.SUMMED_UP`); `finished_at` is when the last of them ended. Both
    change in the transaction that moves a job.
    """

    request_id = models.CharField(max_length=26, unique=True)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    client_key = models.CharField(max_length=64)
    body_digest = models.CharField(max_length=64)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="requests")
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="requests")
    backend = models.ForeignKey(Backend, on_delete=models.PROTECT, related_name="requests")
    commit = models.CharField(max_length=40)
    actions = models.JSONField()
    force = models.BooleanField()
    state = models.CharField(max_length=10)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["person", "client_key"], name="asked_once"),
            models.CheckConstraint(
                condition=models.Q(state__in=[state.value for state in State]), name="known_request_state"
            ),
        ]
        # For lists, newest first: what they may be filtered by, then the key that they are ordered by.
        indexes: ClassVar = [
            models.Index(fields=["state", "id"], name="requests_by_state"),
            models.Index(fields=["backend", "state", "id"], name="requests_of_backend"),
            models.Index(fields=["project", "state", "id"], name="requests_of_project"),
            models.Index(fields=["project", "backend", "id"], name="requests_of_both"),
            models.Index(fields=["person", "project", "id"], name="requests_of_person"),
            models.Index(fields=["created_at"], name="requests_by_date"),
            models.Index(fields=["finished_at"], name="requests_by_end"),
        ]

    def __str__(self) -> str:
        return self.request_id


class Job(models.Model):
    """One action of one job request. `attempt` is the newest attempt's number, 0 before the first.

    A job in succeeded/reused never ran: `reused` is the job whose run serves in its place. `code_*` say where
    the code of a reusable action was when the job was asked for; they are empty for every other action.
    """

    job_id = models.CharField(max_length=26, unique=True)
    request = models.ForeignKey(JobRequest, on_delete=models.PROTECT, related_name="jobs")
    # No index on one of these alone: it would tempt a planner to walk through all jobs that have ended.
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="jobs", db_index=False)
    backend = models.ForeignKey(Backend, on_delete=models.PROTECT, related_name="jobs", db_index=False)
    action = models.CharField(max_length=128)
    is_database = models.BooleanField()
    needs: "models.ManyToManyField[Job, models.Model]" = models.ManyToManyField(
        "self", symmetrical=False, related_name="dependents"
    )
    reused = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="+")
    code_repo = models.CharField(max_length=300, blank=True)
    code_tag = models.CharField(max_length=200, blank=True)
    code_commit = models.CharField(max_length=40, blank=True)
    state = models.CharField(max_length=10)
    reason = models.CharField(max_length=30)
    attempt = models.PositiveSmallIntegerField(default=0)
    tries = models.PositiveSmallIntegerField(default=0)
    lease_expires_at = models.DateTimeField(null=True)
    cancel_reason = models.CharField(max_length=30, blank=True)
    cancelled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["workspace", "backend", "action"],
                condition=models.Q(state__in=_ACTIVE),
                name="one_active_job_of_an_action",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=[state.value for state in State]), name="known_state"
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=_ACTIVE, finished_at=None)
                | models.Q(state__in=_FINAL, finished_at__isnull=False),
                name="ended_with_a_time",
            ),
        ]
        indexes: ClassVar = [
            # Holds all that a look at the queue asks about jobs that have not ended.
            models.Index(
                fields=[
                    "backend",
                    "state",
                    "reason",
                    "is_database",
                    "workspace",
                    "id",
                    "changed_at",
                    "finished_at",
                ],
                condition=models.Q(finished_at=None),
                name="active_jobs",
            ),
            models.Index(fields=["workspace", "backend", "action", "state"], name="runs_of_an_action"),
            models.Index(fields=["request", "state"], name="states_in_a_request"),
        ]

    def __str__(self) -> str:
        return self.job_id


class JobEvent(models.Model):
    """One transition of one job. Rows are only added; triggers refuse anything else.

    The order of `pk` is the order of commits: who has seen one row has seen, or can see, all before it.
    """

    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="events")
    at = models.DateTimeField()
    state = models.CharField(max_length=10)
    reason = models.CharField(max_length=30)
    attempt = models.PositiveSmallIntegerField()

    def __str__(self) -> str:
        return f"{self.job_id} {self.state}/{self.reason}"


class Receipt(models.Model):
    """An agent's signed claim as it came, with the second it came here. Rows are only ever added.

    `applied` says whether it changed the job. The agent's own times are claims: they stay in `body`.
    """

    backend = models.ForeignKey(Backend, on_delete=models.PROTECT, related_name="+")
    event_id = models.CharField(max_length=26)
    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="receipts")
    attempt = models.PositiveSmallIntegerField()
    body = models.TextField()
    received_at = models.DateTimeField()
    applied = models.BooleanField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["backend", "event_id"], name="event_once"),
        ]

    def __str__(self) -> str:
        return self.event_id
