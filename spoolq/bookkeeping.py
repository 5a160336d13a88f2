"""The accounts, kept: samples for the history, and what a host remembers of its primary so as to see what that has lost.

A count that lies in Redis goes with Redis's data. So once a minute one process of each host writes into its spool what the
primary's count said: when that has another name later, or none, or says less than before, the rest is missing.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable

from spoolq.accounting import Accounts, Known, accounts, looked, loss
from spoolq.store.base import Spool, Store
from spoolq.store.tally import COUNTED
from spoolq.units import jobs, when

log = logging.getLogger("spoolq")

REMEMBERED = "accounts"
"""The key in a spool's meta of what its host remembers of the primary."""


def balance(primary: Store | None, spool: Spool | None, most: int | None = None) -> Accounts:
    """The accounts now. None for a store that can't be read, or that there is none of. `most` as in `Store.tally`. Raises
    StoreUnavailable."""
    if spool is None:
        return accounts(None if primary is None else primary.tally(most))
    known = remembered(spool)  # first: what is known must be older than what is looked at
    here = spool.tally(most)  # then: what is handed over in between is in both, and never in neither
    return accounts(None if primary is None else primary.tally(most), here, known)


def missing(primary: Store, spool: Spool | None) -> int:
    """How many jobs are missing in the primary, whatever waits in the spool; cheap, however much that is. Raises
    StoreUnavailable."""
    if spool is None:
        return accounts(primary.tally()).total.missing
    known, here = remembered(spool), spool.tally(0)
    there = primary.tally()
    return accounts(there).total.missing + loss(known, there, here)


def write_off(primary: Store | None, spool: Spool | None) -> Accounts:
    """Count as gone what is missing: it is known from here on, and nobody is told of it again. Returns the accounts as they were
    before. Raises StoreUnavailable."""
    before = balance(primary, spool)
    for store in filter(None, (spool, primary)):
        found = accounts(store.tally())
        if lost := {one.queue: one.missing for one in found.queues if one.missing}:
            store.write_off(lost)
    if spool is not None and primary is not None:
        known = looked(remembered(spool), primary.tally(), spool.tally(0), time.time(), after=spool.tally(COUNTED))
        spool.set_meta(REMEMBERED, json.dumps(known._replace(lost=0)._asdict()))
    return before


def remembered(spool: Spool) -> Known:
    """What this host remembers of its primary."""
    try:
        found = Known(**json.loads(spool.meta(REMEMBERED) or "{}"))
    except (ValueError, TypeError):  # a newer spoolq's
        return Known()
    fits = all(isinstance(one, str if default == "" else int | float) for one, default in zip(found, Known(), strict=True))
    return found if fits else Known()


class Bookkeeper:
    """Takes the samples of `primary` and, where there is one, of this host's `spool`. Any number may run: one of them is first.

    idle   seconds between looks, about
    """

    def __init__(
        self,
        primary: Store,
        spool: Spool | None,
        *,
        idle: float = 10.0,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        self._primary, self._spool = primary, spool
        self._idle, self._clock, self._rng = idle, clock, rng or random.Random()

    def turn(self) -> float:
        """Sample what is due. Returns the seconds to the next look. Raises StoreUnavailable, with what could be done done."""
        spool = self._spool
        text, before = ("", Known()) if spool is None else (spool.meta(REMEMBERED), remembered(spool))  # older than what follows
        here = None if spool is None else spool.sample()  # also in an outage
        there = self._primary.sample()
        if spool is not None and here is not None:
            known = looked(before, there or self._primary.tally(), here, self._clock(), after=spool.tally(COUNTED))
            mine = spool.set_meta(REMEMBERED, json.dumps(known._asdict()), expected=text)
            if mine and known.lost > before.lost:
                self._tell(spool, known.lost - before.lost, before.at)
        return self._idle * self._rng.uniform(0.8, 1.2)

    def _tell(self, spool: Spool, lost: int, seen_at: float) -> None:
        text = f"Redis has lost {jobs(lost)}, together with its count of them, since {when(seen_at)}: see `spoolq accounts`"
        log.error("%s", text)
        spool.events.record("jobs_lost", text, jobs=lost, seen_at=seen_at)
