"""The front page tells what finished last, and how much did today."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0005_queue")]

    operations = [
        migrations.AddIndex(
            model_name="jobrequest",
            index=models.Index(fields=["finished_at"], name="requests_by_end"),
        ),
    ]
