"""A worker process: threads that run jobs, a consumer for each store, and the services that keep the queue going."""

from __future__ import annotations

import faulthandler
import itertools
import logging
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Literal

from spoolq.burst import Burst
from spoolq.consumer import Consumer
from spoolq.crew import Crew
from spoolq.drain import Drainer
from spoolq.errors import ConfigError, StoreUnavailable
from spoolq.journal import Journal
from spoolq.replayer import Replayer
from spoolq.rescuer import Rescuer
from spoolq.runner import Runner
from spoolq.scheduler import Scheduler
from spoolq.service import Service
from spoolq.store.base import Spool, Store, WorkerInfo
from spoolq.tasks import Tasks
from spoolq.watch import Watcher

log = logging.getLogger("spoolq.worker")

Order = Literal["stop", "pause", "resume", "look"]

BROKEN = 70  # EX_SOFTWARE
_SHOWN_AFTER = 0.05  # seconds that a job must have run before others are told what the worker does
_SHOWN_EVERY = 0.25
_SETTLING = 5.0  # seconds for telling a store that answers what became of the last jobs
_AWAY = 2.0  # seconds for which a store that doesn't answer is waited for, when no result would be lost
_GOODBYE = 2.0


class Worker:
    """Runs the jobs of `tasks` from `primary`, and from this host's `spool` while the primary is away.

    info       who it is: queues in order of priority, threads, lease
    drainer    empties the spool beside the work; None for no draining
    watcher    watches over what is kept in the spool beside; None for nobody
    local      whether the spool's own jobs are run during an outage
    grace      seconds that running jobs get at the end before they are put back; None for as long as they take
    burst      end when there is nothing left to do
    max_prefetch   claims held beyond one for each thread, reached only by jobs of microseconds; a killed worker runs so many
               finished jobs again at most, since their acknowledgements travel together
    hook       called at named points ("registered", "claimed", "idle", "away"), for tests
    """

    def __init__(
        self,
        primary: Store,
        tasks: Tasks,
        info: WorkerInfo,
        *,
        spool: Spool | None = None,
        drainer: Drainer | None = None,
        watcher: Watcher | None = None,
        local: bool = True,
        grace: float | None = 25.0,
        burst: bool = False,
        max_prefetch: int = 100,
        hook: Callable[[str], None] = lambda point: None,
        rng: random.Random | None = None,
    ) -> None:
        self.info = info
        self._spool = spool
        self._drainer = drainer
        self._grace = grace
        self._now = False
        self._rng = rng or random.Random()
        self._orders: SimpleQueue[Order] = SimpleQueue()  # its put is safe in a signal handler, an Event's set is not
        self._crew = Crew(info.threads)

        def consumer(store: Store, name: str, says: str, wanted: Callable[[], bool], journal: Journal | None = None) -> Consumer:
            runner = Runner(tasks, info, says, store.now)
            return Consumer(
                store,
                info,
                runner,
                self._crew,
                name=name,
                max_prefetch=max_prefetch,
                journal=journal,
                wanted=wanted,
                changed=self._changed,
                hook=hook,
            )

        journal = None if spool is None else Journal(spool.settlements, info.key)
        self.primary = consumer(primary, "worker", "primary", lambda: True, journal)
        self._replayer: Replayer | None = None
        if spool is not None:
            self._replayer = Replayer(spool.settlements, primary, info, answers=lambda: self.primary.reach.available is True)
        self.local: Consumer | None = None
        if spool is not None and local:
            self.local = consumer(spool, "local-worker", "spool", lambda: self.primary.reach.available is False)
        self._consumers = [one for one in (self.primary, self.local) if one is not None]
        self._services: list[Service] = []
        for one in self._consumers:
            tidy = self._tidying(one)
            soon = min(1.0, info.lease / 3)
            self._services += [Service(f"{one.name}-heartbeat", self._heartbeats(one), quiet=True, again=soon)]
            self._services += [Service(f"{one.name}-{what}", turn, quiet=True, again=10.0) for what, turn in tidy.items()]
            if one is self.primary:
                drained = (spool, drainer) if spool is not None and drainer is not None else None
                self._burst = Burst(one, self.local, drained, tuple(tidy.values())) if burst else None
        if drainer is not None:
            self._services.append(Service("drainer", drainer.turn))
        if watcher is not None:
            self._services.append(Service("watcher", watcher.turn, quiet=True))
        if self._replayer is not None:
            self._services.append(Service("replayer", self._replayer.turn, quiet=True))

    def run(self) -> int:
        """Work until `stop` (or, with `burst`, until nothing is left). Returns the exit code: 0; 70 when a thread of ours has
        ended that should not have; of a burst also 69 when the primary was out of reach, 75 when jobs are left in the spool that
        it doesn't take, or a queue can't be read. Safe to start while Redis is away.

        Raises ConfigError when one of the stores can't be used as it is set up.
        """
        if self._spool is not None:
            with suppress(StoreUnavailable):  # without its spool it goes on with Redis alone
                self._spool.waiting(1)
        info = self.info
        try:
            self._crew.start()
            for consumer in self._consumers:
                consumer.start()
            for service in self._services:
                service.start()
            log.info("worker %s runs, %d thread(s), queues %s", info.resque_id(0), info.threads, ", ".join(info.queues))
            code = self._watch()
        finally:
            self._finish()
        if (broken := self._broken()) is not None:
            raise broken
        return code

    def stop(self, *, now: bool = False) -> None:
        """Take no more, finish what runs within the grace, put the rest back. `now`: put it back at once. Safe in a signal
        handler."""
        self._now = self._now or now
        self._orders.put("stop")

    def pause(self, paused: bool = True) -> None:
        """Take no more jobs until resumed; running ones go on. Safe in a signal handler."""
        self._orders.put("pause" if paused else "resume")

    def install_signals(self) -> None:
        """TERM, INT: stop, the second one at once. QUIT: stop, without a limit. TSTP, USR2: pause, CONT: resume. TTIN: stacks to
        standard error. And a title for the process. Only from the main thread."""
        told = False

        def end(number: int, frame: FrameType | None) -> None:
            nonlocal told
            self.stop(now=told)
            told = True

        def quit(number: int, frame: FrameType | None) -> None:
            nonlocal told
            self._grace, told = None, True
            self.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        signal.signal(signal.SIGQUIT, quit)
        for number in (signal.SIGTSTP, signal.SIGUSR2):
            signal.signal(number, lambda number, frame: self.pause())
        signal.signal(signal.SIGCONT, lambda number, frame: self.pause(False))
        faulthandler.register(signal.SIGTTIN, file=sys.stderr, all_threads=True)
        with suppress(ImportError):  # Ruby's Resque on the same host knows by the title (`resque-0:`) that this process is alive
            from setproctitle import setproctitle

            setproctitle(f"resque-0: spoolq worker on {','.join(self.info.queues)}")

    def _watch(self) -> int:
        """Until the end. Returns the exit code."""
        while True:
            match self._next_order(0.02 if self._burst is not None else 1.0):
                case "stop":
                    return 0
                case "pause" | "resume" as order:
                    for consumer in self._consumers:
                        consumer.pause(order == "pause")
                    log.info("paused: running jobs go on, no more are taken" if order == "pause" else "resumed")
                case _:
                    if self._broken() is not None:
                        return 0
                    if dead := self._dead():
                        log.critical(
                            "the worker ends, to be started anew: %s ended, and should not have; claims are put back, or run"
                            " again elsewhere when their lease is over",
                            ", ".join(dead),
                        )
                        return BROKEN
                    if self._burst is not None and (code := self._burst.turn()) is not None:
                        return code

    def _next_order(self, timeout: float) -> Order | None:
        try:
            return self._orders.get(timeout=timeout)
        except Empty:
            return None

    def _changed(self) -> None:
        """A store went away or came back: local work begins or ends."""
        if self.local is not None:
            self.local.wake()
        self._orders.put("look")

    def _broken(self) -> ConfigError | None:
        return next((one.broken for one in self._consumers if one.broken is not None), None)

    def _dead(self) -> list[str]:
        """Threads of ours that have ended, and should not have. Half a worker would hold claims, keep their leases, and never
        settle them."""
        found = [*self._crew.dead, *itertools.chain.from_iterable(one.dead for one in self._consumers)]
        return [*found, *(service.name for service in self._services if service.dead)]

    # the end

    def _finish(self) -> None:
        """Stop claiming, wait for what runs, put back the rest, say good-bye. Nothing here waits without a limit but a grace of
        None."""
        for consumer in self._consumers:
            consumer.stop_claiming()
        if self._drainer is not None:
            self._drainer.stop()
        for service in self._services:
            if not service.name.endswith("heartbeat"):
                service.stop(0.0)
        began = time.monotonic()
        until = float("inf") if self._grace is None else began + self._grace
        if self._crew.busy:
            log.info("waiting for running jobs: %s", "no limit" if self._grace is None else f"{self._grace:g} s at most")
        self._wait(lambda: not self._crew.busy, until)
        for consumer in self._consumers:
            if not consumer.working:  # what runs beyond the grace is for `end` to put back
                self._wait(lambda one=consumer: one.count == 0, self._settled_by(consumer, until))  # type: ignore[misc]
        self._crew.end()
        for consumer in self._consumers:
            consumer.end()
        limit = time.monotonic() + _GOODBYE
        for consumer in self._consumers:
            if not consumer.join(limit - time.monotonic()):
                what = f"{consumer.count} claim(s) could not be settled" if consumer.count else "its last call was not answered"
                then = "what the store holds for it runs again elsewhere"
                if written := consumer.written_down:
                    then = (
                        f"what became of {written} is in the spool, for this host's next worker or drainer; else they run again"
                    )
                log.warning("%s: %s; %s", consumer.name, what, then)
        for service in self._services:
            service.stop(0.0)
        for service in self._services:
            service.stop(max(0.0, limit - time.monotonic()))
        self._say_goodbye()
        log.info("worker %s has ended", self.info.resque_id(0))

    def _wait(self, over: Callable[[], bool], until: float) -> None:
        """Until it is over, or that time, or a second order to stop."""
        while not (over() or self._now or time.monotonic() >= until):
            try:
                self._next_order(0.01)
            except KeyboardInterrupt:  # as TERM, where nobody installed our signals
                self._now = True

    def _settled_by(self, consumer: Consumer, until: float) -> float:
        """Until when to wait for the last settling: within the grace for results, which would be run again."""
        now = time.monotonic()
        if consumer.reach.available is not False:
            return now + _SETTLING
        return min(max(now, until), now + self.info.lease) if consumer.owes else now + _AWAY

    def _say_goodbye(self) -> None:
        """Unregister: what is still held may be taken over at once; not where the journal says what became of it, which is to be
        told first. A store that hangs is not waited for, and keeps no word from the other."""

        def unregister(consumer: Consumer) -> None:
            with suppress(StoreUnavailable, ConfigError):
                consumer.store.unregister(self.info)

        def close(drainer: Drainer) -> None:
            with suppress(ConfigError):
                drainer.close()

        words: list[Callable[[], None]] = [
            partial(unregister, one) for one in self._consumers if one.known and not one.written_down
        ]
        if self._drainer is not None:
            words.append(partial(close, self._drainer))
        threads = [threading.Thread(target=word, name="spoolq-goodbye", daemon=True) for word in words]
        for thread in threads:
            thread.start()
        limit = time.monotonic() + _GOODBYE
        for thread in threads:
            thread.join(max(0.0, limit - time.monotonic()))

    # the services

    def _tidying(self, consumer: Consumer) -> dict[str, Callable[[], float]]:
        scheduler = Scheduler(consumer.store)
        rescuer = Rescuer(partial(self._rescue, consumer), self.info.lease, hold_off=lambda: consumer.reach.hold_off)

        def when_active(turn: Callable[[], float]) -> Callable[[], float]:
            return lambda: turn() if consumer.active else 1.0  # a spool that nothing is run from is left alone

        return {"scheduler": when_active(scheduler.turn), "rescuer": when_active(rescuer.turn)}

    def _rescue(self, consumer: Consumer, limit: int) -> int:
        """Take over what the dead held; but what they wrote down was done, and is told first."""
        if consumer is self.primary and self._replayer is not None:
            with suppress(StoreUnavailable, ConfigError):
                self._replayer.turn()
            if self._replayer.waits:
                return 0
        return consumer.reconciler.rescue(limit)

    def _heartbeats(self, consumer: Consumer) -> Callable[[], float]:
        every = self.info.lease / 3
        last = float("-inf")
        shown: frozenset[str] = frozenset()

        def turn() -> float:
            """The leases, three times a lease; and what is worked on, soon after it has begun."""
            nonlocal last, shown
            if not consumer.active:
                return 0.5
            now, clock = time.monotonic(), time.time()
            working = consumer.working
            running = frozenset(one.claim.token for one in working if clock - one.since > _SHOWN_AFTER)
            if now - last >= every or (running - shown and now - last >= _SHOWN_EVERY):
                try:
                    consumer.reconciler.heartbeat()
                except StoreUnavailable:  # the consumer tells; a lease may be short, and is to be saved as soon as it's back
                    return self._rng.uniform(0.5, 1.0) * min(1.0, every)
                last, shown = now, running
            return min(every, 0.1 if working else 0.5)

        return turn
