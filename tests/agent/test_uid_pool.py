"""P17 and S10, unit part: the users of jobs are nobody else's on the machine, or the agent does not start."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from jobrunner.agent import service, uid_pool
from jobrunner.agent.journal import Journal
from jobrunner.agent.policy import PolicyProblem, load_site
from jobrunner.agent.service import Agent, serve
from jobrunner.agent.uid_pool import Accounts, check_ids, shared_ids
from jobrunner.cli.agent import app
from jobrunner.executors.base import JOB_UIDS
from tests.agent.policies import write_site
from tests.evil_controller.idle_engine import IdleEngine

pytestmark = pytest.mark.unit

FIRST_ACCOUNT = "alice:100000:65536\n"
SECOND_ACCOUNT = "bob:165536:65536\n"


@pytest.fixture
def machine(tmp_path: Path) -> Accounts:
    """A machine as Debian makes it with one account: each has a range of its own below the pool."""
    for name in ("subuid", "subgid"):
        (tmp_path / name).write_text(FIRST_ACCOUNT)
    return Accounts(tmp_path / "subuid", tmp_path / "subgid", lambda _uid: None, lambda _gid: None)


def test_P17_twin_the_first_account_of_a_machine_is_in_nobodys_way(machine: Accounts) -> None:
    assert check_ids("production", machine) == []
    machine.subuid.write_text("")
    machine.subgid.unlink()
    assert check_ids("production", machine) == []


@pytest.mark.parametrize("name", ["subuid", "subgid"])
@pytest.mark.parametrize(
    "line",
    [
        "bob:165536:65536",
        "1001:165536:65536",
        "bob:200000:1",
        "bob:200255:1",
        "bob:1:4294967294",
        "root:200100:9",
    ],
)
def test_S10_an_account_whose_range_holds_users_of_jobs_stops_the_start(
    machine: Accounts, name: str, line: str
) -> None:
    file: Path = getattr(machine, name)
    file.write_text(f"# who may have which\n\n{FIRST_ACCOUNT}{line}\n")
    with pytest.raises(PolicyProblem) as caught:
        check_ids("production", machine)
    owner, first, count = line.split(":")
    said = str(caught.value)
    assert said.startswith(f"uid pool: line 4 of {file} gives '{owner}' the ")
    assert f" {first}-{int(first) + int(count) - 1}, and jobs have 200000-200255, " in said
    assert f"--del-{name}s {first}-" in said


@pytest.mark.parametrize("line", ["bob:199999:1", "bob:200256:65536", "bob:200100:0", "bob:0:200000"])
def test_S10_twin_a_range_beside_the_pool_is_nobodys_harm(machine: Accounts, line: str) -> None:
    machine.subuid.write_text(line)
    assert shared_ids(machine) == []


@pytest.mark.parametrize(
    "line",
    ["bob", "bob:165536", "bob:165536:65536:", ":165536:65536", "bob:0x30d40:9", "bob:0606500:9", "bob: 1:9",
     "bob:-1:9", "bob::9", "bob:1:", "bob:1:9\r", "bob:\u0661:9", "bob:99999999999:9"],
)  # fmt: skip
def test_P17_a_line_that_cannot_be_told_stops_the_start(machine: Accounts, line: str) -> None:
    machine.subgid.write_text(FIRST_ACCOUNT + line + "\n", newline="")
    with pytest.raises(PolicyProblem, match=r"^uid pool: line 2 of .* is not NAME:FIRST:COUNT; correct"):
        check_ids("production", machine)


def test_P17_a_file_that_cannot_be_read_stops_the_start(machine: Accounts) -> None:
    machine.subuid.write_bytes(b"\xff\xfe")
    machine.subgid.unlink()
    machine.subgid.mkdir()
    assert [sentence.endswith("cannot be read; make it a text file that root can read.")
            for sentence in shared_ids(machine)] == [True, True]  # fmt: skip


@pytest.mark.parametrize("number", [JOB_UIDS[0], JOB_UIDS[77], JOB_UIDS[-1]])
def test_S10_a_user_or_group_of_the_pool_stops_the_start(machine: Accounts, number: int) -> None:
    def named(one: int) -> str | None:
        return "carol" if one == number else None

    for crowded, who in (
        (replace(machine, user_named=named), f"the user 'carol' has uid {number}"),
        (replace(machine, group_named=named), f"the group 'carol' has gid {number}"),
    ):
        with pytest.raises(PolicyProblem, match=f"^uid pool: {who}, and jobs have 200000-200255"):
            check_ids("production", crowded)


@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_S10_exactly_the_ranges_that_meet_the_pool_are_found(
    tmp_path_factory: pytest.TempPathFactory, first: int, count: int
) -> None:
    file = tmp_path_factory.getbasetemp() / "subuid-of-any"
    file.write_text(f"bob:{first}:{count}\n")
    absent = file.with_name("absent")
    meets = any(one in range(first, first + count) for one in JOB_UIDS)
    assert bool(shared_ids(Accounts(file, absent, lambda _uid: None, lambda _gid: None))) == meets


def test_P17_the_agent_asks_before_it_touches_anything(site_folder: Path, machine: Accounts) -> None:
    machine.subuid.write_text(FIRST_ACCOUNT + SECOND_ACCOUNT)
    place = write_site(site_folder, mode="production")
    with pytest.raises(PolicyProblem, match="gives 'bob' the uids 165536-231071"):
        serve(place, machine)
    assert not (site_folder / "state").exists()


@pytest.mark.parametrize("mode", ["dev", "test"])
def test_P17_a_site_without_real_data_starts_and_says_so(
    site_folder: Path, machine: Accounts, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.subuid.write_text(FIRST_ACCOUNT + SECOND_ACCOUNT)
    place = write_site(site_folder, mode=mode)
    monkeypatch.setattr(service, "DockerExecutor", lambda _work: IdleEngine())
    monkeypatch.setattr(service, "_log_to_stderr", lambda: None)
    monkeypatch.setattr(Agent, "run", lambda _agent: 0)
    assert serve(place, machine) == 0
    [incident] = Journal(load_site(place).state / "agent.db").incidents(5)
    assert "gives 'bob' the uids 165536-231071" in incident[-1]


def test_P17_a_first_policy_is_written_with_the_warning(
    tmp_path: Path, machine: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.subuid.write_text(SECOND_ACCOUNT)
    monkeypatch.setattr(uid_pool, "shared_ids", lambda: shared_ids(machine))
    words = ["init", str(tmp_path / "etc"), "--backend", "north", "--controller", "https://jobs.example.org",
             "--git", "https://git.example.org/org", "--data", str(tmp_path / "data")]  # fmt: skip
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0
    assert "Warning: uid pool: line 1 of" in done.output
    assert (tmp_path / "etc/agent.toml").exists()
