"""A controller that lies in every way that a message allows, and the real agent (P02, P05, P06 and O11).

The lies are the table of `tests/evil_controller`: `python -m tests.evil_controller` prints what comes of it.
"""

import base64
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.evil_controller.__main__ import faults
from tests.evil_controller.canaries import PLACES, found_in, traces
from tests.evil_controller.lies_in_approvals import APPROVALS
from tests.evil_controller.parade import FAMILIES, TABLE, Parade, open_parade
from tests.evil_controller.server import EvilController
from tests.evil_controller.setting import open_setting

pytest_plugins = ["tests.fixtures.engine"]


@pytest.fixture(scope="module")
def parade(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parade]:
    with open_parade(tmp_path_factory.mktemp("parade")) as opened:
        yield opened


def check(parade: Parade, family: str) -> None:
    """Each lie comes to what the table says, nothing is made, and nothing leaves but the closed lists."""
    for lie in FAMILIES[family]:
        assert faults(lie, parade.seen(lie)) == [], f"{lie.id}: {lie.tells}"
    assert sum(parade.seen(lie).containers for lie in FAMILIES[family]) == 0
    assert parade.leaked() == []
    assert parade.unlisted() == []


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.http
def test_P02_each_lie_in_an_offer_has_its_reason_and_its_line_and_starts_nothing(parade: Parade) -> None:
    check(parade, "offers")


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.http
def test_P02_each_lie_about_a_job_has_its_reason_and_its_line_and_starts_nothing(parade: Parade) -> None:
    check(parade, "jobs")


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.http
def test_P02_each_lie_about_the_code_has_its_reason_and_its_line_and_starts_nothing(parade: Parade) -> None:
    check(parade, "code")


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.http
def test_P02_each_lie_about_an_approval_has_its_reason_and_its_line_and_starts_nothing(
    parade: Parade,
) -> None:
    check(parade, "approvals")


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.http
def test_P06_each_lie_in_a_message_has_its_reason_and_its_line_and_starts_nothing(parade: Parade) -> None:
    check(parade, "messages")


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.http
def test_P05_each_lie_on_the_line_has_its_line_and_starts_nothing(parade: Parade) -> None:
    check(parade, "lines")


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.http
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_P05_where_https_is_demanded_nothing_less_is_taken(parade: Parade) -> None:
    check(parade, "over tls")


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.http
def test_O11_twin_the_canaries_are_inside_and_a_good_offer_runs(parade: Parade) -> None:
    setting = parade.plain
    setting.lies_begin()
    job = setting.offer(setting.fields())
    setting.runs(job)
    assert setting.containers == 2  # made, and started
    setting.cancel(job)
    process = setting.agent.process.pid
    inside = [path.read_bytes() + str(path).encode() for path in setting.folder.rglob("*") if path.is_file()]
    inside.append(Path(f"/proc/{process}/environ").read_bytes())
    # The page of the git host is not kept at all.
    kept = set(PLACES) - {"page of the git host"}
    assert sorted(kept - set(found_in(b"\0".join(inside), setting.canaries))) == []
    assert parade.leaked() == []
    assert parade.unlisted() == []


@pytest.mark.unit
def test_every_lie_has_a_name_of_its_own() -> None:
    assert len({lie.id for lie in TABLE}) == len(TABLE)
    assert len({lie.tells for lie in TABLE}) == len(TABLE)


@pytest.mark.unit
@pytest.mark.parametrize("before", range(4))
def test_O11_twin_a_canary_is_found_however_it_is_written(before: int) -> None:
    word = f"canary{secrets.token_hex(8)}"
    around = b"x" * before + word.encode() + b"yz"
    forms = [around, around.upper(), around.hex().encode(), base64.b64encode(around), around[::-1]]
    assert all(found_in(b"POST " + form, {"place": word}) == ["place"] for form in forms)
    assert found_in(b"POST nothing of it " + word[:-1].encode(), {"place": word}) == []
    assert all(traces(word))


@pytest.mark.docker
def test_P02_twin_with_a_real_engine_the_good_offer_runs_and_no_lie_makes_a_container(
    tmp_path: Path, engine: Any, python_v2_image: str
) -> None:
    backend = f"evil-{secrets.token_hex(4)}"
    images = {"python:v2": {"id": python_v2_image, "entrypoint": ["/usr/local/bin/run-action", "python3"]}}
    changes = {"backend": backend, "images": images, "database": None}
    with (
        EvilController(hold_s=0.05) as controller,
        open_setting(tmp_path, controller, engine="real", **changes) as setting,
    ):

        def count() -> int:
            """Containers of this site that the engine itself says were made or started."""
            told = engine.events(
                since=began,
                until=time.time(),
                filters={
                    "type": "container",
                    "event": ["create", "start"],
                    "label": f"jobrunner.agent={backend}",
                },
                decode=True,
            )
            return len(list(told))

        began = time.time()
        setting.count = count
        fields = setting.fields()
        job = setting.offer(fields)
        assert setting.outcome(job) == ("completed", "")
        assert setting.containers == 2  # made, and started
        setting.all_told()

        setting.lies_begin()
        for lie in APPROVALS:
            if not lie.id.startswith("database"):
                about = lie.play(setting)
                assert about is not None
                assert setting.outcome(*about) == (lie.reason, lie.detail), lie.id
        setting.offer(fields)
        assert setting.outcome(job, 2) == ("site_policy", "malformed")
        assert setting.containers == 0
    assert found_in(controller.received, setting.canaries) == []
