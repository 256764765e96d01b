"""People, and the tokens by which their programs ask on their behalf."""

from django.contrib.auth.models import AbstractUser
from django.db import models


class Person(AbstractUser):
    """A named person. The user name is public (the feed shows who asked); mail and other names are not."""


class PersonalToken(models.Model):
    """A secret that acts for one person, in some projects, until a date. Only its digest is kept."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="tokens")
    digest = models.CharField(max_length=64, unique=True)
    projects = models.ManyToManyField("projects.Project", related_name="+")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"token {self.pk} of {self.person_id}"
