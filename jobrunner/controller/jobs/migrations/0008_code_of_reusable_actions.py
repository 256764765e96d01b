"""A job keeps the address, tag and commit of the reusable action that it runs."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0007_requests_of_person")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="code_repo",
            field=models.CharField(blank=True, default="", max_length=300),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="job",
            name="code_tag",
            field=models.CharField(blank=True, default="", max_length=200),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="job",
            name="code_commit",
            field=models.CharField(blank=True, default="", max_length=40),
            preserve_default=False,
        ),
    ]
