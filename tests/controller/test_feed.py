"""The public pages: what they say, and what they do not."""

import re
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
        self.ids: list[str] = []
        self.links: list[str] = []

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
        if found.get("id"):
            self.ids.append(found["id"] or "")
        if tag == "a":
            self.links.append(found["href"] or "")
        if tag in {"script", "img"} or found.get("rel") in {"stylesheet", "icon"}:
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
    assert "which it needs, failed (out of memory)." in text
    assert f"Study {site.project}" in text
    assert site.person in text
    assert site.commit in text
    blocked = site.ask("chart")
    assert "Waits for <code>extract</code> to finish." in page(site, f"/jobs/{blocked['request_id']}")
    waiting = site.ask("other")
    assert "Waits for backend" in page(site, f"/jobs/{waiting['request_id']}")


def test_the_front_page_tells_what_runs_what_waits_and_what_is_over(site: Site) -> None:
    over = finished(site)
    agent = site.agent()
    running = site.ask("extract")
    agent.claim(running["jobs"][0]["job_id"])
    waiting = site.ask("other")
    for path in ("/", "/live/front"):
        text = page(site, path)
        places = [
            text.index(f"/jobs/{found}") for found in (running["request_id"], waiting["request_id"], over)
        ]
        headings = [text.index(f'id="{name}"') for name in ("running", "waiting", "finished")]
        assert sorted([*places, *headings]) == [
            word for pair in zip(headings, places, strict=True) for word in pair
        ]


def test_a_page_and_its_part_say_the_same(site: Site) -> None:
    request = finished(site)
    for path, part in [
        ("/", "/live/front"),
        (f"/runs?project={site.project}", f"/live/runs?project={site.project}"),
        (f"/jobs/{request}?state=failed", f"/live/jobs/{request}?state=failed"),
        (f"/projects/{site.project}", f"/live/projects/{site.project}"),
        (f"/backends/{site.backend}", f"/live/backends/{site.backend}"),
    ]:
        whole, found = page(site, path), page(site, part)
        made = re.compile(r'data-(made|shown)="[^"]*"')
        assert made.sub("", found).strip() in made.sub("", whole)
        assert f'data-part="{part.replace("&", "&amp;")}"' in whole
        assert "<html" not in found


def test_a_failure_says_what_to_do_and_where_its_log_is(site: Site) -> None:
    request = finished(site)
    text = page(site, f"/jobs/{request}")
    (job, *_) = site.call("GET", f"requests/{request}").json()["jobs"]
    assert f"runs/{job['job_id']}/1/log" in text
    assert "highly sensitive area" in text
    assert "Read less at once or split the action" in text
    assert job["next_step"] in text
    agent = site.agent()
    second = site.ask("extract")
    agent.run(second["jobs"][0]["job_id"])
    succeeded = page(site, f"/jobs/{second['request_id']}")
    workspace = site.call("GET", f"requests/{second['request_id']}").json()["workspace"]
    assert f"workspaces/{workspace}/metadata/extract.log" in succeeded
    assert "moderately sensitive area" in succeeded
    assert "if the file rules found nothing to block" in succeeded


def test_a_reused_job_leads_to_the_run_that_serves_and_names_its_commit(site: Site) -> None:
    first = site.ask("extract")
    site.agent().run(first["jobs"][0]["job_id"])
    second = site.ask("count")
    text = page(site, f"/jobs/{second['request_id']}")
    assert f'href="/jobs/{first["request_id"]}">The run that serves</a>' in text
    assert f"serves, at commit {site.commit[:12]}, the one asked for." in text


def test_a_project_page_tells_who_allowed_what_and_all_that_was_asked(site: Site) -> None:
    request = finished(site)
    text = page(site, f"/projects/{site.project}")
    assert f"{site.project}-1" in text
    assert site.repo in text
    assert "in date" in text
    assert site.person in text
    assert "a signature that cannot be read here" in text
    assert f"/jobs/{request}" in text
    assert f"/projects/{site.project}" in page(site, "/projects/")
    assert f"/backends/{site.backend}" in page(site, "/backends/")


@pytest.mark.parametrize(
    ("query", "status", "sentence"),
    [
        ("state=done", 400, "A state is one of pending, running"),
        ("project=none", 404, "There is no project of that name"),
        ("backend=none", 404, "There is no data centre of that name"),
        ("from=yesterday", 400, "written as year-month-day"),
        ("from=2026-02-30", 400, "written as year-month-day"),
        ("to=0001-01-01", 400, "between the years 2000 and 2999"),
        ("from=2026-03-02&to=2026-03-01", 400, "Swap"),
        ("before=nothing", 404, ""),
    ],
)
def test_what_cannot_be_meant_is_refused_with_help(
    site: Site, query: str, status: int, sentence: str
) -> None:
    text = page(site, f"/runs?{query}", status)
    outline(text)
    assert sentence in text
    answer = requests.get(f"{site.server.url}/feed.json?{query}", timeout=10)
    assert answer.status_code == status
    (error,) = answer.json()["errors"]
    assert sentence in error["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/{}?state=done",
        "/jobs/{}?after=nothing",
        "/jobs/{}/history?after=x",
        "/jobs/{}/history?after=99999999999999999999",
        "/jobs/nothing/history",
        "/jobs/nothing/data.json",
        "/projects/nothing",
        "/projects/study-0?before=nothing",
        "/backends/nothing",
        "/live/jobs/nothing",
    ],
)
def test_what_never_was_is_not_found(site: Site, path: str) -> None:
    page(site, path.format(site.ask("other")["request_id"]), 404)


def test_the_feed_is_the_same_as_data(site: Site) -> None:
    request = finished(site)
    answer = requests.get(f"{site.server.url}/feed.json?project={site.project}", timeout=10).json()
    (newest,) = answer["requests"]
    assert newest["request_id"] == request
    assert set(newest) == {
        "request_id",
        "project",
        "project_title",
        "workspace",
        "backend",
        "asked_by",
        "commit",
        "commit_url",
        "state",
        "created_at",
        "finished_at",
        "counts",
        "page",
        "data",
        "jobs",
    }
    assert (newest["state"], newest["counts"]) == ("failed", {"failed": 3})
    assert [job["reason"] for job in newest["jobs"]] == ["out_of_memory", *["dependency_failed"] * 2]
    assert set(newest["jobs"][0]) == {
        "job_id",
        "action",
        "state",
        "reason",
        "why",
        "next_step",
        "log",
        "attempt",
        "created_at",
        "started_at",
        "finished_at",
        "seconds",
        "reused_request",
        "reused_commit",
        "code_repo",
        "code_tag",
        "code_commit",
    }
    alone = requests.get(site.server.url + newest["data"], timeout=10).json()
    # Which action kept another from running is looked up for one request, not for a list of them.
    sentences = ("why", "next_step")
    for listed, told in zip(newest["jobs"], alone["jobs"], strict=True):
        same = told["reason"] != "dependency_failed"
        assert all(listed[key] == told[key] for key in listed if same or key not in sentences)
        assert listed["why"]
    assert alone["next"] is None


def everywhere(site: Site, request: str) -> list[str]:
    """Every public page that tells about this request, its project or its backend."""
    pages = [
        "/",
        "/runs",
        f"/jobs/{request}",
        f"/jobs/{request}/history",
        f"/jobs/{request}/data.json",
        "/projects/",
        f"/projects/{site.project}",
        "/backends/",
        f"/backends/{site.backend}",
        "/about",
        "/feed.json",
    ]
    return [*pages, "/live/front", f"/live/runs?project={site.project}", f"/live/jobs/{request}"]


@pytest.mark.slow
def test_every_page_is_well_formed_and_every_link_leads_somewhere(site: Site) -> None:
    request = finished(site)
    links: set[str] = set()
    for path in everywhere(site, request):
        text = page(site, path)
        if path.startswith("/live/") or path.endswith(".json"):
            continue
        found = outline(text)
        assert found.landmarks == {"header", "main", "nav", "footer"}
        assert found.levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(found.levels)), path
        assert len(found.ids) == len(set(found.ids)), path
        assert found.tables == found.captions
        links |= {link.partition("#")[0] for link in found.links if link.startswith("/")}
    for link in links:
        assert requests.get(site.server.url + link, timeout=10).status_code == 200, link


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
    for table, column, key, value in [
        ("accounts_person", "email", "username", site.person),
        ("accounts_person", "first_name", "username", site.person),
        ("accounts_person", "last_name", "username", site.person),
        ("projects_backend", "agent_version", "slug", site.backend),
        ("projects_backend", "agent_id", "slug", site.backend),
        ("projects_backend", "policy_digest", "slug", site.backend),
        ("jobs_jobrequest", "client_key", "request_id", request),
        ("jobs_jobrequest", "body_digest", "request_id", request),
    ]:
        statement = f"UPDATE {table} SET {column} = 'canary@example.org' WHERE {key} = ?"  # noqa: S608
        site.server.query(statement, value)
    for path in everywhere(site, request):
        text = page(site, path).lower()
        assert "canary" not in text
        assert site.credential.lower() not in text


def test_text_of_people_is_escaped(site: Site) -> None:
    site.server.query(
        "UPDATE projects_project SET title = '<script>x</script>', purpose = '<img src=x>',"
        " legal_basis = '<b onclick=x>' WHERE slug = ?",
        site.project,
    )
    site.server.query("UPDATE projects_backend SET title = '\"><i>' WHERE slug = ?", site.backend)
    request = finished(site)
    for path in everywhere(site, request):
        if not path.endswith(".json"):
            text = page(site, path)
            assert "<script>x" not in text
            assert "<img" not in text
            assert "<b onclick" not in text
            assert '"><i>' not in text
    assert "&lt;script&gt;" in page(site, f"/projects/{site.project}")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_pages_are_only_read(site: Site, method: str) -> None:
    assert requests.request(method, site.server.url, timeout=10).status_code in {403, 405}
