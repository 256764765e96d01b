"""Where everything is. The agents' calls never get here: `asgi` answers them first."""

from django.urls import path

from jobrunner.controller.api.researcher import api
from jobrunner.controller.feed import atom, data_views, error_views, place_views, views
from jobrunner.controller.feed.shared_part import shared

urlpatterns = [
    path("", views.front, name="front"),
    path("feed.atom", atom.feed_atom, name="feed-atom"),
    path("projects/<str:slug>.atom", atom.feed_atom, name="project-atom"),
    path("runs", views.runs, name="runs"),
    path("jobs/<str:request_id>", views.job_request, name="job-request"),
    path("jobs/<str:request_id>/history", views.history, name="history"),
    path("jobs/<str:request_id>/data.json", data_views.job_request_json, name="job-request-json"),
    path("projects/", place_views.projects, name="projects"),
    path("projects/<slug:slug>", place_views.project, name="project"),
    path("backends/", place_views.backends, name="backends"),
    path("backends/<slug:slug>", place_views.backend, name="backend"),
    path("about", place_views.about, name="about"),
    path("feed.json", data_views.feed_json, name="feed-json"),
    path("live/front", shared(views.front), name="front-part"),
    path("live/runs", shared(views.runs), name="runs-part"),
    path("live/jobs/<str:request_id>", shared(views.job_request), name="job-request-part"),
    path("live/projects/<slug:slug>", shared(place_views.project), name="project-part"),
    path("live/backends/<slug:slug>", shared(place_views.backend), name="backend-part"),
    path("api/v1/", api.urls),
]
handler400 = error_views.bad_request
handler403 = error_views.forbidden
handler404 = error_views.not_found
handler500 = error_views.server_error
