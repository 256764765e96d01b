"""A request carries the state that sums its jobs up, and indexes for lists that are filtered by it."""

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0002_append_only"),
        ("projects", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="jobrequest",
            name="finished_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="jobrequest",
            name="state",
            field=models.CharField(default="pending", max_length=10),
            preserve_default=False,
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(fields=["request", "state"], name="states_in_a_request"),
        ),
        migrations.AddIndex(
            model_name="jobrequest",
            index=models.Index(fields=["state", "id"], name="requests_by_state"),
        ),
        migrations.AddIndex(
            model_name="jobrequest",
            index=models.Index(fields=["backend", "state", "id"], name="requests_of_backend"),
        ),
        migrations.AddIndex(
            model_name="jobrequest",
            index=models.Index(fields=["project", "state", "id"], name="requests_of_project"),
        ),
        migrations.AddIndex(
            model_name="jobrequest",
            index=models.Index(fields=["project", "backend", "id"], name="requests_of_both"),
        ),
        migrations.AddIndex(
            model_name="jobrequest",
            index=models.Index(fields=["created_at"], name="requests_by_date"),
        ),
        migrations.AddConstraint(
            model_name="jobrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state__in", ["pending", "running", "succeeded", "failed", "refused", "cancelled"])
                ),
                name="known_request_state",
            ),
        ),
    ]
