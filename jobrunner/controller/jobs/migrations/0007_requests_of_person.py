"""A person's own requests, newest first."""

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("jobs", "0006_requests_by_end"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="jobrequest",
            index=models.Index(fields=["person", "project", "id"], name="requests_of_person"),
        ),
    ]
