"""The agent's real loops in threads of the test process, against a controller that lies."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jobrunner.agent.attempt_rows import Attempt
from jobrunner.agent.dispatch import Desk
from jobrunner.agent.journal import Journal
from jobrunner.agent.loops import Shared
from jobrunner.agent.report import Reporter
from jobrunner.sync.client import AgentClient, Endpoint
from jobrunner.sync.messages import Hello
from jobrunner.sync.vocabulary import Runtime, Stage
from tests.evil_controller.server import EvilController

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@dataclass
class Bench:
    """What the loops start and stop is only noted; `reporter` makes events for its attempts."""

    controller: EvilController
    shared: Shared
    reporter: Reporter
    started: list[Attempt] = field(default_factory=list)
    stopped: list[tuple[str, int]] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    @property
    def journal(self) -> Journal:
        """The journal of the loops."""
        return self.shared.journal

    def run(self, *loops: Callable[[Shared], None]) -> None:
        """Start loops; they end with the bench."""
        for loop in loops:
            thread = threading.Thread(target=loop, args=(self.shared,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """End all loops and wait for them."""
        self.shared.stopping.set()
        self.shared.finished.set()
        self.shared.desk.close()
        for thread in self._threads:
            while thread.is_alive():
                # A loop may have looked just before; it is told until it has heard.
                self.shared.told(urgent=True)
                thread.join(0.05)


@contextmanager
def open_bench(folder: Path) -> Iterator[Bench]:
    """Two slots, a client that waits 0.3 s for an answer, an empty journal."""
    reporter = Reporter(KEY, 1)
    with EvilController(hold_s=0.05) as controller:
        endpoint = Endpoint(url=controller.url, credential="c" * 40)
        shared = Shared(
            journal=Journal(folder / "state" / "agent.db"),
            desk=Desk(2),
            hello=Hello(
                agent_id="site-one", protocol=1, version="1", runtimes=(Runtime.RUNC,), policy_digest="0" * 64
            ),
            new_client=lambda: AgentClient(endpoint, answer_s=0.3),
            start=lambda attempt: bench.started.append(attempt),
            foresee=lambda _offer: None,
            stop_attempt=lambda job, number: bench.stopped.append((job, number)),
            first_event=lambda job, number: reporter.stage(job, number, Stage.PREPARING),
        )
        bench = Bench(controller, shared, reporter)
        try:
            yield bench
        finally:
            bench.close()
