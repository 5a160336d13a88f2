"""Periodic jobs are enqueued when they are due: by the leader at once, by anybody where it doesn't, by every host in an outage.

What makes a tick one job is its id, and not who enqueues it. So nothing here needs to be sure of anything: who leads only saves
the others the trouble, the note of the last tick only says where to begin.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from spoolq import stamps
from spoolq.errors import ConfigError, SpoolqError, StoreUnavailable
from spoolq.job import Job
from spoolq.pauses import Pauses
from spoolq.periodic import LATE, Entry, due
from spoolq.store.base import Store

log = logging.getLogger("spoolq.ticker")

_NOTE = "periodic:"
_PATIENCE = (3.0, 5.0)  # seconds that who doesn't lead leaves to who does
_PAUSE = 1.0
_DAY = 86_400.0


class Ticker:
    """Enqueues the ticks of these entries.

    submit    stores jobs, in the primary or, while it is away, in the spool; each launch of an entry ends in it
    spool     keeps a copy of what the primary says, for who starts while it is away: what is paused, which schedules there are
    """

    def __init__(
        self,
        entries: Iterable[Entry],
        store: Store,
        submit: Callable[[Sequence[Job]], object],
        *,
        spool: Store | None = None,
        now: Callable[[], float] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._now = store.now if now is None else now
        self._entries, self._store, self._submit, self._spool = tuple(entries), store, submit, spool
        self._rng = rng or random.Random()
        self._patience = self._rng.uniform(*_PATIENCE)
        self._known: dict[str, _Known] = {}
        self._last: dict[str, float] = {}  # of each entry, also while what is known is to be looked at again
        self._away = False
        self._pauses = Pauses(store, spool)
        self._told: set[str] = set()  # whom the spool knows
        self._failing: set[str] = set()
        self._began = self._now()
        for entry in self._entries:
            entry.following(1, self._began)  # here and now, where cronsim is missing

    def turn(self) -> float:
        """Enqueue what is due. Returns the seconds to the next turn."""
        now = self._now()
        self._pauses.look(now)  # one that is rarely due must know of its pause as well, before an outage
        if self._away or any(self._waits(entry, now) for entry in self._entries):
            try:
                leads = self._store.leads()
                if self._away:  # others have gone on meanwhile, or nobody has: look at every note again
                    self._away = False
                    self._known.clear()
                self._tick(0.0 if leads else self._patience)
            except StoreUnavailable:
                self._away = True
                self._tick_away()
        now = self._now()
        soon = min((known.next - now for known in self._known.values() if known.next > now), default=_PAUSE)
        return min(soon, _PAUSE * self._rng.uniform(0.8, 1.2))

    def _waits(self, entry: Entry, now: float) -> bool:
        known = self._known.get(entry.name)
        return known is None or known.next <= now or known.last > now + LATE  # the clock was set back

    def _tick(self, patience: float) -> None:
        """With the primary: a tick is left alone for `patience` seconds, and what is noted meanwhile somebody else did."""
        now = self._now()
        waiting = []
        for entry in self._entries:
            known = self._known.get(entry.name)
            if self._waits(entry, now) and (known is None or known.last > now + LATE or known.next + patience <= now):
                waiting.append(entry)
        paused = self._pauses.ask() if waiting else ()
        for entry in waiting:
            key = _NOTE + entry.name
            note = self._store.meta(key)
            since = self._since(entry, note, now)
            ticks = [tick for tick in due(entry, since, now) if tick + patience <= now]
            if ticks and entry.name not in paused and not self._enqueue(entry, ticks):
                continue
            last = float(ticks[-1]) if ticks else since
            if note is None or last != stamps.epoch(note):
                self._store.set_meta(key, stamps.iso(last), expected=note)  # else somebody was quicker: the id has seen to it
            if entry.name not in self._told and self._spool is not None:
                with suppress(StoreUnavailable, ConfigError):
                    self._spool.set_meta(key, stamps.iso(last))
                    self._told.add(entry.name)
            self._know(entry, last)

    def _since(self, entry: Entry, note: str | None, now: float) -> float:
        """Up to where all ticks were enqueued. For an entry that nobody has seen before that is now; where the primary has lost
        its note, as far as it is known here."""
        noted = stamps.epoch(note)
        if not noted:
            return min(self._last.get(entry.name, now), float(int(now)))
        if noted > now + LATE:
            log.warning(
                "schedule %s: its last tick is noted as of %s, which is still to come: a clock was wrong, or was set back. It"
                " goes on from now; what was enqueued ahead of its time isn't enqueued again",
                entry.name,
                note,
            )
            return now - LATE
        return noted

    def _tick_away(self) -> None:
        """Without the primary: every host enqueues all that it doesn't know to be enqueued, in the end into its spool. The first
        hand-over of each id makes it a job, the others are copies. A host that was suspended, for longer than ids are remembered
        maybe, leaves what is older than a day to the primary's note."""
        now = self._now()
        paused = self._pauses.known()
        for entry in self._entries:
            known = self._known.get(entry.name)
            since = self._since_before(entry) if known is None else known.last
            ticks = due(entry, max(since, now - _DAY) if since <= now + LATE else now - LATE, now)
            if ticks and (entry.name in paused or self._enqueue(entry, ticks)):
                self._know(entry, float(ticks[-1]))

    def _since_before(self, entry: Entry) -> float:
        """Up to where nothing of it is this process's to enqueue, which began in the outage. Others of this host may have died
        with a tick on their hands; but one that this host has never seen has no past."""
        noted = 0.0
        if self._spool is not None:
            with suppress(StoreUnavailable, ConfigError):
                noted = stamps.epoch(self._spool.meta(_NOTE + entry.name))
        return max(noted, self._began - LATE) if noted else self._began

    def _know(self, entry: Entry, last: float) -> None:
        self._known[entry.name], self._last[entry.name] = _Known(last, entry.following(1, last)[0]), last

    def _enqueue(self, entry: Entry, ticks: Sequence[int]) -> bool:
        """Whether that was done. One that can't be is told once, and keeps nothing from the others."""
        try:
            self._submit([entry.make(entry.id(tick)) for tick in ticks])
        except Exception as error:  # whatever stands in the way of an enqueue: both stores, or the application's own
            if entry.name not in self._failing:
                log.log(
                    logging.ERROR,
                    "schedule %s: %d tick(s) can't be enqueued: %s; it is tried again",
                    *(entry.name, len(ticks), error),
                    exc_info=not isinstance(error, SpoolqError),
                )
            self._failing.add(entry.name)
            return False
        self._failing.discard(entry.name)
        return True


class _Known(NamedTuple):
    """What is known of an entry: the last tick that was enqueued, and the one after it."""

    last: float
    next: float


def last(store: Store, entry: Entry) -> float | None:
    """The last tick that was enqueued, None where there was none."""
    noted = stamps.epoch(store.meta(_NOTE + entry.name))
    return noted if noted and entry.following(1, noted - 1)[0] == noted else None  # a new entry's note is of when it was seen
