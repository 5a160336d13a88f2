"""A worker process: threads that run jobs, a consumer for each store, and the services that keep the queue going."""

from __future__ import annotations

import faulthandler
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from types import FrameType

from spoolq.consumer import Batch, Consumer
from spoolq.drain import Drainer
from spoolq.errors import StoreUnavailable
from spoolq.rescuer import Rescuer
from spoolq.runner import Runner
from spoolq.scheduler import Scheduler
from spoolq.service import Service
from spoolq.store.base import Spool, Store, WorkerInfo
from spoolq.tasks import Tasks

log = logging.getLogger("spoolq.worker")

OUT_OF_REACH = 69
_SHOWN_AFTER = 0.05  # seconds that a job must have run before others are told what the worker does
_SHOWN_EVERY = 0.25


class Worker:
    """Runs the jobs of `tasks` from `primary`, and from this host's `spool` while the primary is away.

    info       who it is: queues in order of priority, threads, lease
    drainer    empties the spool beside the work; None for no draining
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
        local: bool = True,
        grace: float | None = 25.0,
        burst: bool = False,
        max_prefetch: int = 100,
        hook: Callable[[str], None] = lambda point: None,
    ) -> None:
        self.info = info
        self._primary_store = primary
        self._spool = spool
        self._drainer = drainer
        self._grace = grace
        self._burst = burst
        self._stop = threading.Event()
        self._now = False
        self._todo: SimpleQueue[Batch | None] = SimpleQueue()
        self.primary = Consumer(
            primary, info, Runner(tasks, info, "primary"), self._todo, name="worker", max_prefetch=max_prefetch, hook=hook
        )
        self.local: Consumer | None = None
        if spool is not None:
            self.local = Consumer(
                spool,
                info,
                Runner(tasks, info, "spool"),
                self._todo,
                name="local-worker",
                max_prefetch=max_prefetch,
                wanted=lambda: local and self.primary.available is False,
            )
        self._consumers = [consumer for consumer in (self.primary, self.local) if consumer is not None]
        self._services = [self._heartbeats(consumer) for consumer in self._consumers]
        for consumer in self._consumers:
            self._services += [
                Service(f"{consumer.name}-scheduler", Scheduler(consumer.store).turn),
                Service(f"{consumer.name}-rescuer", Rescuer(consumer.store, info, consumer.runner, consumer.adopt).turn),
            ]
        if drainer is not None:
            self._services.append(Service("drainer", drainer.turn))

    def run(self) -> int:
        """Work until `stop` (or, with `burst`, until nothing is left). Returns the exit code: 0, or 69 when a burst could
        not reach
        the primary. Safe to start while Redis is away."""
        self._title()
        threads = [
            threading.Thread(target=self._work, args=(slot,), name=f"spoolq-job-{slot}", daemon=True)
            for slot in range(self.info.threads)
        ]
        for thread in threads:
            thread.start()
        for consumer in self._consumers:
            consumer.start()
        for service in self._services:
            service.start()
        log.info(
            "worker %s runs, %d thread(s), queues %s", self.info.resque_id(0), self.info.threads, ", ".join(self.info.queues)
        )
        code = 0
        while not self._stop.wait(0.02 if self._burst else 1.0):
            if self.local is not None and self.primary.available is False:
                self.local.wake()
            if self._burst and (found := self._finished()) is not None:
                code = found
                break
        self._finish()
        return code

    def stop(self, *, now: bool = False) -> None:
        """Take no more, finish what runs within the grace, put the rest back. `now`: put it back at once. Safe in a signal
        handler."""
        self._now = self._now or now
        self._stop.set()

    def pause(self, paused: bool = True) -> None:
        """Take no more jobs until resumed; running ones go on."""
        for consumer in self._consumers:
            consumer.paused = paused
            consumer.wake()
        log.info("paused" if paused else "resumed")

    def install_signals(self) -> None:
        """TERM, INT: stop, the second one at once. QUIT: stop, without a limit. TSTP, USR2: pause, CONT: resume. TTIN:
        stacks to
        standard error. Only from the main thread."""

        def end(number: int, frame: FrameType | None) -> None:
            self.stop(now=self._stop.is_set())

        def quit(number: int, frame: FrameType | None) -> None:
            self._grace = None
            self.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        signal.signal(signal.SIGQUIT, quit)
        for number in (signal.SIGTSTP, signal.SIGUSR2):
            signal.signal(number, lambda number, frame: self.pause())
        signal.signal(signal.SIGCONT, lambda number, frame: self.pause(False))
        faulthandler.register(signal.SIGTTIN, file=sys.stderr, all_threads=True)

    def _work(self, slot: int) -> None:
        """One thread: runs the batches that it is given, until None."""
        while (batch := self._todo.get()) is not None:
            consumer, claims = batch
            for claim in claims:
                if consumer.begin(slot, claim):
                    began = time.perf_counter()
                    outcome = consumer.runner.run(claim, slot)
                    consumer.finish(slot, claim, outcome, time.perf_counter() - began)

    def _finished(self) -> int | None:
        """In a burst: the exit code when nothing is left to do here, else None."""
        if self.primary.available is False:
            if self.local is None:
                return OUT_OF_REACH
            return OUT_OF_REACH if self.local.idle else None
        if not self.primary.idle or (self.local is not None and self.local.working):
            return None
        if self._drainer is None or self._spool is None:
            return 0
        with suppress(StoreUnavailable):
            if self._spool.waiting(1):
                return None
        # A look once more: the drainer may have put something into the primary since it was found empty.
        self.primary.empty = False
        self.primary.wake()
        until = time.monotonic() + 2.0
        while time.monotonic() < until and not self.primary.empty:
            time.sleep(0.002)
        return 0 if self.primary.idle else None

    def _finish(self) -> None:
        """Stop claiming, wait for what runs, put back the rest, say good-bye."""
        for consumer in self._consumers:
            consumer.stop_claiming()
        if self._drainer is not None:
            self._drainer.stop()
        if any(consumer.working for consumer in self._consumers):
            log.info("waiting for running jobs: %s", "no limit" if self._grace is None else f"{self._grace:g} s at most")
        began = time.monotonic()
        for consumer in self._consumers:
            while consumer.working and not self._now and (self._grace is None or time.monotonic() < began + self._grace):
                time.sleep(0.01)
            if not consumer.settle_rest(time.monotonic() + (0.0 if self._now or consumer.working else 2.0)):
                log.warning("%s: not everything could be settled; it is run again when the lease is over", consumer.name)
        for service in self._services:
            service.stop(0.0)
        for service in self._services:
            service.stop(2.0)
        for _ in range(self.info.threads):
            self._todo.put(None)
        for consumer in self._consumers:
            with suppress(StoreUnavailable):
                consumer.store.unregister(self.info)
        if self._drainer is not None:
            self._drainer.close()
        log.info("worker %s has ended", self.info.resque_id(0))

    def _heartbeats(self, consumer: Consumer) -> Service:
        every = self.info.lease / 3
        last = [0.0]
        shown: list[frozenset[str]] = [frozenset()]

        def turn() -> float:
            """The leases, three times a lease; and what is worked on, soon after it has begun."""
            now, clock = time.monotonic(), time.time()
            running = frozenset(w.claim.token for w in consumer.working if clock - w.since > _SHOWN_AFTER)
            if now - last[0] >= every or (running - shown[0] and now - last[0] >= _SHOWN_EVERY):
                last[0], shown[0] = now, running
                consumer.heartbeat()
            return min(every, 0.1 if consumer.working else 0.5)

        return Service(f"{consumer.name}-heartbeat", turn)

    def _title(self) -> None:
        """A title by which Ruby's Resque on the same host knows that this process is alive (it looks for `resque-0:`)."""
        with suppress(ImportError):
            from setproctitle import setproctitle

            setproctitle(f"resque-0: spoolq worker on {','.join(self.info.queues)}")
