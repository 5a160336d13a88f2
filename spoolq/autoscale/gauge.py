"""What a pool's housekeeper sees of the stores for it, and what it tells others of the pool."""

from __future__ import annotations

import time
from collections.abc import Callable

from spoolq.autoscale.board import Board, State, decoded
from spoolq.autoscale.sample import Broker, Sight
from spoolq.autoscale.words import Ear
from spoolq.counts import Counts
from spoolq.errors import ConfigError, StoreUnavailable
from spoolq.selection import Selection
from spoolq.store.base import EVERY_QUEUE, Store, WorkerInfo
from spoolq.store.effects import Effects
from spoolq.store.looking import Depth

SLOW = 0.1
"""Seconds that a small request may take, on the mean of the last few, until the store counts as slow."""

_EVERY, _SELDOM = 1.0, 2.0  # the latter still within what counts as fresh
_SHARE = 0.05  # of its time that looking may take: with thousands of queues it looks less often
_LISTEN = 2.0
_PUBLISH, _PUBLISHED = 15.0, 60.0
_SPOOL = 5.0
_TIMEOUT = 1.0
_TAKES_NOTHING = frozenset({"oom", "readonly", "misconf", "noreplicas"})
_KEY = "pool:"


class Gauge:
    """Looks at the store once a second, writes what it saw to `board`, and publishes in the store what the pool shows there.

    house       the housekeeper's own identity: what it publishes is found by it
    selection   the queues of which the pool's processes take jobs
    ear         hears what an operator says to this pool
    outage      why the producers of this host go past the primary, None when they don't
    spooled     how many jobs wait in this host's spool, None where that can't be told; asked now and then
    """

    def __init__(
        self,
        store: Store,
        house: WorkerInfo,
        selection: Selection,
        board: Board,
        ear: Ear,
        *,
        outage: Callable[[], str | None] = lambda: None,
        spooled: Callable[[], int | None] = lambda: None,
        counts: Counts | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counts = Counts() if counts is None else counts
        self._seen: int | None = None
        self._store, self._house, self._selection, self._board, self._ear = store, house, selection, board, ear
        self._outage, self._clock = outage, clock
        self._spooled, self._spool_at = spooled, float("-inf")
        self._in_spool: int | None = None
        self._wait: float | None = None
        self._refuses = False
        self._listen_at = self._publish_at = float("-inf")
        self._published: State | None = None

    def turn(self) -> float:
        """Returns the seconds to the next one."""
        began = self._clock()
        self._count_decision()
        sight = self._look(began)._replace(spooled=self._in_spool)
        took = self._clock() - began
        if began >= self._spool_at:
            self._spool_at, self._in_spool = began + _SPOOL, self._spooled()
        self._board.tell(sight, self._ear.word)
        if began >= self._listen_at:
            self._listen_at = began + _LISTEN
            self._ear.listen(without_first=sight.broker == "away")
            self._board.tell(sight, self._ear.word)
        if sight.broker == "away":
            return _EVERY
        self._publish(began)
        return min(_SELDOM, max(_EVERY, took / _SHARE))

    def _count_decision(self) -> None:
        """The pool's own process has no store to tell: what it decides is counted here, as often as it is looked at."""
        state = self._board.shown()
        if state is None:
            return
        if self._seen is not None and state.wanted != self._seen:
            direction = "up" if state.wanted > self._seen else "down"
            self._counts.add("spoolq_autoscale_decisions_total", direction, state.cause)
        self._seen = state.wanted

    def _look(self, now: float) -> Sight:
        try:
            wait = self._store.load(_TIMEOUT).wait
        except (StoreUnavailable, ConfigError):
            self._wait = None
            return Sight(now, "away")
        self._wait = wait if self._wait is None else (self._wait + wait) / 2
        slow = self._wait > SLOW or self._outage() == "slow"
        if slow:  # nothing grows now, whatever waits: it is asked nothing more
            return Sight(now, "slow", wait=self._wait)
        broker: Broker = "refusing" if self._refuses else "well"
        try:
            backlog, oldest = self._backlog()
        except StoreUnavailable as error:
            return Sight(now, "away" if error.server_wide else broker, wait=self._wait)
        return Sight(now, broker, backlog, oldest, self._wait)

    def _backlog(self) -> tuple[int, float | None]:
        depths, paused = self._store.depths(), self._store.paused()
        if EVERY_QUEUE in paused:
            return 0, None
        expanded = self._selection.expand(depth.queue for depth in depths)
        names = {queue for queues in expanded.values() for queue in queues}.difference(paused)
        ours: list[Depth] = [depth for depth in depths if depth.queue in names and depth.ready]
        return sum(depth.ready for depth in ours), max((depth.oldest for depth in ours if depth.oldest is not None), default=None)

    def _publish(self, now: float) -> None:
        """Tell other hosts of the pool: when something changed, and now and then."""
        state = self._board.shown()
        if state is None:
            return
        same = self._published is not None and _told(state) == _told(self._published)
        if now < self._publish_at and same and not self._refuses:
            return
        try:
            self._store.put([], Effects(values=((_KEY + self._house.key, state.encoded(), _PUBLISHED),)), timeout=_TIMEOUT)
        except StoreUnavailable as error:
            self._refuses = error.reason in _TAKES_NOTHING
            return
        self._refuses, self._published, self._publish_at = False, state, now + _PUBLISH


def _told(state: State) -> tuple[object, ...]:
    """What is told others at once when it changes: the reason to hold has numbers in it that never stand still."""
    return state.wanted, state.ready, state.leaving, state.least, state.most, state.said, state.cause, state.state


def published(store: Store) -> list[State]:
    """The pools that housekeepers have told this store of, within the last minute. Raises StoreUnavailable."""
    found = []
    for view in store.workers():
        if view.info.role == "housekeeper":
            text = store.value(_KEY + view.info.key)
            if text is not None and (state := decoded(text)) is not None:
                found.append(state)
    return found
