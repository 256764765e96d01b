"""One controller with a request in every state, and one browser, for all tests of what people see."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.fixtures.public_scene import Scene, public_scene

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with public_scene(tmp_path_factory.mktemp("scene")) as made:
        yield made


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        if "browser" in os.environ.get("JOBRUNNER_REQUIRE", "").split(","):
            pytest.fail("chromium is not there, but JOBRUNNER_REQUIRE asks for it")
        pytest.skip("chromium is not there")
    with sync_playwright() as playwright:
        # Chromium's own sandbox does not work for root.
        found = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)
        yield found
        found.close()
