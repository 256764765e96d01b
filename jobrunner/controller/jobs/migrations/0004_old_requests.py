"""Requests that were there before get their state from their jobs; keys of events follow the commits."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Case, Exists, Max, OuterRef, Subquery, Value, When

from jobrunner.controller.jobs.append_only import in_commit_order

_GRAVEST_FIRST = ("running", "pending", "failed", "refused", "cancelled", "succeeded")


def sum_up(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Fill `state` and `finished_at`; a request without jobs stays pending."""
    requests = apps.get_model("jobs", "JobRequest").objects.using(editor.connection.alias)
    jobs = apps.get_model("jobs", "Job").objects.using(editor.connection.alias)
    mine = jobs.filter(request=OuterRef("pk"))
    has = [When(Exists(mine.filter(state=state)), then=Value(state)) for state in _GRAVEST_FIRST]
    requests.update(state=Case(*has, default=Value("pending")))
    last = mine.order_by().values("request").annotate(last=Max("finished_at")).values("last")
    requests.exclude(state__in=["running", "pending"]).update(finished_at=Subquery(last))


class Migration(migrations.Migration):
    dependencies = [("jobs", "0003_request_state")]
    operations = [
        migrations.RunPython(sum_up, migrations.RunPython.noop),
        in_commit_order("jobs_jobevent"),
    ]
