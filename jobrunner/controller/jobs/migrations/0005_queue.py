"""The index by which the queue is read holds active jobs alone, and all that is asked about them."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0004_old_requests")]

    operations = [
        migrations.AlterField(
            model_name="job",
            name="backend",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="jobs",
                to="projects.backend",
            ),
        ),
        migrations.AlterField(
            model_name="job",
            name="workspace",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="jobs",
                to="projects.workspace",
            ),
        ),
        migrations.RemoveIndex(
            model_name="job",
            name="active_jobs",
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("finished_at", None)),
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
                name="active_jobs",
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("finished_at", None), ("state__in", ["pending", "running"])),
                    models.Q(
                        ("finished_at__isnull", False),
                        ("state__in", ["succeeded", "failed", "refused", "cancelled"]),
                    ),
                    _connector="OR",
                ),
                name="ended_with_a_time",
            ),
        ),
    ]
