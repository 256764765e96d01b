"""What is told while the SQLite file cannot be opened (for PostgreSQL see test_postgresql.py)."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from jobrunner.controller.feed.database_away import COME_BACK_S
from tests.fixtures import databases
from tests.fixtures.controller_sites import Site, served_sites

pytestmark = [
    pytest.mark.http,
    pytest.mark.skipif(databases.on_postgresql(), reason="takes away a file that is not there"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with served_sites(tmp_path_factory.mktemp("away"), count=1) as (made,):
        yield made


@contextmanager
def without_database(site: Site) -> Iterator[None]:
    """A folder stands where the database was."""
    file = site.server.data / "controller.sqlite3"
    kept = file.rename(file.with_suffix(".kept"))
    file.mkdir()
    try:
        yield
    finally:
        file.rmdir()
        kept.rename(file)


def test_pages_say_calmly_that_the_database_is_away_and_come_back(site: Site) -> None:
    request = site.ask("other")["request_id"]
    paths = ["/", "/runs", f"/jobs/{request}", "/projects/", f"/projects/{site.project}", "/backends/"]
    paths += ["/feed.atom", "/live/front", f"/live/jobs/{request}"]
    with without_database(site):
        for path in paths:
            answer = requests.get(site.server.url + path, timeout=20)
            assert answer.status_code == 503, path
            assert answer.headers["Retry-After"] == str(COME_BACK_S)
            assert answer.headers["Cache-Control"] == "no-store"
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
            assert "The database does not answer at the moment. What runs goes on." in answer.text
            assert "went wrong" not in answer.text
            assert "sqlite" not in answer.text.lower()
        assert requests.get(f"{site.server.url}/about", timeout=20).status_code == 200
    for path in paths:
        assert requests.get(site.server.url + path, timeout=20).status_code == 200, path


def test_programs_are_told_in_a_closed_word_to_come_again(site: Site) -> None:
    request = site.body("other")
    with without_database(site):
        for path in ("/feed.json", "/jobs/nothing/data.json"):
            answer = requests.get(site.server.url + path, timeout=20)
            assert answer.status_code == 503
            assert [error["id"] for error in answer.json()["errors"]] == ["busy"]
            assert int(answer.headers["Retry-After"]) > 0
        for answer in (site.call("GET", "requests/nothing"), site.call("POST", "requests", json=request)):
            assert answer.status_code == 503
            assert [error["id"] for error in answer.json()["errors"]] == ["busy"]
            assert int(answer.headers["Retry-After"]) > 0
    assert site.call("GET", "requests/nothing").status_code == 404
