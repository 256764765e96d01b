"""Commands of docs/admins.md that need no second machine: approvals, and what an agent says of its walls."""

import re
from pathlib import Path
from typing import Any

import pytest

from jobrunner.agent.agent_key import agent_key
from jobrunner.agent.policy import Site
from jobrunner.sync.ssh_signatures import key_fingerprint, public_line
from tests.agent.approvers import Approver
from tests.attacks.test_S_canary import Make, site
from tests.docs.shown import Shown, blocks, page, shown
from tests.docs.test_commands import TOP, Terminal

__all__ = ["site"]

pytest_plugins = ["tests.fixtures.engine"]

ADMINS = page(TOP / "docs" / "admins.md")


def section(title: str) -> str:
    """The text below a heading of the page."""
    return ADMINS.split(f"\n## {title}\n")[1].split("\n## ")[0]


def commands(title: str) -> list[Shown]:
    return [command for command in shown(section(title)) if " add-approval " not in command.text]


@pytest.mark.slow
@pytest.mark.unit
def test_an_approval_is_made_read_signed_and_checked_as_the_page_says(tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    people = [
        Approver.create(tmp_path, name).key.rename(tmp_path / ".ssh" / f"id_ed25519{end}")
        for name, end in (("ada", ""), ("bob", "_second"))
    ]
    lines = []
    for name, key in zip(("ada", "bob"), people, strict=True):
        (tmp_path / f"key-of-{name}.pub").rename(key.with_suffix(".pub"))
        lines.append(Approver(name, key).line())
    (tmp_path / "allowed_signers").write_text("".join(lines))
    terminal = Terminal(tmp_path, home=tmp_path)
    said = {command.text: terminal.run(command) for command in commands("Approvals")}
    assert [text.split()[2] for text in said] == ["new", "show", "sign", "verify", "sign", "verify"]
    last = list(said.values())[-1]
    assert "held     people      2, asked for 2" in last


@pytest.mark.docker
def test_the_walls_are_tried_and_the_report_is_checked_as_the_page_says(
    engine: Any, site: Make, tmp_path: Path
) -> None:
    del engine
    made: Site = site()
    public = agent_key(made).public_key()
    terminal = Terminal(tmp_path, home=tmp_path)
    policy = tmp_path / "site" / "agent.toml"
    said = {}
    for command in commands("See that the walls hold"):
        text = command.text.replace("agent attest", f"agent attest {policy}")
        text = text.replace("ssh-ed25519 AAAA...", public_line(public))
        said[command.text] = terminal.run(Shown(text))
    attest, verify, _echo, with_openssh = said.values()
    assert "EVERY WALL HELD" in attest
    assert "EVERY WALL HELD" in verify
    assert key_fingerprint(public) in with_openssh
    # What the page shows of a report is what this one says, but for what is the site's own.
    report = (tmp_path / "attest.txt").read_text().splitlines()
    example = blocks(section("See that the walls hold"), "text")[0].splitlines()
    its_own = [line for line in example if re.match(r"Site |  [a-z]", line)]
    assert set(example) - {*its_own, "..."} <= set(report)
    assert {line[:15] for line in its_own} - {line[:15] for line in report} == {"Site north, 202"}
