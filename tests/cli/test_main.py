"""What the entry point loads, and how it ends."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

_RUN = """
import json, sys
from jobrunner.cli.main import main
sys.argv = ["jobrunner", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    loaded = {name.partition(".")[0] for name, module in sys.modules.items() if module}
    print(json.dumps([end.code, sorted(loaded)]))
"""
# What sessions for web sites, terminals and pages need; together as much memory as half of the agent.
_OF_NO_USE = {"django", "docker", "greenlet", "requests", "rich", "typer", "urllib3"}


def test_the_agent_holds_nothing_that_only_other_commands_need() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _RUN, "agent", "run", "/nowhere/agent.toml"], capture_output=True, text=True
    )
    assert "/nowhere/agent.toml cannot be read" in done.stderr
    status, loaded = json.loads(done.stdout)
    assert status == 1
    assert "structlog" in loaded
    assert not _OF_NO_USE & set(loaded)


@pytest.mark.parametrize(
    "words",
    [("agent", "run", "/nowhere/agent.toml"), ("agent", "run", "--", "/nowhere/agent.toml")],
)
def test_whatever_way_the_words_take_the_agent_says_the_same(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jobrunner.cli.main", *words], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("jobrunner: the agent does not start: /nowhere/agent.toml cannot be read")
    assert done.stderr.count("\n") == 1
