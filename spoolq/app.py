"""`SpoolQ`, the object an application makes: a producer of jobs, and what works on them."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from spoolq import stores
from spoolq.errors import ConfigError
from spoolq.importing import importing
from spoolq.job import new_id
from spoolq.middleware import Middleware
from spoolq.producer import Producer
from spoolq.store.base import Spool, Store, WorkerInfo

if TYPE_CHECKING:
    from spoolq.autoscale.sample import Policy
    from spoolq.bookkeeping import Bookkeeper
    from spoolq.drain import Drainer
    from spoolq.failurelog.entry import Redact
    from spoolq.failurelog.sink import FailureSink
    from spoolq.forward import Forwarder
    from spoolq.hosts import Publisher
    from spoolq.pool import Pool
    from spoolq.replayer import Replayer
    from spoolq.runtime import Folder
    from spoolq.selection import Selection
    from spoolq.starting import Seat
    from spoolq.watch import Watcher
    from spoolq.worker import Worker

log = logging.getLogger("spoolq")


class SpoolQ(Producer):
    """A queue for an application: tasks, enqueue, and the stores.

    url         redis://, rediss://, unix:// or sqlite:///path (no Redis at all)
    spool       the file that takes jobs while Redis can't; by default one per destination in the state directory
    namespace   the prefix of all keys in Redis (`resque`)
    redact      called with a copy of each failure that goes to files or buckets (`failure_log`), a dictionary: takes out what
                should not be there, in place, or returns another. The store's own failure list keeps everything
    middleware  hooks around launches and runs, the outermost first
    settings    any other setting by name, as in the docs' configuration page

    Making one connects to nothing and opens nothing. It is safe to share between threads, and to make before a fork.
    Raises ConfigError for a wrong setting.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        spool: str | os.PathLike[str] | None = None,
        namespace: str | None = None,
        config_file: str | os.PathLike[str] | None = None,
        redact: Redact | None = None,
        middleware: Sequence[Middleware] = (),
        **settings: Any,
    ) -> None:
        if redact is not None and not callable(redact):
            raise ConfigError(f"redact = {redact!r}: expected a function of one argument, the failure as a dictionary")
        self.redact = redact
        self._forwarder: Forwarder | None = None
        self._sink: FailureSink | None = None
        super().__init__(url, spool=spool, namespace=namespace, config_file=config_file, middleware=middleware, **settings)

    def worker(
        self,
        *,
        queues: str | Sequence[str] | Selection = (),
        threads: int = 4,
        async_concurrency: int = 100,
        burst: bool = False,
        local: bool = True,
        drain: bool = True,
        grace: float | None = None,
        seat: Seat | None = None,
        max_jobs: int | None = None,
        max_memory: int | None = None,
        name: str = "default",
    ) -> Worker:
        """A worker of this application's tasks: `run()` works until it is stopped.

        queues: in order of priority, with weights and patterns, as a text (`"critical,default:3,low:1"`) or its parts
        (`["*", "!slow"]`); those of the tasks by default. threads: jobs at the same time; async_concurrency: `async def` tasks
        at the same time, on one event loop beside the threads, 0: there is none. burst: until nothing is left. local: run the
        spool's own jobs while Redis is away; drain: empty this host's spool too. grace: seconds for running jobs at the end.
        seat: this process's place in a pool, where it is one of several; max_jobs, max_memory, name: as `pool` has them.

        Raises ConfigError for queues that can't be, and for an `async def` task where there is no event loop.
        """
        from spoolq.autoscale.assembly import gauging
        from spoolq.membership import Membership, counted
        from spoolq.quotas import quotas
        from spoolq.worker import Worker

        counted("threads", threads, 1000)
        if grace is not None and (isinstance(grace, bool) or not isinstance(grace, int | float) or not grace >= 0):
            raise ConfigError(f"grace={grace!r}: a number of seconds from 0 up is needed, or None for the setting's")
        selection = self._selection(queues)
        spool, folder, key = self.spool, self.workers_folder(), ""
        ends = burst  # of a burst's pool too: who works off what there is makes no ticks
        scaled = seat is not None and seat.role == "house" and not burst
        if seat is None:
            member = Membership(folder)
        else:
            keeps_house = seat.role == "house"
            key, threads = seat.key, 0 if keeps_house else threads
            # a burst's processes see for themselves that nothing is left: each drains
            member = Membership(folder, seat.pool, keeps_house or burst, seat.parent, max_jobs, max_memory)
            drain = drain and keeps_house != burst
            burst = burst and not keeps_house
        # a pool has seen to it at its start; a process that comes later works on also where that disk has failed since
        sink = self._prepared_sink() if seat is None else self.failure_sink()
        info = self.worker_info(selection.words, threads, key=key)
        drainer = self.drainer() if drain and spool is not None else None
        return Worker(
            self.primary,
            self.tasks,
            info,
            selection=selection,
            spool=spool,
            drainer=drainer,
            watcher=self.watcher() if drain and spool is not None else None,
            local=local,
            grace=self.settings.grace if grace is None else grace,
            async_concurrency=async_concurrency,
            burst=burst,
            max_prefetch=self.settings.max_prefetch,
            quotas=quotas(self.settings.concurrency, self.settings.rate_limits),
            member=member,
            record=None if sink is None else sink.write,
            everywhere=[("counts", self._teller.turn)],
            services=[
                *(() if sink is None else sink.services),
                *self._retention(),
                ("books", self.bookkeeper().turn),
                *(self._ticking() if member.house and not ends else ()),
                *(gauging(self, info, selection, member.pool, name) if scaled else ()),
                *(() if drainer is None else [("hosts", self.publisher(drainer).turn)]),
            ],
        )

    def pool(
        self,
        processes: tuple[int, int],
        *,
        threads: int = 4,
        async_concurrency: int = 100,
        burst: bool = False,
        spawn: Sequence[str] | None = None,
        name: str = "default",
        policy: Policy | None = None,
        **options: Any,
    ) -> Pool:
        """A pool of worker processes: `run()` works until it is stopped. Only from a process without threads.

        processes: how many at least and at most. spawn: a command to which a seat (`starting.decode`) is added, which then makes
        its own `worker` with it; by default processes are forks of this one. The other options are those of `worker`.
        max_jobs: each process is replaced after so many; max_memory: when it has become larger, in bytes. name: by which `spoolq
        pool scale` means this one of the host's pools. policy: decides how many there are; by default the one that the setting
        `scale_policy` names.

        Raises ConfigError for numbers that are none, for queues that can't be, and where there is no place for the files by which
        a pool watches over its processes.
        """
        from spoolq.autoscale.assembly import sizer
        from spoolq.membership import Membership, counted
        from spoolq.pool import Pool
        from spoolq.starting import Fork, Spawn

        self._prepared_sink()  # here as well: what is wrong is said before processes are started
        if not isinstance(processes, tuple) or len(processes) != 2:
            raise ConfigError(f"processes={processes!r}: a pair of numbers is needed, at least and at most, as in (2, 6)")
        least, most = (counted("processes", each) for each in processes)
        counted("threads", threads, 1000)
        Membership(max_jobs=options.get("max_jobs"), max_memory=options.get("max_memory")).begin()
        options["queues"] = self._selection(options.get("queues", ()))  # before there is a process that would end for it
        options["async_concurrency"] = self.tasks.concurrency(async_concurrency)
        folder, key = self.workers_folder(), new_id()
        if not folder.path:
            raise ConfigError("no place for the files of worker processes: set RUNTIME_DIRECTORY to a directory of this user's")
        who = self.worker_info(options["queues"].words, threads)
        size = sizer(self.settings, policy, (least, most), threads, who, key, name)
        read, write = os.pipe()
        start: Fork | Spawn
        if spawn is None:
            start = Fork(
                lambda seat: self.worker(threads=threads, burst=burst, seat=seat, name=name, **options),
                *(self.close, key, read, write),
            )
        else:
            start = Spawn(spawn, key, read)
        grace = options.get("grace")
        return Pool(
            start,
            folder,
            size,
            burst=burst,
            grace=self.settings.grace if grace is None else grace,
            alive=(read, write),
        )

    # what they are made of

    def worker_info(
        self, queues: Sequence[str], threads: int, kind: Any = "worker", lease: float | None = None, key: str = ""
    ) -> WorkerInfo:
        """An identity for a worker or drainer that starts now."""
        return WorkerInfo(
            key=key or new_id(),
            host=socket.gethostname().replace(":", "-").replace(",", "-") or "localhost",
            pid=os.getpid(),
            queues=tuple(queues),
            threads=threads,
            started_at=time.time(),
            lease=self.settings.lease if lease is None else lease,
            kind=kind,
        )

    def adopt(self, path: str | os.PathLike[str], *, to_here: bool = False) -> Spool:
        """Another spool than this application's own, such as one that a host left behind, to be drained from here. It must be
        there, and is closed by who asked for it.

        Raises ConfigError when it is none, or for another destination; `to_here` takes it all the same.
        """
        destination = "" if to_here else self.settings.destination
        return stores.open_spool(self.settings, path, create=False, destination=destination)

    def drainer(
        self, *, rate: float | None = None, batch: int | None = None, spool: Spool | None = None, keep: bool = True
    ) -> Drainer:
        """A drainer of this spool (or the given one) into this primary. Not `keep`: one made for another destination, whose rows
        nobody watches for this primary. Raises ConfigError where there is no spool."""
        with importing():
            from spoolq.drain import Drainer
        spool = spool or self.spool
        if spool is None:
            raise ConfigError(f"{self.settings.url}: an SQLite queue has no spool, so there is nothing to drain")
        return Drainer(
            spool,
            self.primary,
            self.breaker,
            self.worker_info((), 1, "drainer", min(10.0, self.settings.lease)),
            rate=self.settings.drain_rate if rate is None else rate,
            batch=self.settings.drain_batch if batch is None else batch,
            horizon=self.settings.horizon,
            keep=keep,
            hooks=self.hooks,
            counts=self.counts,
        )

    def publisher(self, drainer: Drainer) -> Publisher:
        """Who tells the primary, and so other hosts, how this host's spool is, which that drainer empties. Raises ConfigError
        where there is no spool."""
        with importing():
            from spoolq import config
            from spoolq.hosts import Publisher
        if self.spool is None:
            raise ConfigError(f"{self.settings.url}: an SQLite queue has no spool, so there is nothing to tell of")
        host, name = self.worker_info((), 1).host, config.digits(str(self.settings.spool_path))
        return Publisher(
            self.spool,
            self.primary,
            self.breaker,
            lambda: (drainer.progress.rows, drainer.progress.error),
            host=host,
            name=name,
        )

    def watcher(self, spool: Spool | None = None) -> Watcher:
        """Who watches over the rows of this spool (or the given one) that are kept although Redis has them. Raises ConfigError
        where there is no spool."""
        with importing():
            from spoolq.watch import Watcher
        spool = spool or self.spool
        if spool is None:
            raise ConfigError(f"{self.settings.url}: an SQLite queue has no spool, so there is nothing to watch")
        return Watcher(spool, self.primary, replica=self.settings.confirm == "replica")

    def bookkeeper(self, spool: Spool | None = None) -> Bookkeeper:
        """Who keeps the accounts of the primary and of this spool (or the given one)."""
        with importing():
            from spoolq.bookkeeping import Bookkeeper
        return Bookkeeper(self.primary, spool or self.spool)

    def replayer(self, spool: Spool | None = None) -> Replayer:
        """Who tells the primary what workers of this host left in the journal of this spool (or the given one). Raises
        ConfigError where there is no spool."""
        with importing():
            from spoolq.replayer import Replayer
        spool = spool or self.spool
        if spool is None:
            raise ConfigError(f"{self.settings.url}: an SQLite queue has no spool, so there is no journal")
        sink = self.failure_sink()
        record = None if sink is None else sink.write
        return Replayer(spool.settlements, self.primary, self.worker_info((), 1, "drainer"), record=record)

    def failure_sink(self) -> FailureSink | None:
        """What writes failures to the places of `failure_log`; None where there are none. Raises ConfigError where a package is
        missing for one."""
        if self._sink is None and self.settings.failure_log:
            with importing():
                from spoolq.failurelog import assembly
            with self._lock:
                if self._sink is None:
                    own = self.origins["spool"] == "default" and self.settings.sqlite_path is None
                    self._sink = assembly.sink(self.settings, self.redact, own_directory=own, counts=self.counts)
        return self._sink

    def _let_go(self, timeout: float) -> None:
        with self._lock:
            forwarder, self._forwarder = self._forwarder, None
            sink, self._sink = self._sink, None
        if forwarder is not None:
            forwarder.stop(timeout)
        if sink is not None:
            sink.close(timeout)

    def _prepared_sink(self) -> FailureSink | None:
        """That, ready to be written to. Raises ConfigError. What waits for a bucket that is named no more is told."""
        from spoolq.failurelog import assembly

        sink = self.failure_sink()
        if sink is not None:
            sink.prepare()
        for folder in assembly.forgotten(self.settings):
            log.warning(
                "failures wait in %s for a bucket that failure_log names no more: name it again, or have them in the store's list"
                " with `spoolq failed import %s`, and delete that directory",
                folder,
                folder,
            )
        return sink

    def _retention(self) -> Sequence[tuple[str, Callable[[], float]]]:
        """What lets old failures go from the stores' own lists, where the settings ask for it."""
        if self.settings.failures_keep is None and self.settings.failures_max_age is None:
            return ()
        from spoolq.failurelog import assembly

        stores: list[tuple[str, Callable[[], Store]]] = [(self.settings.destination, lambda: self.primary)]
        if self.settings.sqlite_path is None:
            stores.append((str(self.settings.spool_path), self._open_spool))
        return assembly.retention(self.settings, stores)

    def _selection(self, queues: str | Sequence[str] | Selection) -> Selection:
        from spoolq.selection import named, parse

        return parse(queues) if queues or isinstance(queues, str) else named(self.queues())

    def _forward(self) -> None:
        """Have what was written ahead handed over by this process."""
        forwarder = self._forwarder
        if forwarder is None:
            with self._lock:
                forwarder = self._forwarder
                if forwarder is None:
                    with importing():
                        from spoolq.forward import Forwarder
                    forwarder = self._forwarder = Forwarder(self._open_spool(), self.drainer(), self.watcher())
        forwarder.wake()

    def workers_folder(self) -> Folder:
        """Where this user's workers on this host keep a file each, by which others see that they live."""
        with importing():
            from spoolq import config
            from spoolq.runtime import Folder
        settings = self.settings  # those with another spool have other things to tell of their dead
        digits = config.digits(f"{settings.destination} {'' if settings.sqlite_path else settings.spool_path}")
        return Folder(config.runtime_directories, f"workers-{digits}")

    def _after_fork(self) -> None:
        super()._after_fork()
        self._sink = self._forwarder = None  # a child hands over under a name of its own
