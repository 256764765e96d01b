"""The public pages in a real browser: for everyone, on every screen, with and without scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from jobrunner.sync.vocabulary import Reason
from tests.fixtures.public_scene import Scene

pytestmark = pytest.mark.browser

PATHS = [
    "/",
    "/runs",
    "/runs?state=cancelled&from=2020-01-01",
    "/runs?state=failed&to=2020-01-01",
    "/runs?state=wrong",
    "{running}",
    "{failed}",
    "{failed}?state=failed",
    "{refused}",
    "{pending}",
    "{running}/history",
    "/projects/",
    "/projects/winter-vaccines",
    "/backends/",
    "/backends/south",
    "/about",
    "/nothing",
]


@contextmanager
def opened(
    browser: Browser, scene: Scene, path: str, *, width: int = 1280, **settings: Any
) -> Iterator[Page]:
    """A page of the scene, settled."""
    context = browser.new_context(viewport={"width": width, "height": 800}, **settings)
    try:
        page = context.new_page()
        pages = {name: scene.page(name) for name in scene.requests}
        page.goto(scene.url + path.format(**pages))
        yield page
    finally:
        context.close()


def until_live(page: Page) -> None:
    """Wait until a page that keeps itself up to date does so."""
    if page.locator("#live").count():
        expect(page.locator("#connection")).to_have_text("Live")


def timeless(text: str) -> str:
    """The text without how long something has been going on, which may change while we look."""
    return re.sub(r"less than a minute|\d+ min", "a while", text)


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than the screen."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.mark.parametrize("path", PATHS)
def test_everyone_can_read_it(browser: Browser, scene: Scene, path: str) -> None:
    with opened(browser, scene, path) as page:
        until_live(page)
        for width, scheme in product((1280, 320), ("light", "dark")):
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme=scheme)
            found = Axe().run(page)
            assert found.violations_count == 0, f"{width} {scheme}: {found.generate_report()}"
            assert overflow(page) <= 0
        page.set_viewport_size({"width": 640, "height": 800})
        page.evaluate("document.documentElement.style.setProperty('font-size', '200%')")
        assert float(page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)")) == 32
        assert overflow(page) <= 0


def test_the_rules_of_accessibility_are_really_looked_at(browser: Browser, scene: Scene) -> None:
    with opened(browser, scene, "/about") as page:
        page.evaluate("document.querySelector('main').innerHTML += '<img src=/static/feed/icon.svg>'")
        assert [found["id"] for found in Axe().run(page).response["violations"]] == ["image-alt"]
        page.evaluate("document.querySelector('h1').className = 'wide'")
        page.evaluate("document.querySelector('h1').style.width = '3000px'")
        assert overflow(page) > 0


@pytest.mark.parametrize("path", PATHS)
def test_without_scripts_a_page_says_the_same(browser: Browser, scene: Scene, path: str) -> None:
    with opened(browser, scene, path, java_script_enabled=False) as page:
        plain = timeless(page.locator("main").inner_text())
        expect(page.locator(".foot")).to_contain_text("load the page again")
        expect(page.locator("#connection")).to_be_hidden()
    with opened(browser, scene, path) as page:
        until_live(page)
        assert timeless(page.locator("main").inner_text()) == plain


def test_nothing_is_asked_of_another_host_and_nothing_is_blocked(browser: Browser, scene: Scene) -> None:
    asked: list[str] = []
    said: list[str] = []
    names = {name: scene.page(name) for name in scene.requests}
    with opened(browser, scene, "/about") as page:
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        for path in PATHS:
            page.goto(scene.url + path.format(**names))
    host = urlsplit(scene.url).netloc
    assert {urlsplit(url).netloc for url in asked} == {host}
    assert any(url.endswith("live.js") for url in asked)
    # The browser notes the two pages that are refused on purpose.
    assert not [text for text in said if "Failed to load resource" not in text]


def test_the_focus_can_be_seen_wherever_it_goes(browser: Browser, scene: Scene) -> None:
    with opened(browser, scene, "{running}") as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        seen = 0
        for _ in range(25):
            page.keyboard.press("Tab")
            width, style, box = page.evaluate(
                """() => {
                    const found = document.activeElement, style = getComputedStyle(found);
                    return [parseFloat(style.outlineWidth), style.outlineStyle,
                            found.getBoundingClientRect().width];
                }"""
            )
            assert (width, style) == (3, "solid")
            assert box > 0
            seen += 1
        assert seen == 25


@pytest.mark.parametrize(("width", "is_shown"), [(1280, False), (360, True)])
def test_a_drawing_that_is_cut_says_that_it_can_be_scrolled(
    browser: Browser, scene: Scene, width: int, is_shown: bool
) -> None:
    with opened(browser, scene, "{broken}", width=width) as page:
        drawing = page.locator(".drawing")
        assert drawing.evaluate("found => found.scrollWidth > found.clientWidth") == is_shown
        expect(page.locator(".hint")).to_be_visible(visible=is_shown)


def test_on_a_phone_no_row_of_a_table_is_cut(browser: Browser, scene: Scene) -> None:
    with opened(browser, scene, "{running}/history", width=360) as page:
        table = page.locator("table")
        assert table.evaluate("found => found.scrollWidth <= found.parentElement.clientWidth")
        row = page.locator("tbody tr").last
        row.scroll_into_view_if_needed()
        expect(row.get_by_text("model_uptake_by_region")).to_be_in_viewport(ratio=1)
        expect(row).to_contain_text("preparing")
        # It stays a table for who cannot see it.
        expect(page.get_by_role("row").first).to_contain_text("When")
        expect(page.get_by_role("cell").first).to_be_visible()


def test_the_time_in_the_footer_is_written_alike_before_and_after_an_update(
    browser: Browser, scene: Scene
) -> None:
    form = re.compile(r"^[1-9]\d? [A-Z][a-z]{2} \d{4}, \d\d:\d\d:\d\d$")
    with opened(browser, scene, "/", java_script_enabled=False) as page:
        expect(page.locator("#made")).to_have_text(form)
    with opened(browser, scene, "/") as page:
        expect(page.locator("#connection")).to_have_text("Live")
        page.evaluate("document.getElementById('made').textContent = ''")
        asked = scene.north.ask("extract_cohort")
        expect(page.locator("#made")).to_have_text(form)
    scene.north.agent().run(asked["jobs"][0]["job_id"])


def test_states_can_be_told_apart_without_colour(browser: Browser, scene: Scene) -> None:
    with opened(browser, scene, "/") as page:
        for state in page.locator(".state").all():
            assert state.locator("svg").count() == 1
            assert state.inner_text().strip()


def test_a_change_arrives_by_itself_and_leaves_the_rest_in_peace(browser: Browser, scene: Scene) -> None:
    site = scene.north
    asked = site.ask("extract_vaccinations")
    path = f"/jobs/{asked['request_id']}"
    with opened(browser, scene, path) as page:
        expect(page.locator("#connection")).to_have_text("Live")
        expect(page.locator(".standing.large")).to_contain_text("waiting")
        page.evaluate("window.neverReloaded = true")
        page.locator("summary", has_text="The same in words").click()
        link = page.get_by_role("link", name="The same as JSON")
        link.focus()
        scrolled = page.evaluate("scrollY")
        agent = site.agent()
        job = asked["jobs"][0]["job_id"]
        lease = agent.claim(job)
        expect(page.locator(".standing.large")).to_contain_text("running")
        expect(page.locator("#announcements")).to_contain_text("extract_vaccinations: running")
        expect(page.locator(".plain")).to_contain_text(": running")
        agent.end(job, lease)
        expect(page.locator(".standing.large")).to_contain_text("succeeded")
        assert page.evaluate("window.neverReloaded")
        expect(link).to_be_focused()
        expect(page.locator("details").first).to_have_attribute("open", "")
        assert abs(page.evaluate("scrollY") - scrolled) < 200


def test_the_front_page_moves_a_run_from_waiting_to_finished(browser: Browser, scene: Scene) -> None:
    site = scene.north
    with opened(browser, scene, "/") as page:
        expect(page.locator("#connection")).to_have_text("Live")
        asked = site.ask("extract_cohort")
        card = f"#r-{asked['request_id']}"
        expect(page.locator(f"section[aria-labelledby=waiting] {card}")).to_be_visible()
        site.agent().run(asked["jobs"][0]["job_id"])
        expect(page.locator(f"section[aria-labelledby=finished] {card}")).to_be_visible()
        expect(page.locator(card)).to_have_count(1)


def test_a_page_says_so_when_it_is_cut_off_and_when_it_is_back(browser: Browser, scene: Scene) -> None:
    with opened(browser, scene, "/") as page:
        connection = page.locator("#connection")
        expect(connection).to_have_text("Live")
        scene.north.server.restart()
        expect(connection).to_have_text("Reconnecting; this may be out of date", timeout=15000)
        expect(page.locator(".reload")).to_be_visible()
        expect(connection).to_have_text("Live", timeout=30000)


def test_a_hidden_page_asks_for_nothing_until_it_is_seen_again(browser: Browser, scene: Scene) -> None:
    site = scene.north
    hide = """(hidden) => {
        Object.defineProperty(document, "hidden", {get: () => hidden, configurable: true});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    with opened(browser, scene, "/") as page:
        expect(page.locator("#connection")).to_have_text("Live")
        page.wait_for_timeout(1500)
        page.evaluate(hide, True)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        made = site.ask("extract_cohort")
        page.wait_for_timeout(2500)
        assert asked == []
        page.evaluate(hide, False)
        expect(page.locator(f"#r-{made['request_id']}").first).to_be_visible()
        agent = site.agent()
        job = made["jobs"][0]["job_id"]
        agent.end(job, agent.claim(job), Reason.COMPLETED)


def test_the_form_finds_what_is_chosen(browser: Browser, scene: Scene) -> None:
    with opened(browser, scene, "/") as page:
        page.get_by_label("State").select_option("refused")
        page.get_by_label("Data centre").select_option("south")
        page.get_by_role("button", name="Show").click()
        assert "state=refused" in page.url
        expect(page.locator(f"#r-{scene.requests['refused']}")).to_be_visible()
        expect(page.locator(".card")).to_have_count(1)
        expect(page.get_by_label("State")).to_have_value("refused")
        page.get_by_role("link", name="Clear").click()
        assert page.url.endswith("/runs")


def test_a_printed_page_has_no_controls(browser: Browser, scene: Scene) -> None:
    with opened(browser, scene, "/runs") as page:
        page.emulate_media(media="print")
        expect(page.locator(".filters")).to_be_hidden()
        expect(page.get_by_role("navigation", name="Main")).to_be_hidden()
        expect(page.locator(".card").first).to_be_visible()
