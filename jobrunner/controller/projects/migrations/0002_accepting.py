"""Jobs that wait for an agent that drains say so."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("projects", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="backend",
            name="accepting",
            field=models.BooleanField(db_default=True, default=True),
        ),
    ]
