"""How the agent ends (threats.md section 7 and P24): drain lets what runs finish, abort ends it.

The first TERM drains, the second aborts; the control socket has a word for each. Both may be said again.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from jobrunner.agent.attempt_rows import Attempt, Step
from jobrunner.agent.free_places import free_places
from jobrunner.agent.loops import Shared
from jobrunner.sync import outbox
from jobrunner.sync.client import BrokenReply, Rejected, Unanswered
from jobrunner.sync.messages import Poll
from jobrunner.sync.vocabulary import Reason

log = structlog.get_logger()

LEFT_BEHIND: Final = 3
"""Exit status of an agent that had to be ended: what is left goes on, or ends, after its next start."""
_LAST_WORDS_S: Final = 10.0
_ABORT_S: Final = 30.0
_LONGEST_CLAIM_S: Final = 60.0


class Ending:
    """`take_up` gives an attempt that nobody works on a thread again."""

    def __init__(self, shared: Shared, take_up: Callable[[Attempt], None]) -> None:
        self._shared = shared
        self._take_up = take_up
        self._lock = threading.Lock()
        self._terms = 0
        self._signals, self._signal_writer = socket.socketpair()
        self.draining = False
        self.aborting = False

    def hear_signals(self) -> None:
        """Hand signals to a thread of their own.

        A handler runs in the main thread, which may hold a lock just then, or sleep on while the kernel gave
        the signal to another thread. The number that goes into the socket is heard in any case.
        """
        self._signal_writer.setblocking(False)
        signal.set_wakeup_fd(self._signal_writer.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: None)
        threading.Thread(target=self._listen, name="signals", daemon=True).start()

    def _listen(self) -> None:
        while True:
            for _number in self._signals.recv(16):
                self._terms += 1
                if self._terms == 1:
                    self.drain()
                else:
                    self.abort()

    def drain(self) -> None:
        """Start nothing new; what runs goes on to its end, then the agent ends."""
        with self._lock:
            if self.draining:
                return
            self.draining = True
        log.info("draining")
        self._shared.desk.close()
        threading.Thread(target=self._say_so, name="draining", daemon=True).start()
        self._shared.stopping.set()

    def _say_so(self) -> None:
        """Tell the controller now: the poll that it holds at this moment still says that jobs are taken."""
        poll = Poll(accepting=False, slots=free_places(self._shared.journal, self._shared.desk))
        try:
            reply = self._shared.new_client().poll(poll)
        except BrokenReply as broken:
            self._shared.complaints.broken_reply("poll", broken)
        except (Rejected, Unanswered) as problem:
            # The next poll says it again.
            log.info("draining_not_told", problem=str(problem))
        else:
            self._shared.take_cancels(reply.cancels)

    def abort(self) -> None:
        """End what runs as well, as cancelled by the site. Whatever hangs, the agent ends within a bound."""
        self.drain()
        with self._lock:
            if self.aborting:
                return
            self.aborting = True
        log.warning("aborting")
        timer = threading.Timer(_ABORT_S + _LAST_WORDS_S, os._exit, args=(LEFT_BEHIND,))
        # An end that comes before it does not wait for it.
        timer.daemon = True
        timer.start()
        threading.Thread(target=self._cancel_all, name="abort", daemon=True).start()

    def _cancel_all(self) -> None:
        for attempt in self._shared.journal.open_attempts():
            if attempt.step is not Step.ACCEPT:
                self._shared.journal.wish_cancel(attempt.job_id, attempt.number, Reason.BY_SITE)
                self._shared.stop_attempt(attempt.job_id, attempt.number)
                self._take_up(attempt)

    def wait_for_claims(self) -> None:
        """Wait until the agent shall end, and until no claim is on its way any more."""
        self._shared.stopping.wait()
        self._shared.desk.wait_claimed(_LONGEST_CLAIM_S)

    def say_last_words(self) -> None:
        """Give the outbox a moment; what cannot be sent now is sent after the next start."""
        deadline = time.monotonic() + _LAST_WORDS_S
        while time.monotonic() < deadline:
            with self._shared.journal.transaction() as connection:
                if outbox.waiting(connection) == 0:
                    return
            self._shared.told(urgent=True)
            time.sleep(0.05)
