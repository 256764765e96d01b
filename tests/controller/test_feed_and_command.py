"""A failure reads the same on the page and in a researcher's terminal."""

import html
import re
from pathlib import Path

import pytest
import requests

from jobrunner.controller.jobs.advice import NEXT
from jobrunner.controller.jobs.transitions import State
from jobrunner.sync.vocabulary import ExitClass, Reason
from tests.controller.test_commands import jobrunner
from tests.fixtures.controller_sites import Site

pytestmark = pytest.mark.http


@pytest.mark.parametrize("arguments", [(), ("--watch",)])
def test_status_says_what_the_page_says(site: Site, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    request = site.ask("other")
    job = request["jobs"][0]["job_id"]
    agent = site.agent()
    agent.end(job, agent.claim(job), Reason.NONZERO_EXIT, ExitClass.FAILED)
    done = jobrunner(site, tmp_path, "status", request["request_id"], *arguments)
    said = " ".join(done.stdout.split())
    advice = NEXT[State.FAILED, "nonzero_exit"]
    place = f"runs/{job}/1/log"
    assert f"Next: {advice}" in said
    assert place in said
    page = requests.get(f"{site.server.url}/jobs/{request['request_id']}", timeout=10).text
    shown = html.unescape(re.sub(r"<[^>]+>", "", page))
    assert advice.replace("`", "") in shown
    assert place in shown


def test_status_advises_nothing_where_all_is_well(site: Site, tmp_path: Path) -> None:
    request = site.ask("other")
    site.agent().run(request["jobs"][0]["job_id"])
    done = jobrunner(site, tmp_path, "status", request["request_id"])
    assert "Next:" not in done.stdout
