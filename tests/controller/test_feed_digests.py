"""The rows of lists: what was asked for, what ran, what was reused, what never ran."""

import re
from datetime import timedelta

import pytest
from django.test import Client

from jobrunner.controller.feed.listing import Outcome, digest
from jobrunner.controller.feed.templatetags.wording import elapsed, in_short, names
from jobrunner.controller.jobs.models import JobRequest
from jobrunner.controller.jobs.tally import outcome
from jobrunner.controller.jobs.transitions import REASONS, State
from jobrunner.sync.vocabulary import ExitClass, Reason
from tests.fixtures.controller_rows import BEGIN, Rows, job

pytestmark = [pytest.mark.unit, pytest.mark.django_db]

GREEN = 'class="sign state-succeeded"'
WIDE = {"one": (), "two": ("one",), "three": ("two",), "four": ("three",), "five": ("four",)}


def card(request: JobRequest | None, path: str = "/runs") -> str:
    """The row of a request on a page."""
    assert request is not None
    text = Client(HTTP_HOST="localhost").get(path).content.decode()
    return text.split(f'id="r-{request.request_id}"')[1].split("</article>")[0]


def standing(request: JobRequest | None) -> str:
    """What the page of a request says of it as a whole, as plain text."""
    assert request is not None
    text = Client(HTTP_HOST="localhost").get(f"/jobs/{request.request_id}").content.decode()
    line = text.split('class="standing large">')[1].split("</p>")[0]
    return re.sub(r"<[^>]*>", "", line)


def outcomes(request: JobRequest | None) -> dict[Outcome, int]:
    assert request is not None
    (found,) = digest([request.pk], now=BEGIN)
    return {part.outcome: part.count for part in found.parts}


def fail(rows: Rows, request: JobRequest | None, action: str) -> None:
    found = job(request, action)
    rows.report(found, rows.claim(found), Reason.NONZERO_EXIT, ExitClass.FAILED)


def test_every_state_and_reason_has_an_outcome_and_every_outcome_occurs() -> None:
    found = {Outcome(outcome(state, reason)) for state, reasons in REASONS.items() for reason in reasons}
    assert found == set(Outcome)
    assert Outcome(outcome(State.FAILED, "dependency_failed")) is Outcome.NOT_RUN
    assert Outcome(outcome(State.SUCCEEDED, "reused")) is Outcome.REUSED


def test_what_never_ran_is_not_counted_as_failed() -> None:
    rows = Rows()
    request = rows.ask("five", needs=WIDE)
    rows.finish(job(request, "one"))
    fail(rows, request, "two")
    assert outcomes(request) == {Outcome.FAILED: 1, Outcome.NOT_RUN: 3, Outcome.SUCCEEDED: 1}
    text = card(request)
    assert "1 failed: <code>two</code>." in text
    assert "3 did not run: <code>three</code> and 2 others." in text
    assert "1 ran and succeeded" in text
    assert "failed 5 actions, the last ended" in standing(request)
    assert standing(request).endswith(": 1 failed, 3 did not run, 1 ran and succeeded")


def test_a_row_tells_apart_what_ran_and_what_was_reused() -> None:
    rows = Rows()
    rows.finish(job(rows.ask("one", needs=WIDE), "one"))
    second = rows.ask("two", needs=WIDE)
    rows.finish(job(second, "two"))
    assert "1 ran and succeeded, 1 reused from an earlier run" in card(second)
    third = rows.ask("three", needs=WIDE)
    rows.finish(job(third, "three"))
    assert outcomes(third) == {Outcome.SUCCEEDED: 1, Outcome.REUSED: 1}
    forced = rows.ask("two", needs=WIDE, force=True)
    for name in ("one", "two"):
        rows.finish(job(forced, name))
    assert "2 ran and succeeded</span>" in card(forced)


def test_only_a_request_that_succeeded_altogether_has_a_green_tick() -> None:
    rows = Rows()
    request = rows.ask("two", "other", needs=WIDE | {"other": ()})
    rows.finish(job(request, "other"))
    fail(rows, request, "one")
    good = rows.ask("other", needs={"other": ()}, branch="good")
    rows.finish(job(good, "other"))
    for path in ("/", "/runs", "/projects/north-study"):
        assert GREEN not in card(request, path)
        assert "1 ran and succeeded" in card(request, path)
        assert GREEN in card(good, path)
    counters = Client(HTTP_HOST="localhost").get("/").content.decode().split("</ul>")[1]
    assert "ended today" in counters
    assert GREEN not in counters


def test_rows_of_one_project_name_what_was_asked_for() -> None:
    rows = Rows()
    few = rows.ask("one", "two", needs=WIDE, branch="a")
    many = rows.ask(*WIDE, needs=WIDE, branch="b")
    assert few is not None
    for path in ("/", "/runs", "/projects/north-study", "/backends/north"):
        assert "<code>one</code>, <code>two</code></span></a>" in card(few, path)
        assert "<code>one</code>, <code>two</code>, <code>three</code> and 2 more</span></a>" in card(
            many, path
        )
        assert f"<code>{few.request_id[:8]}</code>" in card(few, path)
    text = Client(HTTP_HOST="localhost").get(f"/jobs/{few.request_id}").content.decode()
    assert "<title>one and 1 more \N{EN DASH} A study \N{EN DASH} jobrunner</title>" in text


def test_names_are_cut_and_shown_as_text() -> None:
    assert names(["a"], 3) == "<code>a</code>"
    assert names(["a", "b", "c", "d"], 3).endswith("<code>c</code> and 1 more")
    assert names(["<b>"], 3) == "<code>&lt;b&gt;</code>"
    assert in_short(["a"]) == "a"
    assert in_short(["a", "b", "c"]) == "a and 2 more"


def test_what_runs_says_since_when_and_for_how_long() -> None:
    rows = Rows()
    request = rows.ask("other", needs={"other": ()})
    assert request is not None
    rows.claim(job(request, "other"))
    (part,) = digest([request.pk], now=BEGIN)[0].parts
    assert part.first.started_at == BEGIN
    for path in ("/", "/backends/north"):
        text = card(request, path)
        assert 'Started <time datetime="2026-03-01T12:00:00Z">1 Mar 2026, 12:00</time>' in text
        assert re.search(r'<span class="elapsed">\d+ h \d+ min</span> ago', text)
    page = Client(HTTP_HOST="localhost").get(f"/jobs/{request.request_id}").content.decode()
    assert re.search(r'<dt>So far</dt><dd><span class="elapsed">\d+ h \d+ min</span></dd>', page)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "less than a minute"),
        (59, "less than a minute"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h 0 min"),
        (93784, "26 h 3 min"),
    ],
)
def test_how_long_is_told_in_whole_minutes(seconds: int, shown: str) -> None:
    assert elapsed(BEGIN, BEGIN + timedelta(seconds=seconds)) == f'<span class="elapsed">{shown}</span>'
