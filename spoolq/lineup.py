"""The queues of one consumer's calls: the selection, beside the queues that its store has now."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence

from spoolq.errors import StoreUnavailable
from spoolq.job import Claim
from spoolq.selection import Selection
from spoolq.store.base import Store
from spoolq.turns import Turns

log = logging.getLogger("spoolq.worker")

EVERY = 1.0  # seconds between looks for queues that have appeared
_UNTOLD = ("noperm", "unsupported")  # said of this question, and nothing of claims


class Lineup:
    """Names without patterns and weights cost nothing here: they are the same for each call, and the store isn't asked.

    `order` and `took` are for the thread that makes the calls, `renew` for any.
    """

    def __init__(self, store: Store, selection: Selection, clock: Callable[[], float]) -> None:
        self._store, self._selection, self._clock = store, selection, clock
        self.open = selection.open
        self._turns = Turns(selection) if selection.weighted else None
        self._looked = float("-inf")
        self._refused = False
        self._show(())

    @property
    def due(self) -> bool:
        """Whether it is time to look which queues there are."""
        return self.open and self._clock() - self._looked >= EVERY

    def renew(self) -> bool:
        """Look which queues there are. Returns whether that changed anything. Raises StoreUnavailable when the store is away;
        where it won't say, the queues stay as they were."""
        if not self.open:
            return False
        self._looked = self._clock()
        try:
            there = self._store.queues()
        except StoreUnavailable as error:
            if error.server_wide and error.reason not in _UNTOLD:
                raise
            if not self._refused:
                log.warning("which queues there are can't be seen, so those that appear aren't taken from: %s", error)
            self._refused = True
            return False
        self._refused = False
        before = self.names
        self._show(there)
        return self.names != before

    def order(self) -> tuple[str, ...]:
        """The queues in the order of the next call."""
        return self.names if self._turns is None else self._turns.order(self._queues)

    def took(self, order: Sequence[str], claims: Sequence[Claim], *, all_of_it: bool) -> None:
        """The call of that order took these. `all_of_it`: there were no more."""
        if self._turns is not None:
            self._turns.took(order, Counter(claim.queue for claim in claims), all_of_it=all_of_it)

    def _show(self, there: Sequence[str]) -> None:
        self._queues = self._selection.expand(there)
        self.names = tuple(queue for queues in self._queues.values() for queue in queues)
