"""Where everything is. The agents' calls never get here: `asgi` answers them first."""

from django.urls import path

from jobrunner.controller.api.researcher import api
from jobrunner.controller.feed import atom, views

urlpatterns = [
    path("", views.front, name="front"),
    path("feed.atom", atom.feed_atom, name="feed-atom"),
    path("projects/<str:slug>.atom", atom.feed_atom, name="project-atom"),
    path("feed.json", views.feed_json, name="feed-json"),
    path("jobs/<str:request_id>", views.job_request, name="job-request"),
    path("api/v1/", api.urls),
]
handler400 = views.bad_request
handler403 = views.forbidden
handler404 = views.not_found
handler500 = views.server_error
