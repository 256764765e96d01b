"""One served controller for all tests of this room; each test gets a site of its own on it."""

import os
from collections.abc import Iterator

import django
import pytest

from tests.fixtures.controller_server import ControllerServer
from tests.fixtures.controller_sites import Site, a_batch, served_sites, supply

# For the tests in process: the settings without any variable keep nothing.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jobrunner.controller.settings")
django.setup()


@pytest.fixture(scope="session")
def sites(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Iterator[Site]]:
    with served_sites(tmp_path_factory.mktemp("controller"), count=a_batch(request.session)) as made:
        yield supply(made)


@pytest.fixture
def site(sites: Iterator[Site]) -> Site:
    return next(sites)


@pytest.fixture
def other_site(sites: Iterator[Site]) -> Site:
    return next(sites)


@pytest.fixture
def server(site: Site) -> ControllerServer:
    return site.server
