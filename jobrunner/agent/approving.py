"""Checks of approvals beside other work: each takes some milliseconds in a process of its own."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from jobrunner.agent import clock
from jobrunner.agent.approvals import check_approval
from jobrunner.agent.journal import Journal
from jobrunner.agent.policy import Site
from jobrunner.sync.approvals import Payload
from jobrunner.sync.messages import Offer

_MOST_BESIDE: Final = 64

Approved = tuple[Payload, str]
"""The payload of a good approval and the digest of its envelope."""


class Approving:
    """Safe to use from many threads. What is asked for raises Ended as `check_approval` does."""

    def __init__(self, site: Site, journal: Journal) -> None:
        self._site = site
        self._journal = journal
        self._pool = ThreadPoolExecutor(_MOST_BESIDE, thread_name_prefix="approval")
        self._foreseen: dict[Offer, Future[Approved]] = {}

    def check(self, offer: Offer, dataset: str | None = None) -> Approved:
        """Check it now; with `dataset`, for a job that is known to read one, also for that."""
        return check_approval(
            offer,
            self._site,
            highest_serial=self._journal.highest_serial(offer.project),
            now=clock.now(),
            dataset=dataset,
        )

    def begin(self, offer: Offer, dataset: str | None = None) -> Future[Approved]:
        """Check it in another thread; the answer is what the future returns or raises."""
        return self._pool.submit(self.check, offer, dataset)

    def foresee(self, offer: Offer) -> None:
        """Begin to check the approval of an offer that is being claimed, while the claim is on its way."""
        while len(self._foreseen) >= _MOST_BESIDE:
            self._foreseen.pop(next(iter(self._foreseen)), None)
        self._foreseen[offer] = self.begin(offer)

    def first(self, offer: Offer) -> Approved:
        """The answer to what was foreseen, or check it now."""
        foreseen = self._foreseen.pop(offer, None)
        return self.check(offer) if foreseen is None else foreseen.result()
