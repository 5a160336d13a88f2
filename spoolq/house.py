"""What keeps the queue going beside the work: what is due, what dead workers left, and this host's spool."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from spoolq import checks, crashes
from spoolq.consumer import Consumer
from spoolq.crashes import Crashes
from spoolq.drain import Drainer
from spoolq.errors import ConfigError, StoreUnavailable
from spoolq.presence import Seen
from spoolq.replayer import Replayer
from spoolq.rescuer import Rescuer
from spoolq.runtime import Folder
from spoolq.scheduler import Scheduler
from spoolq.service import Service
from spoolq.store.base import Spool, WorkerInfo
from spoolq.units import jobs
from spoolq.watch import Watcher

_ASKING = 2.0


class House:
    """The services of one worker process. In a pool one process has them, for all.

    consumers   of the primary, and of the spool where its own jobs are run
    folder      where the files of this host's workers are; None for no place
    note        writes down for the host what befell it: kind, text, details
    pool        the key of the pool whose processes' leases are kept here when they don't come to it; empty for none
    """

    def __init__(
        self,
        info: WorkerInfo,
        consumers: Sequence[Consumer],
        *,
        spool: Spool | None,
        drainer: Drainer | None,
        watcher: Watcher | None,
        folder: Folder | None,
        note: Callable[..., None] = lambda kind, text, **detail: None,
        pool: str = "",
    ) -> None:
        self._info, self._consumers, self._spool, self._note = info, consumers, spool, note
        self._primary = primary = consumers[0]
        self._crashes = None if folder is None else Crashes(folder, info.key, self._inherit)
        self._replayer: Replayer | None = None
        if spool is not None:
            self._replayer = Replayer(
                spool.settlements, primary.store, info, answers=lambda: primary.reach.available is True, record=primary.record
            )
        self.services: list[Service] = []
        for index, one in enumerate(consumers):
            tidy = self._tidying(one)
            if one is primary:
                self.tidy: tuple[Callable[[], float], ...] = tuple(tidy.values())
            if pool and folder is not None:
                tidy["siblings"] = partial(self._keep, one, index, folder, pool)
            self.services += [Service(f"{one.name}-{what}", turn, quiet=True, again=10.0) for what, turn in tidy.items()]
        if drainer is not None:
            self.services.append(Service("drainer", drainer.turn))
        if watcher is not None:
            self.services.append(Service("watcher", watcher.turn, quiet=True))
        if self._replayer is not None:
            self.services.append(Service("replayer", self._replayer.turn, quiet=True))
        if self._crashes is not None:
            self.services.append(Service("crashes", self._crashes.turn, quiet=True))
        self.services.append(Service("settings", self._look_at_settings, quiet=True))

    def _tidying(self, consumer: Consumer) -> dict[str, Callable[[], float]]:
        scheduler = Scheduler(consumer.store)
        rescuer = Rescuer(partial(self._rescue, consumer), self._info.lease, hold_off=lambda: consumer.reach.hold_off)

        def when_active(turn: Callable[[], float]) -> Callable[[], float]:
            return lambda: turn() if consumer.active else 1.0  # a spool that nothing is run from is left alone

        return {"scheduler": when_active(scheduler.turn), "rescuer": when_active(rescuer.turn)}

    def _rescue(self, consumer: Consumer, limit: int) -> int:
        """Take over what the dead held; but what they wrote down was done, and is told first, and whoever has left a file here is
        settled by it: it tells what was running, a lease that is over doesn't."""
        if consumer is self._primary and self._replayer is not None:
            with suppress(StoreUnavailable, ConfigError):
                self._replayer.turn()
            if self._replayer.waits:
                return 0
        if self._crashes is not None:
            self._crashes.turn()
        count = consumer.reconciler.rescue(limit)
        if count:
            text = f"{jobs(count)} of workers that stopped answering taken over from {consumer.name}"
            self._note("worker_died", text, jobs=count)
        return count

    def _inherit(self, seen: Seen) -> None:
        """Settle what a dead worker of this host held, in each store that can be reached. Raises StoreUnavailable when that isn't
        all of them."""
        away: StoreUnavailable | None = None
        held = 0
        for consumer in self._consumers:
            try:
                self._tell_what_was_done(consumer, seen)
                count = crashes.inherit(consumer.store, seen.info, seen, consumer.runner, consumer.record)
            except StoreUnavailable as error:
                away = error
                continue
            held += count
            if count:
                crashes.tell(seen, count)
                consumer.wake()
        if away is not None:
            raise away
        who = seen.info
        text = f"the {who.role} {who.host}:{who.pid} died; {jobs(held)} that it held: put back, tried again or given up"
        self._note("worker_died", text, host=who.host, worker_pid=who.pid, role=who.role, jobs=held)

    def _look_at_settings(self) -> float | None:
        """Once, when the primary first answers: a Redis that throws jobs away is written down, and who looks later sees it."""
        facts = self._primary.store.server_facts(_ASKING)
        found = None if facts is None else checks.eviction(facts)
        if found is not None and found.level in ("warning", "problem"):
            self._note("config_fault", f"{found.what}; {found.remedy}", setting="maxmemory-policy", level=found.level)
        return None

    def _tell_what_was_done(self, consumer: Consumer, seen: Seen) -> None:
        """What the dead one wrote down is told before the rest is put back."""
        if consumer is not self._primary or self._spool is None or self._replayer is None:
            return
        if consumer.reach.available is not True:
            raise StoreUnavailable("the primary isn't known to answer", reason="away")
        self._spool.settlements.keep(seen.info.key, (), (), 0.0)  # its own last word: others may tell the rest
        self._replayer.turn()

    def _keep(self, consumer: Consumer, index: int, folder: Folder, pool: str) -> float:
        crashes.keep(consumer.store, index, folder, pool, time.monotonic(), self._info.key)
        return self._info.lease / 6
