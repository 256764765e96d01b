"""Approved pieces of research, where they may run, and what data controllers signed."""

from typing import ClassVar

from django.conf import settings
from django.db import models


class Project(models.Model):
    """An approved piece of research. All fields here are public: the feed tells people why a run happens."""

    slug = models.CharField(max_length=40, unique=True)
    title = models.CharField(max_length=200)
    purpose = models.TextField()
    legal_basis = models.TextField()
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.slug


class Membership(models.Model):
    """A person works on a project. Without it no token of theirs counts for the project."""

    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    project = models.ForeignKey(Project, on_delete=models.CASCADE)
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["person", "project"], name="member_once")]

    def __str__(self) -> str:
        return f"{self.person_id} in {self.project_id}"


class Backend(models.Model):
    """One data centre; exactly one agent identity holds its key.

    `changes` counts what its agent would like to hear about, so that any process can notice a change made
    by another. `free_db` and `free_plain` are the free places that the agent last told, less what it has
    claimed and plus what has ended since. `accepting` is false from when the agent says that it takes nothing
    new, without having been paused from here, until it says hello or that it takes jobs again.
    """

    slug = models.CharField(max_length=40, unique=True)
    title = models.CharField(max_length=200)
    public_key = models.CharField(max_length=100)
    credential_digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField()
    paused = models.BooleanField(default=False)
    accepting = models.BooleanField(default=True, db_default=True)
    changes = models.BigIntegerField(default=0)
    last_seen_at = models.DateTimeField(null=True)
    free_db = models.PositiveSmallIntegerField(default=0)
    free_plain = models.PositiveSmallIntegerField(default=0)
    agent_id = models.CharField(max_length=40, blank=True)
    agent_version = models.CharField(max_length=32, blank=True)
    agent_runtimes = models.CharField(max_length=32, blank=True)
    policy_digest = models.CharField(max_length=64, blank=True)

    def __str__(self) -> str:
        return self.slug


class Approval(models.Model):
    """A data controller's signed document, as the exact text received. Agents judge its signatures."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="approvals")
    digest = models.CharField(max_length=64, unique=True)
    envelope = models.TextField()
    approval_id = models.CharField(max_length=40)
    serial = models.PositiveBigIntegerField()
    not_before = models.BigIntegerField()
    not_after = models.BigIntegerField()
    received_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.approval_id} serial {self.serial}"


class ApprovalSite(models.Model):
    """A backend that an approval names, by slug: it may be stored before the backend is known."""

    approval = models.ForeignKey(Approval, on_delete=models.CASCADE, related_name="sites")
    backend = models.CharField(max_length=40, db_index=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["approval", "backend"], name="site_once")]

    def __str__(self) -> str:
        return f"{self.approval_id} at {self.backend}"


class Workspace(models.Model):
    """One branch of one repository of one project. The name is derived on both sides, never sent."""

    name = models.CharField(max_length=100, unique=True)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="workspaces")
    repo = models.CharField(max_length=300)
    branch = models.CharField(max_length=200)
    created_at = models.DateTimeField()
    last_served_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name
