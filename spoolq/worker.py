"""A worker process: threads that run jobs, a consumer for each store, and the services that keep the queue going."""

from __future__ import annotations

import itertools
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial

from spoolq import logfiles, signals
from spoolq.burst import Burst
from spoolq.consumer import Consumer
from spoolq.crew import Crew
from spoolq.drain import Drainer
from spoolq.errors import ConfigError, StoreUnavailable
from spoolq.events import Recorder
from spoolq.gate import Gate
from spoolq.heartbeat import Heartbeat
from spoolq.house import House
from spoolq.job import Failure
from spoolq.journal import Journal
from spoolq.membership import ALONE, RECYCLED, Membership
from spoolq.notifying import SILENT, Notifier
from spoolq.presence import Presence
from spoolq.reporter import Reporter
from spoolq.runner import Runner
from spoolq.selection import Selection, named
from spoolq.service import Service
from spoolq.store.base import Spool, Store, WorkerInfo
from spoolq.store.quota import Quota
from spoolq.tasks import Tasks
from spoolq.units import MANY, jobs
from spoolq.watch import Watcher
from spoolq.wishes import Listener, Word

log = logging.getLogger("spoolq.worker")

BROKEN = 70  # EX_SOFTWARE
_SETTLING = 5.0  # seconds for telling a store that answers what became of the last jobs
_AWAY = 2.0  # seconds for which a store that doesn't answer is waited for, when no result would be lost
_GOODBYE = 2.0
_TELLS = 10.0  # seconds between two words to systemd


class Worker(signals.Obeys):
    """Runs the jobs of `tasks` from `primary`, and from this host's `spool` while the primary is away.

    info       who it is: queues in order of priority, threads, lease
    selection  the queues with patterns and weights, for the spool's own jobs too; None for those of `info`, as they are named
    drainer    empties the spool beside the work; None for no draining
    watcher    watches over what is kept in the spool beside; None for nobody
    local      whether the spool's own jobs are run during an outage
    grace      seconds that running jobs get at the end before they are put back; None for as long as they take
    burst      end when there is nothing left to do
    quotas     limits of queues, kept over all workers of a store
    max_prefetch   claims held beyond one for each thread, reached only by jobs of microseconds; a killed worker runs so many
               finished jobs again at most, and one for each thread, since their acknowledgements travel together
    async_concurrency   `async def` tasks at the same time, beside the threads; 0: none of the tasks may be one
    member     where it stands among the other processes of its host
    record     gets every failure before a store is told of it; must not raise
    services   (name, turn) of what else goes on in the background of who keeps house
    everywhere the same, of each process
    hook       called at named points ("registered", "claimed", "idle", "away"), for tests
    """

    def __init__(
        self,
        primary: Store,
        tasks: Tasks,
        info: WorkerInfo,
        *,
        selection: Selection | None = None,
        spool: Spool | None = None,
        drainer: Drainer | None = None,
        watcher: Watcher | None = None,
        local: bool = True,
        grace: float | None = 25.0,
        burst: bool = False,
        quotas: Sequence[Quota] = (),
        max_prefetch: int = 100,
        async_concurrency: int = 100,
        member: Membership = ALONE,
        record: Callable[[Sequence[Failure]], None] | None = None,
        services: Sequence[tuple[str, Callable[[], float]]] = (),
        everywhere: Sequence[tuple[str, Callable[[], float]]] = (),
        hook: Callable[[str], None] = lambda point: None,
        rng: random.Random | None = None,
    ) -> None:
        super().__init__()
        self.info = info
        self._selection = named(info.queues) if selection is None else selection
        self._spool = spool
        self._drainer = drainer
        self._grace = grace
        self._now = self._paused = False
        self._until: float | None = None  # when the grace is over, once it was told to stop
        self._notifier = SILENT
        self._recorder = Recorder(lambda: primary.events if spool is None else spool.events)
        self._rng = rng or random.Random()
        self._member = member
        coroutines = tasks.concurrency(async_concurrency) if info.threads else 0
        slots = info.threads + coroutines
        self._presence = None if member.folder is None else Presence(member.folder, info, slots, member.pool)
        self._crew = Crew(info.threads, coroutines=coroutines, board=self._presence)

        def consumer(
            store: Store,
            name: str,
            says: str,
            wanted: Callable[[], bool],
            journal: Journal | None = None,
            elsewhere: Callable[[], Collection[str]] = tuple,
        ) -> Consumer:
            runner = Runner(tasks, info, says, store.now, reporter=Reporter(store), gate=Gate(store, info.lease))
            kept = (lambda: None) if self._presence is None else partial(self._presence.beat, int(store is not primary))
            return Consumer(
                store,
                info,
                runner,
                self._crew,
                name=name,
                selection=self._selection,
                quotas=quotas,
                max_prefetch=max_prefetch,
                most=member.max_jobs,
                journal=journal,
                record=record,
                elsewhere=elsewhere,
                wanted=wanted,
                changed=self._changed,
                kept=kept,
                hook=hook,
            )

        journal = None if spool is None else Journal(spool.settlements, info.key)
        self.primary = consumer(primary, "worker", "primary", lambda: True, journal)
        self.local: Consumer | None = None
        if spool is not None and local:
            wanted, paused = lambda: self.primary.reach.available is False, lambda: self.primary.lineup.known
            self.local = consumer(spool, "local-worker", "spool", wanted, elsewhere=paused)
        self._consumers = [one for one in (self.primary, self.local) if one is not None]
        self._services = [
            Service(
                f"{one.name}-heartbeat", Heartbeat(one, info.lease, self._rng).turn, quiet=True, again=min(1.0, info.lease / 3)
            )
            for one in self._consumers
        ]
        self._services += [Service(name, turn, quiet=True) for name, turn in everywhere]
        active = {id(one.store): one for one in self._consumers}
        hears = Listener(info.key, [one.store for one in self._consumers], self._told, lambda store: active[id(store)].active)
        self._services.append(Service("wishes", hears.turn, quiet=True))
        if self.local is not None:
            self._services.append(Service("pauses", self.primary.lineup.look, quiet=True, again=1.0))
        tidy: tuple[Callable[[], float], ...] = ()
        if member.house:
            house = House(
                info,
                self._consumers,
                spool=spool,
                drainer=drainer,
                watcher=watcher,
                folder=member.folder,
                note=self._recorder.note,
                pool=member.pool,
            )
            self._services += [*house.services, *(Service(name, turn, quiet=True) for name, turn in services)]
            tidy = house.tidy
        drained = (spool, drainer) if spool is not None and drainer is not None else None
        self._burst = Burst(self.primary, self.local, drained, tidy) if burst else None

    def run(self, notifier: Notifier = SILENT) -> int:
        """Work until `stop` (or, with `burst`, until nothing is left), and tell `notifier` how it goes. Safe to start while Redis
        is away. Returns the exit code: 0; 70 when a thread of ours has ended that should not have, or too many jobs run on after
        their time limit; of a burst also 69 when the primary was out of reach, 75 when jobs are left in the spool that it doesn't
        take, or a queue can't be read.

        Raises ConfigError when one of the stores can't be used as it is set up.
        """
        if self._spool is not None:
            with suppress(StoreUnavailable):  # without its spool it goes on with Redis alone
                self._spool.waiting(1)
        info = self.info
        self._notifier = notifier
        if notifier.listens:
            self._services.append(Service("notifier", self._tell, quiet=True))
        for service in self._services:
            service.wrong = partial(self._recorder.note, "config_fault")
        if self._presence is not None:
            self._presence.appear()
        if self._member.parent is not None:
            threading.Thread(target=self._await_parent, args=(self._member.parent,), name="spoolq-parent", daemon=True).start()
        try:
            self._crew.start()
            for consumer in self._consumers:
                consumer.start()
            for service in self._services:
                service.start()
            what = f"runs, {info.threads} thread(s), queues {self._selection}" if info.threads else "keeps house for its pool"
            log.info("worker %s %s", info.resque_id(0), what)
            notifier.ready()
            code = self._watch()
            if code == RECYCLED and self._until is None:
                self._until = float("inf")  # nobody is in a hurry, and a long job isn't to be begun again
        finally:
            self._finish()
        if (broken := self._broken()) is not None:
            self._recorder.note("config_fault", str(broken))
            self._recorder.close(_GOODBYE)
            raise broken
        return code

    def stop(self, *, now: bool = False, grace: bool = True) -> None:
        """Take no more, finish what runs within the grace, put the rest back. `now`: put it back at once; not `grace`: wait
        for as long as it takes. Safe in a signal handler."""
        self._now = self._now or now
        self._until = time.monotonic() + self._grace if grace and self._grace is not None else float("inf")
        super().stop()

    def _told(self, word: Word) -> None:
        """An operator's word to this process, from a store."""
        if word == "stop":
            self.stop()
        else:
            self.pause(word == "quiet")

    def install_signals(self) -> None:
        """Obey signals, as `spoolq.signals.install` says. Only from the main thread."""
        # Ruby's Resque on the same host knows by the title (`resque-0:`) that this process is alive
        title = f"resque-0: spoolq {'worker' if self.info.threads else 'housekeeper'} on {','.join(self.info.queues)}"
        signals.install(self, title, pooled=self._member.parent is not None)

    def _await_parent(self, descriptor: int) -> None:
        """A pool whose own process was killed ends: nobody would start its processes anew, or keep their leases."""
        with suppress(OSError):
            os.read(descriptor, 1)
        log.warning("the pool's own process has ended; this one ends as well")
        self.stop()

    def _watch(self) -> int:
        """Until the end. Returns the exit code."""
        while True:
            began, wait = time.monotonic(), 0.02 if self._burst is not None else 0.5 if self._member.pool else 1.0
            order = self._next_order(min(wait, self._notifier.pause))
            self._notifier.beat()
            if order is None and self._presence is not None:
                fed = any(one.fed for one in self._consumers)
                self._presence.pulse(max(self._crew.late, time.monotonic() - began - wait), self._ran, fed)
            match order:
                case "stop":
                    return 0
                case "pause" | "resume" as order:
                    self._paused = order == "pause"
                    for consumer in self._consumers:
                        consumer.pause(self._paused)
                    log.info("paused: running jobs go on, no more are taken" if order == "pause" else "resumed")
                case "reopen":
                    log.info("SIGHUP: %d log file(s) reopened", logfiles.reopen())
                    self._notifier.reloaded()
                case "say":
                    log.warning("%s", self._status())
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
                    self._crew.look()
                    if self._crew.worn_out:
                        log.critical(
                            "the worker ends, to be started anew: %d jobs run on in it after their time limit, and only its end"
                            " ends them",
                            self._crew.left_behind,
                        )
                        return BROKEN
                    if self._burst is not None and (code := self._burst.turn()) is not None:
                        return code
                    if why := self._member.worn(self._ran):
                        log.info("this process ends, to be started anew: %s", why)
                        return RECYCLED

    @property
    def _ran(self) -> int:
        return sum(one.ran for one in self._consumers)

    def _status(self) -> str:
        stores = [
            f"{one.name}: {len(one.working)} running, {one.count} held, {one.reach.state}{one.lineup.says_paused}"
            f"{one.lineup.says_limited}"
            for one in self._consumers
        ]
        return f"worker {self.info.resque_id(0)}: {'; '.join(stores)}{', paused' if self._paused else ''}"

    def _tell(self) -> float:
        """A line for systemd. On a thread of its own: the spool's disk may hang, and the main loop is to go round."""
        waits = "" if self._spool is None else f"; {jobs(self._spool.waiting(MANY + 1))} in the spool"
        self._notifier.status(f"{self._status()}{waits}")
        return _TELLS

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
        if self._until is None:
            self._until = float("inf") if self._grace is None else time.monotonic() + self._grace
        if self._crew.busy:
            left = self._until - time.monotonic()
            log.info("waiting for running jobs: %s", "no limit" if left == float("inf") else f"{max(0.0, left):.3g} s at most")
        self._wait(lambda: not self._crew.busy)
        self._notifier.stopping()  # not before: its TimeoutStopSec would end a grace without a limit
        until = self._until
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
        for consumer in self._consumers:
            if (reporter := consumer.runner.reporter) is not None:
                reporter.stop()
        for service in self._services:
            service.stop(0.0)
        for service in self._services:
            service.stop(max(0.0, limit - time.monotonic()))
        self._say_goodbye()
        log.info("worker %s has ended", self.info.resque_id(0))

    def _wait(self, over: Callable[[], bool], until: float | None = None) -> None:
        """Until it is over, or that time (the end of the grace, which an order may change), or a second order to stop."""
        while not (over() or self._now or time.monotonic() >= (self._until or 0.0 if until is None else until)):
            try:
                self._next_order(0.01)
                self._notifier.beat()
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
        told first. A store that hangs is not waited for, and keeps no word from the other. Where one wasn't told, this worker's
        file stays, and who lives settles the rest."""
        told: list[bool] = []

        def unregister(consumer: Consumer) -> None:
            with suppress(StoreUnavailable, ConfigError):
                consumer.store.unregister(self.info)
                told.append(True)

        def close(drainer: Drainer) -> None:
            with suppress(ConfigError):
                drainer.close()

        known = [one for one in self._consumers if one.known]
        words: list[Callable[[], None]] = [partial(unregister, one) for one in known if not one.written_down]
        if self._drainer is not None:
            words.append(partial(close, self._drainer))
        threads = [threading.Thread(target=word, name="spoolq-goodbye", daemon=True) for word in words]
        for thread in threads:
            thread.start()
        limit = time.monotonic() + _GOODBYE
        for thread in threads:
            thread.join(max(0.0, limit - time.monotonic()))
        if self._presence is not None:
            if len(told) == len(known):
                self._presence.vanish()
            else:
                self._presence.abandon()
