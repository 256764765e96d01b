from pathlib import Path

import pytest

from tests.agent.approvers import Approver


@pytest.fixture(scope="session")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Approver:
    return Approver.create(tmp_path_factory.mktemp("alice"), "alice")


@pytest.fixture(scope="session")
def bob(tmp_path_factory: pytest.TempPathFactory) -> Approver:
    return Approver.create(tmp_path_factory.mktemp("bob"), "bob")


@pytest.fixture
def site_folder(tmp_path: Path) -> Path:
    return tmp_path / "site"
