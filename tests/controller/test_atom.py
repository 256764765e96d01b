"""The feed for feed readers: valid Atom, stable, escaped, and cheap to ask for again."""

from __future__ import annotations

from datetime import datetime
from email.utils import formatdate, parsedate_to_datetime
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import pytest
import requests

from jobrunner.sync.vocabulary import ExitClass, Reason
from tests.fixtures.controller_sites import Site

pytestmark = pytest.mark.http

ATOM = "{http://www.w3.org/2005/Atom}"


@pytest.fixture(scope="module")
def bystander(sites: object) -> Site:
    return next(sites)  # type: ignore[call-overload,no-any-return]


def get(site: Site, path: str, **headers: str) -> requests.Response:
    return requests.get(site.server.url + path, headers=headers, timeout=10)


def parsed(answer: requests.Response) -> ET.Element:
    """The feed, with everything that RFC 4287 asks of it."""
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/atom+xml; charset=utf-8"
    root = ET.fromstring(answer.content)  # noqa: S314 - it is our own server's
    assert root.tag == f"{ATOM}feed"
    assert [link.get("rel") for link in root.findall(f"{ATOM}link")] == ["alternate", "self"]
    for part in (root, *entries(root)):
        for name in ("id", "title", "updated"):
            assert len(part.findall(ATOM + name)) == 1
        assert text(part, "id").startswith("tag:localhost,")
        assert datetime.fromisoformat(text(part, "updated")).tzinfo is not None
        assert part.find(f"{ATOM}author/{ATOM}name") is not None
        for link in part.findall(f"{ATOM}link"):
            assert urlsplit(link.get("href", "")).netloc == urlsplit(answer.url).netloc
    assert len({text(entry, "id") for entry in entries(root)}) == len(entries(root))
    return root


def entries(root: ET.Element) -> list[ET.Element]:
    return root.findall(f"{ATOM}entry")


def text(part: ET.Element, name: str) -> str:
    return part.findtext(ATOM + name) or ""


def of_project(site: Site) -> list[ET.Element]:
    return entries(parsed(get(site, f"/projects/{site.project}.atom")))


def test_a_request_is_one_entry_that_changes(site: Site) -> None:
    request = site.ask("chart")
    (asked,) = of_project(site)
    agent = site.agent()
    job = request["jobs"][0]["job_id"]
    agent.end(job, agent.claim(job), Reason.OUT_OF_MEMORY, ExitClass.FAILED)
    (ended,) = of_project(site)
    for name in ("id", "published"):
        assert text(asked, name) == text(ended, name)
    assert text(asked, "updated") <= text(ended, "updated")
    assert text(asked, "title") == f"Study {site.project}: chart (pending)"
    assert text(ended, "title") == f"Study {site.project}: chart (failed)"
    assert "The code needed more memory than the data centre allows." in text(ended, "summary")
    assert "2 actions are failed" in text(ended, "summary")
    assert ended.findtext(f"{ATOM}author/{ATOM}name") == site.person
    link = ended.find(f"{ATOM}link")
    assert link is not None
    page = requests.get(link.get("href", ""), timeout=10)
    assert page.status_code == 200
    assert request["request_id"] in page.url


def test_the_last_change_comes_first(site: Site) -> None:
    first, second = site.ask("other"), site.ask("extract")
    assert [second["request_id"], first["request_id"]] == _order(site)
    site.agent().run(first["jobs"][0]["job_id"])
    assert [first["request_id"], second["request_id"]] == _order(site)
    everything = entries(parsed(get(site, "/feed.atom")))
    assert first["request_id"] in text(everything[0], "id")


def _order(site: Site) -> list[str]:
    return [text(entry, "id").rsplit("/", 1)[-1] for entry in of_project(site)]


def test_a_project_has_a_feed_under_two_addresses(site: Site, other_site: Site) -> None:
    site.ask("other")
    other_site.ask("other")
    short = get(site, f"/projects/{site.project}.atom")
    assert get(site, f"/feed.atom?project={site.project}").content == short.content
    titles = [text(entry, "title") for entry in entries(parsed(short))]
    assert titles == [f"Study {site.project}: other (pending)"]
    for path in ("/projects/no-such.atom", "/feed.atom?project=no-such"):
        assert get(site, path).status_code == 404


def test_an_unchanged_feed_is_not_sent_again(site: Site) -> None:
    request = site.ask("other")
    # Long enough ago for a date to tell it from the next change.
    long_ago, key = "2026-03-01 12:00:00+00:00", request["request_id"]
    site.server.query("UPDATE jobs_jobrequest SET created_at = ? WHERE request_id = ?", long_ago, key)
    site.server.query(
        "UPDATE jobs_job SET changed_at = ? WHERE job_id = ?", long_ago, request["jobs"][0]["job_id"]
    )
    path = f"/projects/{site.project}.atom"
    first = get(site, path)
    etag, modified = first.headers["etag"], first.headers["last-modified"]
    same = (get(site, path, **{"If-None-Match": etag}), get(site, path, **{"If-Modified-Since": modified}))
    for answer in same:
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag
        assert "default-src 'self'" in answer.headers["content-security-policy"]
    old = formatdate(parsedate_to_datetime(modified).timestamp() - 1, usegmt=True)
    assert get(site, path, **{"If-Modified-Since": old}).status_code == 200
    site.agent().run(request["jobs"][0]["job_id"])
    for header in ({"If-None-Match": etag}, {"If-Modified-Since": modified}):
        again = get(site, path, **header)
        assert (again.status_code, again.headers["etag"] != etag) == (200, True)
    # What changed a moment ago is not dated: the same second may bring more.
    assert "last-modified" not in again.headers


def test_texts_of_people_arrive_as_they_were_written(site: Site) -> None:
    title = "Tom & Jerry's <script>x</script> ]]> \x0b\ufffe \u202e"
    site.server.query("UPDATE projects_project SET title = ? WHERE slug = ?", title, site.project)
    site.ask("other")
    answer = get(site, f"/projects/{site.project}.atom")
    root = parsed(answer)
    shown = title.replace("\x0b", "\ufffd").replace("\ufffe", "\ufffd")
    assert text(root, "title") == f"What runs: {shown}"
    assert text(entries(root)[0], "title") == f"{shown}: other (pending)"
    assert "<script>" not in answer.text


def test_a_summary_is_escaped_once_more_because_it_is_html(site: Site) -> None:
    site.ask("other")
    (entry,) = of_project(site)
    summary = entry.find(f"{ATOM}summary")
    assert summary is not None
    assert summary.get("type") == "html"
    assert "<" not in text(entry, "summary")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_the_feed_is_only_read(bystander: Site, method: str) -> None:
    answer = requests.request(method, f"{bystander.server.url}/feed.atom", timeout=10)
    assert answer.status_code in {403, 405}


def test_a_host_that_is_not_ours_is_not_repeated(bystander: Site) -> None:
    answer = get(bystander, "/feed.atom", Host="evil.example")
    assert answer.status_code == 400
    assert "evil.example" not in answer.text
