"""Job events and receipts are only ever added; the database refuses anything else."""

from django.db import migrations

from jobrunner.controller.jobs.append_only import append_only


class Migration(migrations.Migration):
    dependencies = [("jobs", "0001_initial")]
    operations = [append_only("jobs_jobevent"), append_only("jobs_receipt")]
