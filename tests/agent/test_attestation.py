"""What an attestation says, what it never says, and that an altered one is not believed."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.agent import attest
from jobrunner.agent.agent_key import agent_key
from jobrunner.agent.attest import CannotAttest, signature_of, verified, write_signed
from jobrunner.agent.attestation import (
    OTHER,
    Attestation,
    ImageTried,
    Running,
    Standing,
    answer,
    word,
)
from jobrunner.agent.attestation_text import GROUPS, NAMESPACE, TITLE, text_of, verdict
from jobrunner.agent.canary import own_grounds
from jobrunner.agent.canary_findings import WALLS, Tried, judged
from jobrunner.agent.control import ControlSocket, Word
from jobrunner.agent.dispatch import checking_uid_of, uid_of
from jobrunner.agent.overview import HALTED
from jobrunner.agent.policy import MOST_SLOTS, Site, load_site
from jobrunner.executors.base import Limits
from jobrunner.sync.ssh_signatures import sign
from tests.agent.policies import IMAGE_ID, write_site
from tests.agent.test_canary_findings import CANARY, GOOD

pytestmark = pytest.mark.unit

BESIDE = (
    Tried("memory", "take more memory than the limit", True, "killed, out of memory"),
    Tried("heard", "be heard by a listener of the host", True, "silence"),
    Tried("tree", "change the tree that it was given", True, "unchanged"),
)
ALL = (*judged("".join(f"{name} {value}\n" for name, value in GOOD.items()).encode(), CANARY), *BESIDE)
IMAGE = ImageTried(("python:v2",), IMAGE_ID, Standing.TRIED, ALL)


def attestation(*images: ImageTried, **changes: Any) -> Attestation:
    made = Attestation(
        site="site-one", at=1_700_000_000, mode="test", version="1.0", policy="a" * 64, profile="b" * 64,
        probe="c" * 64, runtime="runc", engine=(("Engine", "20.10"),), kernel="6.1", machine="x",
        cgroup=2, limits=Limits(), running=Running.NONE, images=images,
    )  # fmt: skip
    return replace(made, **changes)


def opened(name: str, seen: str) -> ImageTried:
    """An image in which this wall did not hold."""
    return replace(
        IMAGE, tried=tuple(replace(one, held=False, seen=seen) if one.name == name else one for one in ALL)
    )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return load_site(write_site(tmp_path / "SECRETPLACE", credential="SECRETWORD" * 4))


def lines(made: Attestation, site: Site) -> list[str]:
    return text_of(made, agent_key(site).public_key()).split("\n")


# --- what it says ---


def test_every_wall_has_its_place_and_stands_there_once(site: Site) -> None:
    grouped = [name for _title, names in GROUPS for name in names]
    assert sorted(grouped) == sorted([*WALLS, *(one.name for one in BESIDE)])
    text = "\n".join(lines(attestation(IMAGE), site))
    for one in ALL:
        assert text.count(f"    held  {one.tried} ") == 1
    assert OTHER not in text
    assert "OPEN" not in text


def test_walls_that_held_are_said_to_have_held_and_nothing_else_is(site: Site) -> None:
    assert lines(attestation(IMAGE), site)[:4] == [
        TITLE,
        "",
        f"EVERY WALL HELD: {len(ALL)} of {len(ALL)} attempts, in 1 image.",
        "Site site-one, 2023-11-14 22:13:20 UTC.",
    ]
    absent, no_perl, broken = (
        replace(IMAGE, standing=standing, tried=())
        for standing in (Standing.ABSENT, Standing.NO_PERL, Standing.BROKEN)
    )
    assert attestation(IMAGE, absent, no_perl).held
    for images in (
        (),
        (absent,),
        (no_perl,),
        (IMAGE, broken),
        (replace(IMAGE, tried=()),),
        (IMAGE, opened("files", "9")),
    ):
        assert not attestation(*images).held
        assert "Do not rely on this sandbox" in verdict(attestation(*images))


def test_an_open_wall_is_named_at_the_head_and_in_its_line(site: Site) -> None:
    said = lines(attestation(IMAGE, opened("processes", "100")), site)
    assert said[2] == (
        f"NOT EVERY WALL HELD: 1 of {2 * len(ALL)} attempts got through. Do not rely on this sandbox."
    )
    assert said[4] == "  OPEN in python:v2: start more processes than the limit"
    assert [line for line in said if line.startswith("    OPEN")] == [
        f"    OPEN  {'start more processes than the limit':<52} stopped at 100, limit 32"
    ]


def test_an_image_with_the_same_answers_is_not_told_at_length(site: Site) -> None:
    other = replace(IMAGE, names=("r:v2", "r:v3"), image_id="sha256:" + "2" * 64)
    said = lines(attestation(IMAGE, other), site)
    place = said.index(f"r:v2, r:v3  sha256:{'2' * 64}")
    assert said[place + 1] == f"  {len(ALL)} of {len(ALL)} held, with the same answers as in python:v2."
    differs = replace(other, tried=opened("files", "995").tried)
    assert f"  {len(ALL) - 1} of {len(ALL)} held:" in lines(attestation(IMAGE, differs), site)


@pytest.mark.parametrize("standing", [Standing.ABSENT, Standing.NO_PERL, Standing.BROKEN])
def test_an_image_that_was_not_tried_says_why(site: Site, standing: Standing) -> None:
    said = lines(attestation(replace(IMAGE, standing=standing, tried=())), site)
    assert f"  {standing.value}." in said
    assert not [line for line in said if line.startswith("    held")]
    assert "attacked its own sandbox" not in "\n".join(said)


# --- what it never says ---


@pytest.mark.parametrize(
    ("name", "seen", "said"),
    [
        ("folder", "ok", "it did"),
        ("folder", "list", OTHER),
        ("user", "200253 200253 200254 200254", "user 200253, group 200254"),
        ("user", "0 0 0 1", OTHER),
        ("capabilities", "0" * 79 + "1", OTHER),
        ("interfaces", "eth0,lo", OTHER),
        ("reach_metadata", "ENETUNREACH", "network is unreachable (ENETUNREACH)"),
        ("reach_metadata", "it worked", "IT WORKED"),
        ("call_bpf", "EPERM", "operation not permitted (EPERM)"),
        ("call_bpf", "/var/lib/secret", OTHER),
        ("tmp_bytes", "4194304", "stopped at 4.0 MiB, limit 4.0 MiB"),
        ("tmp_bytes", "9" * 200, OTHER),
        ("files", "x", OTHER),
        ("memory", "exit 0", "IT WAS NOT KILLED: exit 0"),
        ("memory", "exit /etc/passwd", OTHER),
        ("heard", "a caller", "THE LISTENER HEARD IT"),
        ("tree", "changed", "IT WAS CHANGED"),
        ("files", "nothing was told", "nothing was told"),
        ("report", "unknown lines", "unknown lines"),
    ],
)
def test_an_answer_has_one_of_a_few_forms(name: str, seen: str, said: str) -> None:
    assert answer(Tried(name, "", False, seen)) == said


@given(st.sampled_from([*WALLS, "memory", "heard", "tree", "report"]), st.text(max_size=60))
def test_no_word_of_what_ran_inside_is_written_down(name: str, seen: str) -> None:
    said = answer(Tried(name, "", False, seen))
    assert said == OTHER or re.fullmatch(r"[0-9]+", seen) or seen in ("ok", "lo")


@pytest.mark.parametrize("text", ["", "a b", "/srv/x", "a" * 65, "a\n", "\x1b[2J", "\u202e"])
def test_a_version_without_the_form_of_one_is_not_written_down(text: str) -> None:
    assert word(text) == "(of unknown form)"
    assert word("1.1.5+ds1-1~bpo12_x") == "1.1.5+ds1-1~bpo12_x"


def test_no_secret_and_no_place_of_the_site_is_in_a_report(site: Site, tmp_path: Path) -> None:
    found = attest._attestation(
        site, (opened("reach_metadata", "SECRETWORD"),), "Engine=20.10 x=/SECRETPLACE"
    )
    write_signed(site, found, tmp_path / "report.txt")
    for place in (tmp_path / "report.txt", tmp_path / "report.txt.sig"):
        content = place.read_bytes()
        assert b"SECRET" not in content
        assert b"PRIVATE" not in content
        assert str(tmp_path).encode() not in content
    said = (tmp_path / "report.txt").read_text()
    assert all(line.isascii() and line.isprintable() for line in said.split("\n"))
    assert site.digest in said
    assert "x (of unknown form)" in said


# --- the agent that runs ---


def test_whether_the_agent_that_runs_has_this_policy(site: Site) -> None:
    site.state.mkdir(parents=True)
    assert attest._running(site) is Running.NONE
    told: dict[str, Any] = {"policy": site.digest, "version": attest.__version__}
    socket = ControlSocket(site.state, {Word.STATUS: lambda: told})
    try:
        assert attest._running(site) is Running.SAME
        told["state"] = HALTED
        assert attest._running(site) is Running.HALTED
        told["policy"] = "0" * 64
        assert attest._running(site) is Running.OTHER
        told |= {"policy": site.digest, "version": "0"}
        assert attest._running(site) is Running.OTHER
        told.clear()
        assert attest._running(site) is Running.OTHER
    finally:
        socket.close()


def test_it_runs_as_nobody_else_does(site: Site) -> None:
    others = {place(slot) for slot in range(MOST_SLOTS) for place in (uid_of, checking_uid_of)}
    assert not {*attest._UIDS} & (others | {*own_grounds(site).uids})


class NoImage:
    """An engine that has no image; keeps what it was asked to sweep."""

    def __init__(self) -> None:
        self.swept: list[str] = []

    def sweep(self, agent_id: str, keep: object) -> list[str]:
        assert not keep
        self.swept.append(agent_id)
        return []

    def engine_version(self) -> str:
        return "Engine=20.10"

    def image_size(self, _image_id: str) -> None:
        return None


def test_it_takes_away_nothing_that_is_the_agents(site: Site, tmp_path: Path) -> None:
    engine = NoImage()
    found = attest._try_images(site, engine, tmp_path / "place")  # type: ignore[arg-type]
    assert [image.standing for image in found.attestation.images] == [Standing.ABSENT]
    (swept,) = engine.swept
    assert re.fullmatch(r"attest-[0-9a-f]{32}", swept)
    attest._try_images(site, engine, tmp_path / "elsewhere")  # type: ignore[arg-type]
    assert engine.swept[1] != swept


# --- the signed files ---


@pytest.fixture
def report(site: Site, tmp_path: Path) -> Path:
    place = tmp_path / "report.txt"
    write_signed(site, attestation(IMAGE), place)
    return place


def test_a_report_as_it_was_written_is_believed(site: Site, report: Path) -> None:
    found, where = verified(report, agent_key(site).public_key())
    assert found == f"EVERY WALL HELD: {len(ALL)} of {len(ALL)} attempts, in 1 image."
    assert where == "Site site-one, 2023-11-14 22:13:20 UTC."


@pytest.mark.parametrize(
    "alter",
    [
        lambda text: text.replace("EVERY", "every", 1),
        lambda text: text.replace("held", "OPEN", 1),
        lambda text: text + "\n",
        lambda text: text[:-1],
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "",
    ],
)
def test_an_altered_report_is_not_believed(site: Site, report: Path, alter: Any) -> None:
    report.write_bytes(alter(report.read_bytes().decode()).encode())
    with pytest.raises(
        CannotAttest, match=r"^[^\n]*it was altered, or another key signed it; do not believe it\.$"
    ):
        verified(report, agent_key(site).public_key())


def test_a_report_by_another_key_or_signed_for_another_purpose_is_not_believed(
    site: Site, report: Path, tmp_path: Path
) -> None:
    other = agent_key(load_site(write_site(tmp_path / "other")))
    with pytest.raises(CannotAttest, match="another key"):
        verified(report, other.public_key())
    mine = agent_key(site)
    signature_of(report).write_text(sign(mine, "jobrunner-approval", report.read_bytes()))
    with pytest.raises(CannotAttest, match="do not believe it"):
        verified(report, mine.public_key())
    report.write_text("anything\n")
    signature_of(report).write_text(sign(mine, NAMESPACE, report.read_bytes()))
    with pytest.raises(CannotAttest, match="is no attestation"):
        verified(report, mine.public_key())


def test_a_report_that_cannot_be_read_is_told_in_a_sentence(site: Site, report: Path) -> None:
    public = agent_key(site).public_key()
    signature_of(report).unlink()
    with pytest.raises(CannotAttest, match="side by side"):
        verified(report, public)
    report.write_bytes(b"x" * 1_000_001)
    with pytest.raises(CannotAttest, match="too large"):
        verified(report, public)


@pytest.mark.parametrize("which", ["report.txt", "report.txt.sig"])
def test_nothing_is_overwritten(site: Site, tmp_path: Path, which: str) -> None:
    (tmp_path / which).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CannotAttest, match="was left as it is"):
        write_signed(site, attestation(IMAGE), tmp_path / "report.txt")
    assert [place.name for place in tmp_path.iterdir() if place.name.startswith(("report", "else"))] == [
        which
    ]


def test_a_folder_that_is_not_there_is_told(site: Site, tmp_path: Path) -> None:
    with pytest.raises(CannotAttest, match="choose another place"):
        write_signed(site, attestation(IMAGE), tmp_path / "nowhere" / "report.txt")
