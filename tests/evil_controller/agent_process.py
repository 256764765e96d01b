"""The real agent as a process, over an engine that runs nothing.

Usage: agent_process.py POLICY ENGINE. Pauses after failures begin short. ENGINE is one of
- idle: a container goes on until it is stopped.
- stuck: it goes on even then; and after a second TERM the process has two seconds instead of forty.
- brief: as idle, and the agent waits only a second for an answer of the controller. The site's resolver knows
  one name, inside.example, which is an address inside of the site.
- real: the container engine of this machine; all else as in brief.
"""

import os
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Any

from jobrunner.agent import canary_watch, contact, ending, service
from jobrunner.agent.canary import Verdict
from jobrunner.agent.canary_findings import Tried
from jobrunner.agent.policy import Site
from jobrunner.executors.base import Executor
from jobrunner.sync import client
from tests.evil_controller.idle_engine import RECORD, TROUBLE, IdleEngine


def held(site: Site, executor: Executor, *, may_trust_record: bool) -> Verdict:
    """A sandbox in which nothing ever runs holds."""
    del executor, may_trust_record
    return Verdict(
        site.policy.sandbox.runtime, "", 0, (Tried("nothing", "run something", True, "it never ran"),)
    )


def resolve(host: str, port: int, *_words: Any, **_options: Any) -> list[Any]:
    """What the site's resolver says."""
    if host != "inside.example":
        return SYSTEM_RESOLVER(host, port, *_words, **_options)
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.1.2.3", port))]


SYSTEM_RESOLVER: Any = socket.getaddrinfo


def main() -> int:
    """Run it as `jobrunner agent run` does."""
    policy, engine = Path(sys.argv[1]), sys.argv[2]
    contact.SHORTEST_PAUSE_S = 0.02
    if engine == "stuck":
        ending._ABORT_S = 1.0
        ending._LAST_WORDS_S = 1.0
    if engine in ("brief", "real"):
        client.LONG_POLL_S = 0
        service.AgentClient = partial(client.AgentClient, answer_s=1.0)
        socket.getaddrinfo = resolve
    if engine != "real":
        canary_watch.try_sandbox = held
        record, trouble = policy.parent / RECORD, os.environ.get(TROUBLE, "")
        service.DockerExecutor = lambda _work: IdleEngine(record, stuck=engine == "stuck", trouble=trouble)
    return service.serve(policy)


if __name__ == "__main__":
    sys.exit(main())
