"""The public pages: what they say, and what they do not."""

from html.parser import HTMLParser
from itertools import pairwise

import pytest
import requests

from jobrunner.sync.vocabulary import ExitClass, Reason
from tests.fixtures.controller_sites import Site

pytestmark = pytest.mark.http

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Outline(HTMLParser):
    """Collects what a screen reader goes by, and fails on tags that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.levels: list[int] = []
        self.landmarks: set[str] = set()
        self.tables = self.captions = 0
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag in {"header", "main", "nav", "footer"}:
            self.landmarks.add(tag)
        if len(tag) == 2 and tag[0] == "h" and tag[1].isdigit():
            self.levels.append(int(tag[1]))
        self.tables += tag == "table"
        self.captions += tag == "caption"
        assert "style" not in found
        assert not [name for name in found if name.startswith("on")]
        if tag in {"link", "script", "img"}:
            self.sources.append(found.get("href") or found.get("src") or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page(site: Site, path: str, status: int = 200) -> str:
    answer = requests.get(site.server.url + path, timeout=10)
    assert answer.status_code == status
    return answer.text


def outline(text: str) -> Outline:
    found = Outline()
    found.feed(text)
    assert found.open == []
    return found


def finished(site: Site) -> str:
    agent = site.agent()
    request = site.ask("chart")
    job = request["jobs"][0]["job_id"]
    agent.end(job, agent.claim(job), Reason.OUT_OF_MEMORY, ExitClass.FAILED)
    return str(request["request_id"])


def test_a_request_is_shown_with_states_and_sentences(site: Site) -> None:
    request = finished(site)
    text = page(site, f"/jobs/{request}")
    assert "The code needed more memory than the data centre allows." in text
    assert "an action that it needs did not succeed" in text
    assert f"Study {site.project}" in text
    assert site.person in text
    assert site.commit in text
    blocked = site.ask("chart")
    assert "Waits for <code>extract</code> to finish." in page(site, f"/jobs/{blocked['request_id']}")
    waiting = site.ask("other")
    assert "Waits for backend" in page(site, f"/jobs/{waiting['request_id']}")


@pytest.mark.slow
def test_the_front_page_is_newest_first_and_paged(site: Site) -> None:
    asked = [finished(site) for _ in range(22)]
    first = page(site, "/")
    places = [first.index(f"/jobs/{request}") for request in reversed(asked[2:])]
    assert places == sorted(places)
    assert f"/jobs/{asked[1]}" not in first
    older = page(site, f"/?before={asked[2]}")
    assert older.index(f"/jobs/{asked[1]}") < older.index(f"/jobs/{asked[0]}")
    assert "Newest" in older


def test_the_feed_is_the_same_as_data(site: Site) -> None:
    request = finished(site)
    answer = requests.get(f"{site.server.url}/feed.json", timeout=10).json()
    newest = answer["requests"][0]
    assert newest["request_id"] == request
    assert set(newest) == {
        "request_id",
        "project",
        "workspace",
        "backend",
        "asked_by",
        "commit",
        "commit_url",
        "created_at",
        "jobs",
    }
    assert [job["reason"] for job in newest["jobs"]] == ["out_of_memory", *["dependency_failed"] * 2]
    assert set(newest["jobs"][0]) == {
        "job_id",
        "action",
        "state",
        "reason",
        "why",
        "created_at",
        "started_at",
        "finished_at",
        "seconds",
    }


@pytest.mark.parametrize("path", ["/", "/jobs/nothing", "/nothing", "one"])
def test_pages_are_well_formed_and_load_nothing_from_elsewhere(site: Site, path: str) -> None:
    status = 404 if "nothing" in path else 200
    if path == "one":
        path = f"/jobs/{finished(site)}"
    found = outline(page(site, path, status))
    assert found.landmarks == {"header", "main", "nav", "footer"}
    assert found.levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(found.levels))
    assert found.tables == found.captions
    assert found.sources
    for source in found.sources:
        assert source.startswith("/static/")
        assert requests.get(site.server.url + source, timeout=10).status_code == 200


def test_private_fields_are_not_shown(site: Site) -> None:
    request = finished(site)
    site.server.query(
        "UPDATE accounts_person SET email = 'canary@example.org', first_name = 'Canary' WHERE username = ?",
        site.person,
    )
    for path in ("/", f"/jobs/{request}", "/feed.json"):
        text = page(site, path).lower()
        assert "canary" not in text
        assert site.credential.lower() not in text


def test_text_of_people_is_escaped(site: Site) -> None:
    site.server.query(
        "UPDATE projects_project SET title = '<script>x</script>', purpose = '<img src=x>' WHERE slug = ?",
        site.project,
    )
    request = finished(site)
    for path in ("/", f"/jobs/{request}"):
        text = page(site, path)
        assert "<script>" not in text
        assert "<img" not in text
    assert "&lt;script&gt;" in page(site, "/")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_pages_are_only_read(site: Site, method: str) -> None:
    assert requests.request(method, site.server.url, timeout=10).status_code in {403, 405}
