"""The queues of one consumer's calls: the selection, beside the queues that its store has now."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence

from spoolq.errors import StoreUnavailable
from spoolq.selection import Selection
from spoolq.store.base import EVERY_QUEUE, Claimed, Store
from spoolq.turns import Turns

log = logging.getLogger("spoolq.worker")

EVERY = 1.0  # seconds between looks for queues that have appeared
_KEPT = 60.0  # for which one that is gone stays: out of a file it goes with its last job, and would have to appear with the next
_UNTOLD = ("noperm", "unsupported")  # said of this question, and nothing of claims


class Lineup:
    """Names without patterns and weights cost nothing here: they are the same for each call, and the store isn't asked.

    `order` and `took` are for the thread that makes the calls, `renew` for any. `elsewhere` tells what another store has paused.
    """

    def __init__(
        self, store: Store, selection: Selection, clock: Callable[[], float], elsewhere: Callable[[], Collection[str]] = tuple
    ) -> None:
        self._store, self._selection, self._clock = store, selection, clock
        self.open = selection.open
        self.paused: frozenset[str] = frozenset()
        self.known: frozenset[str] = frozenset()
        self._elsewhere = elsewhere
        self._limited: dict[str, float] = {}  # queues at one of their limits, and until when it makes no sense to ask for them
        self._turns = Turns(selection) if selection.weighted else None
        self._looked = float("-inf")
        self._refused = False
        self._seen: dict[str, float] = {}  # queues that were there, and when last
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
        before, now = self.names, self._looked
        self._seen |= dict.fromkeys(there, now)
        self._seen = {queue: at for queue, at in self._seen.items() if now - at < _KEPT}
        self._show(self._seen)
        return self.names != before

    def order(self) -> tuple[str, ...]:
        """The queues in the order of the next call: those that are paused in this store are left out there. One at a limit isn't
        asked for until its time has come."""
        order = self.names if self._turns is None else self._turns.order(self._queues)
        return unpaused(order, {*self._elsewhere(), *self.limited} if self._limited else self._elsewhere())

    @property
    def limited(self) -> tuple[str, ...]:
        """Those at one of their limits now."""
        if self._limited:
            now = self._clock()
            self._limited = {queue: until for queue, until in self._limited.items() if until > now}
        return tuple(self._limited)

    @property
    def due_in(self) -> float:
        """Seconds until one of those may be asked for again; infinite where there is none."""
        return min(self._limited.values()) - self._clock() if self.limited else math.inf

    def look(self) -> float:
        """Look what is paused, queues of which no call says it included: for who goes by it while this store is away. Returns the
        seconds to the next look."""
        self.known = frozenset(self._store.paused())
        return EVERY

    @property
    def awaited(self) -> tuple[str, ...]:
        """Those of which a job is waited for."""
        return unpaused(self.names, self.paused.union(self._elsewhere(), self.limited))

    @property
    def held_back(self) -> bool:
        """Whether any is paused or at a limit: nothing wakes who waits when it goes on."""
        return bool(self.paused or self._limited or self._elsewhere())

    def took(self, order: Sequence[str], claimed: Claimed, *, all_of_it: bool) -> None:
        """The call of that order took these. `all_of_it`: there were no more."""
        if self._turns is not None:
            left_out = self._elsewhere() or len(order) < len(self.names)
            elsewhere = sorted(set(self.names).difference(order)) if left_out else []  # they save up nothing meanwhile
            self._turns.took([*elsewhere, *order], Counter(claim.queue for claim in claimed.claims), all_of_it=all_of_it)
        if claimed.limited:
            now = self._clock()
            self._limited |= {queue: now + wait for queue, wait in claimed.limited}
        paused = frozenset(claimed.paused)
        self.known |= paused
        if paused != self.paused:
            self.paused = paused
            log.info("%s", self.says_paused.removeprefix(", ") or "no queue of this worker is paused any more")

    @property
    def says_paused(self) -> str:
        """Which are paused, to be added to a line; nothing where none is."""
        if not self.paused:
            return ""
        return ", paused: " + ("all queues" if EVERY_QUEUE in self.paused else ", ".join(sorted(self.paused)))

    @property
    def says_limited(self) -> str:
        """Which are at a limit, to be added to a line; nothing where none is."""
        limited = self.limited
        return f", at a limit: {', '.join(sorted(limited))}" if limited else ""

    def behind_a_pause(self) -> int:
        """How many jobs are ready in queues that are paused. Raises StoreUnavailable."""
        if not self.paused:
            return 0
        free = set(unpaused(self.names, self.paused))
        return sum(depth.ready for depth in self._store.depths() if depth.queue in self.names and depth.queue not in free)

    def _show(self, there: Iterable[str]) -> None:
        self._queues = self._selection.expand(there)
        self.names = tuple(queue for queues in self._queues.values() for queue in queues)


def unpaused(queues: tuple[str, ...], paused: Collection[str]) -> tuple[str, ...]:
    """Those that aren't paused."""
    if not paused:
        return queues
    return () if EVERY_QUEUE in paused else tuple(queue for queue in queues if queue not in paused)
