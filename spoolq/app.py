"""`SpoolQ`, the object an application makes: its tasks, its settings, and the two stores behind them."""

from __future__ import annotations

import atexit
import logging
import os
import socket
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, overload

from spoolq import stores, wire
from spoolq.breaker import Breaker
from spoolq.client import Client
from spoolq.errors import ConfigError, PayloadError
from spoolq.hint import Hint
from spoolq.importing import importing
from spoolq.job import Job, Message, Receipt, new_id
from spoolq.retry import MAX_CRASHES, RetryPolicy
from spoolq.spans import Seconds, above_0, seconds
from spoolq.store.base import Spool, Store, WorkerInfo
from spoolq.tasks import Launch, Options, Task, Tasks, performer, queue_name

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from spoolq.drain import Drainer
    from spoolq.failurelog.entry import Redact
    from spoolq.failurelog.sink import FailureSink
    from spoolq.forward import Forwarder
    from spoolq.pool import Pool
    from spoolq.replayer import Replayer
    from spoolq.runtime import Folder
    from spoolq.selection import Selection
    from spoolq.starting import Seat
    from spoolq.watch import Watcher
    from spoolq.worker import Worker

log = logging.getLogger("spoolq")

P = ParamSpec("P")
R = TypeVar("R")


class SpoolQ:
    """A queue for an application: tasks, enqueue, and the stores.

    url         redis://, rediss://, unix:// or sqlite:///path (no Redis at all)
    spool       the file that takes jobs while Redis can't; by default one per destination in the state directory
    namespace   the prefix of all keys in Redis (`resque`)
    redact      called with a copy of each failure that goes to files or buckets (`failure_log`), a dictionary: takes out what
                should not be there, in place, or returns another. The store's own failure list keeps everything
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
        **settings: Any,
    ) -> None:
        from spoolq import config  # tomllib and urllib, for who makes a queue, not for who imports the package

        given: Mapping[str, Any] = {"url": url, "spool": spool, "namespace": namespace, **settings}
        self.settings, self.origins = config.load(
            config_file, **{name: value for name, value in given.items() if value is not None}
        )
        if redact is not None and not callable(redact):
            raise ConfigError(f"redact = {redact!r}: expected a function of one argument, the failure as a dictionary")
        self.redact = redact
        self.tasks = Tasks()
        self.hint = Hint(self._hint_place)
        self.breaker = Breaker(hint=self.hint, quick=self.settings.deadline, changed=self._breaker_changed)
        self._lock = threading.RLock()
        self._primary: Store | None = None
        self._spool: Spool | None = None
        self._client: Client | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._calls: set[Future[list[Receipt]]] = set()  # of the executor's threads, under way
        self._forwarder: Forwarder | None = None
        self._sink: FailureSink | None = None
        _open.add(self)

    @classmethod
    def from_env(cls, **settings: Any) -> Self:
        """One configured by the environment (`SPOOLQ_URL`, `SPOOLQ_SPOOL`, …) and spoolq.toml alone."""
        return cls(**settings)

    # tasks

    @overload
    def task(self, function: type, /) -> Task[..., Any]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self,
        /,
        *,
        name: str | None = None,
        queue: str | None = None,
        priority: str | None = None,
        retries: int | None = None,
        backoff: object | None = None,
        retry_on: tuple[type[BaseException], ...] | None = None,
        give_up_on: tuple[type[BaseException], ...] | None = None,
        retry_for: Seconds | None = None,
        max_crashes: int | None = None,
        timeout: Seconds | None = None,
        soft_timeout: Seconds | None = None,
        expires: Seconds | None = None,
    ) -> Callable[[Callable[P, R]], Task[P, R]]: ...
    def task(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        queue: str | None = None,
        priority: str | None = None,
        retries: int | None = None,
        backoff: object | None = None,
        retry_on: tuple[type[BaseException], ...] | None = None,
        give_up_on: tuple[type[BaseException], ...] | None = None,
        retry_for: Seconds | None = None,
        max_crashes: int | None = None,
        timeout: Seconds | None = None,
        soft_timeout: Seconds | None = None,
        expires: Seconds | None = None,
    ) -> Any:
        """Register a function, or a class with `perform`, as a task. Used bare (`@q.task`) or with options.

        name       on the wire (the function's own name; Resque's `class`)
        queue      where its jobs go (`default`; a class may say so in an attribute `queue`)
        priority   instead of a queue: `high`, `default`, `low`, or another name in the setting `priorities`
        retries    how often a failed job is tried again (setting `retries`); backoff: any tenacity wait (jittered exponential)
        retry_on, give_up_on   exception classes
        retry_for  seconds (or a timedelta) since its first failed attempt after which a job is not tried again; without `retries`
                   it is tried as often as that allows
        max_crashes   deaths of its worker with which a job is given up (3); they use up no retries
        timeout    seconds that an attempt may run: then TimeLimit is raised in it (an `async def` task is cancelled), and it is
                   tried again by policy; soft_timeout: seconds after which SoftTimeLimit is raised in it, to clean up
        expires    seconds after the launch (or after its due time) at which a job is stale and is dropped
        """

        def register(target: Callable[..., Any]) -> Task[..., Any]:
            if isinstance(target, Launch):
                raise ConfigError(f"{target.name} is a task already")
            body = performer(target) if isinstance(target, type) else target
            if not callable(body):
                raise ConfigError(f"{target!r} can't be a task: a task is a function, or a class with perform")
            named = name or getattr(body, "__name__", "<")
            if not isinstance(named, str) or (not name and named.startswith("<")):  # a lambda, a partial
                raise ConfigError(f"{target!r} has no name to be called by: give it one, q.task(name=…)")

            def option(key: str, given: Any, default: Any) -> Any:
                own = getattr(target, key, None) if isinstance(target, type) else None
                return given if given is not None else own if own is not None else default

            lasting = option("retry_for", retry_for, None)
            policy = RetryPolicy(
                retries=option("retries", retries, self.settings.retries if lasting is None else None),
                backoff=option("backoff", backoff, None),
                retry_on=option("retry_on", retry_on, (Exception,)),
                give_up_on=option("give_up_on", give_up_on, ()),
                retry_for=lasting,
                max_crashes=option("max_crashes", max_crashes, MAX_CRASHES),
            )
            place, rank = self._place(target, named, queue, priority)
            stale = option("expires", expires, None)
            task: Task[..., Any] = Task(
                body,
                name=named,
                queue=place,
                priority=rank,
                owner=self,
                policy=policy,
                timeout=option("timeout", timeout, None),
                soft_timeout=option("soft_timeout", soft_timeout, None),
                expires=None if stale is None else seconds(stale, "expires"),
            )
            self.tasks.add(task)
            return task

        return register if function is None else register(function)

    def _place(self, target: object, named: str, queue: str | None, priority: str | None) -> tuple[str, str | None]:
        """The queue of a task, and the priority that it has for that. A class's own attributes count where neither is given."""
        if queue is None and priority is None and isinstance(target, type):
            queue, priority = getattr(target, "queue", None), getattr(target, "priority", None)
        if priority is None:
            return queue_name("default" if queue is None else queue), None
        if queue is not None:
            raise ConfigError(f"{named}: queue={queue!r} and priority={priority!r}: a priority is a queue; give one of them")
        return self.priority_queue(priority), priority

    def priority_queue(self, name: str) -> str:
        """The queue of that priority. Raises ConfigError that names the priorities there are."""
        return self.settings.priorities.queue(name)

    def queues(self) -> tuple[str, ...]:
        """The queues that a worker takes from where nobody says which, in their order: those of its tasks, by priority; `default`
        where there are none."""
        return self.settings.priorities.arrange(self.tasks.queues()) or ("default",)

    def remote(self, name: str, queue: str = "default") -> Launch[...]:
        """A task by name, for a program that doesn't import it. Arguments travel as they are given."""
        return Launch(name, queue_name(queue), self, Options(), None)

    # enqueuing

    def enqueue(self, task: str | Launch[...], /, *args: Any, **kwargs: Any) -> Receipt:
        """Launch a task by its name (or the task itself) with the job's arguments; options need `task.using(…)`.

        A name that is registered here uses its task's queue and signature; another is sent to the queue `default`.
        """
        if isinstance(task, str):
            task = self.tasks.get(task) if task in self.tasks.names() else self.remote(task)
        elif not isinstance(task, Launch):
            raise TypeError(f"{task!r} is not a task, nor the name of one: a function becomes one with @q.task")
        return task.enqueue(*args, **kwargs)

    def enqueue_many(self, jobs: Iterable[Job], *, deadline: Seconds | None = None) -> list[Receipt]:
        """Store many jobs (made by `task.job(…)`); a receipt for each, in order. All or nothing for each 500 jobs or 1 MiB;
        `deadline` is what each of those gives Redis, instead of the setting.

        Raises NotStored or MaybeStored, whose lists name every id of the call; PayloadError before anything is stored.
        """
        jobs = tuple(jobs)  # a generator can be gone through once
        _check(jobs)
        return self.submit(jobs, None if deadline is None else above_0(deadline, "deadline"))

    async def aenqueue(self, job: Job, *, deadline: Seconds | None = None) -> Receipt:
        """Store a job made by `task.job(…)` from asyncio; its id is known even if the call is cancelled. `deadline`: what
        this call gives Redis, instead of the setting."""
        _check((job,))
        return (await self.asubmit((job,), None if deadline is None else above_0(deadline, "deadline")))[0]

    def submit(self, jobs: Sequence[Job], deadline: float | None = None) -> list[Receipt]:
        """What every launch ends in: encode, then put. `deadline` in seconds, or the setting."""
        return self.client.put([self.message(job) for job in jobs], deadline=deadline)

    def asubmit(self, jobs: Sequence[Job], deadline: float | None = None) -> Awaitable[list[Receipt]]:
        """`submit` on a thread of our own (the loop's default executor may be full of the application's work)."""
        import asyncio

        messages = [self.message(job) for job in jobs]
        call = self._threads().submit(self.client.put, messages, deadline=deadline)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return asyncio.wrap_future(call)

    def message(self, job: Job) -> Message:
        """The job as stores carry it, in this application's wire mode. Raises PayloadError."""
        settings = self.settings
        if job.at_front and (job.run_at or settings.ordering == "fifo"):
            why = "is for jobs that are due at once" if job.run_at else "breaks the order that ordering='fifo' promises"
            raise PayloadError(f"{job.task}: at_front {why}; leave it out")
        if settings.delayed == "resque" and job.run_at:
            if job.kwargs:
                raise PayloadError(
                    f"{job.task}: keyword arguments can't wait in Resque's own delayed keys, whose schedulers keep `args` only; "
                    "give them as positions, or leave delayed='spoolq'"
                )
            payload = wire.encode_bare(job, settings.wire, settings.max_payload)
            message = Message(job.put_id, job.queue, payload, job.run_at, job.given)
        else:
            message = wire.message(job, settings.wire, settings.max_payload)
        return message._replace(keep=settings.keep_for) if (job.accept or settings.accept) == "spool" else message

    # what is behind it

    @property
    def primary(self) -> Store:
        """The primary store. Opened when first used; opening it connects to nothing."""
        if self._primary is None:
            with self._lock:
                if self._primary is None:
                    self._primary = stores.open_primary(self.settings)
        return self._primary

    @property
    def spool(self) -> Spool | None:
        """The spool, None where the primary is an SQLite file. Its file is opened (and made) by the first call."""
        if self.settings.sqlite_path is not None:
            return None
        return self._open_spool()

    @property
    def client(self) -> Client:
        """The failover between the two."""
        if self._client is None:
            with self._lock:
                if self._client is None:
                    self._client = Client(
                        self.primary,
                        None if self.settings.sqlite_path is not None else self._open_spool,
                        self.breaker,
                        deadline=self.settings.deadline,
                        disk_limit=self.settings.disk_limit,
                        address=self.settings.destination,
                        ordered=self.settings.ordering == "fifo",
                        keep=0.0 if self.settings.confirm == "none" else self.settings.keep_for,
                        forward=self._forward,
                    )
        return self._client

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
                    self._sink = assembly.sink(self.settings, self.redact, own_directory=own)
        return self._sink

    def _prepared_sink(self) -> FailureSink | None:
        """That, ready to be written to. Raises ConfigError. What waits for a bucket that is named no more is told."""
        from spoolq.failurelog import assembly

        sink = self.failure_sink()
        if sink is not None:
            sink.prepare()
        for folder in assembly.forgotten(self.settings):
            log.warning(
                "failures wait in %s for a bucket that failure_log names no more: name it again, or move them with "
                "`spoolq failed import %s` or `export`",
                folder,
                folder,
            )
        return sink

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
    ) -> Worker:
        """A worker of this application's tasks: `run()` works until it is stopped.

        queues: in order of priority, with weights and patterns, as a text (`"critical,default:3,low:1"`) or its parts
        (`["*", "!slow"]`); those of the tasks by default. threads: jobs at the same time; burst: until nothing is left; local:
        run the spool's own jobs while Redis is away; drain: empty this host's spool too; grace: seconds for running jobs at the
        end. seat: this process's place in a pool, where it is one of several; max_jobs, max_memory: as `pool` has them.

        Raises ConfigError for queues that can't be.
        queues (in order of priority; those of the tasks by default), threads; async_concurrency: `async def` tasks at a time, on
        one event loop beside the threads, 0: there is none; burst: until nothing is left; local: run the
        spool's own jobs while Redis is away; drain: empty this host's spool too; grace: seconds for running jobs at the end.
        seat: this process's place in a pool, where it is one of several; max_jobs, max_memory: as `pool` has them.
        """
        from spoolq.membership import Membership
        from spoolq.worker import Worker

        selection = self._selection(queues)
        spool, folder, key = self.spool, self._workers_folder(), ""
        if seat is None:
            member = Membership(folder)
        else:
            keeps_house = seat.role == "house"
            key, threads = seat.key, 0 if keeps_house else threads
            # a burst's processes see for themselves that nothing is left: each drains
            member = Membership(folder, seat.pool, keeps_house or burst, seat.parent, max_jobs, max_memory)
            drain = drain and keeps_house != burst
            burst = burst and not keeps_house
        sink = self._prepared_sink()
        return Worker(
            self.primary,
            self.tasks,
            self.worker_info(selection.words, threads, key=key),
            selection=selection,
            spool=spool,
            drainer=self.drainer() if drain and spool is not None else None,
            watcher=self.watcher() if drain and spool is not None else None,
            local=local,
            grace=self.settings.grace if grace is None else grace,
            async_concurrency=async_concurrency,
            burst=burst,
            member=member,
            record=None if sink is None else sink.write,
            services=[*(() if sink is None else sink.services), *self._retention()],
        )

    def pool(
        self,
        processes: tuple[int, int],
        *,
        threads: int = 4,
        async_concurrency: int = 100,
        burst: bool = False,
        spawn: Sequence[str] | None = None,
        **options: Any,
    ) -> Pool:
        """A pool of worker processes: `run()` works until it is stopped. Only from a process without threads.

        processes: how many at least and at most. spawn: a command to which a seat (`starting.decode`) is added, which then makes
        its own `worker` with it; by default processes are forks of this one. The other options are those of `worker`.
        max_jobs: each process is replaced after so many; max_memory: when it has become larger, in bytes.

        Raises ConfigError for numbers that are none, for queues that can't be, and where there is no place for the files by which
        a pool watches over its processes.
        """
        from spoolq.pool import Pool
        from spoolq.starting import Fork, Spawn

        self._prepared_sink()  # here as well: what is wrong is said before processes are started
        least, most = processes
        options["queues"] = self._selection(options.get("queues", ()))  # before there is a process that would end for it
        options["async_concurrency"] = self.tasks.concurrency(async_concurrency)
        folder, key = self._workers_folder(), new_id()
        if not folder.path:
            raise ConfigError("no place for the files of worker processes: set RUNTIME_DIRECTORY to a directory of this user's")
        read, write = os.pipe()
        start: Fork | Spawn
        if spawn is None:
            start = Fork(
                lambda seat: self.worker(threads=threads, burst=burst, seat=seat, **options), self.close, key, read, write
            )
        else:
            start = Spawn(spawn, key, read)
        return Pool(start, folder, least=least, most=most, threads=threads, burst=burst, alive=(read, write))

    def _retention(self) -> Sequence[tuple[str, Callable[[], float]]]:
        """What lets old failures go from the stores' own lists, where the settings ask for it."""
        if self.settings.failures_keep is None and self.settings.failures_max_age is None:
            return ()
        from spoolq.failurelog import assembly

        stores: list[tuple[str, Callable[[], Store]]] = [(self.settings.destination, lambda: self.primary)]
        if self.settings.sqlite_path is None:
            stores.append((str(self.settings.spool_path), self._open_spool))
        return assembly.retention(self.settings, stores)

    def close(self, timeout: float = 1.0) -> None:
        """Answer what is in flight, within `timeout` seconds, and free what is held. The object can be used again
        afterwards."""
        with self._lock:
            client, primary, spool, executor = self._client, self._primary, self._spool, self._executor
            forwarder, self._forwarder = self._forwarder, None
            sink, self._sink = self._sink, None
            self._client = self._primary = self._spool = self._executor = None
        if executor is not None:
            from concurrent.futures import wait

            wait(tuple(self._calls), timeout)
            executor.shutdown(wait=False)
        if forwarder is not None:
            forwarder.stop(timeout)
        if sink is not None:
            sink.close(timeout)
        if client is not None:
            client.close(timeout)
        for store in (primary, spool):
            if store is not None:
                store.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<SpoolQ {self.settings.destination}>"

    def _selection(self, queues: str | Sequence[str] | Selection) -> Selection:
        from spoolq.selection import named, parse

        return parse(queues) if queues or isinstance(queues, str) else named(self.queues())

    def _open_spool(self) -> Spool:
        if self._spool is None:
            with self._lock:
                if self._spool is None:
                    settings = self.settings
                    self._spool = stores.open_spool(
                        settings,
                        settings.spool_path,
                        create=True,
                        destination=settings.destination,
                        make_directory=self.origins["spool"] == "default",  # a given one's is its owner's to make
                    )
        return self._spool

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

    def _threads(self) -> ThreadPoolExecutor:
        if self._executor is None:
            with importing():
                from concurrent.futures import ThreadPoolExecutor
            with self._lock:
                if self._executor is None:
                    self._executor = ThreadPoolExecutor(8, "spoolq-aenqueue")
        return self._executor

    def _workers_folder(self) -> Folder:
        with importing():
            from spoolq import config
            from spoolq.runtime import Folder
        settings = self.settings  # those with another spool have other things to tell of their dead
        digits = config.digits(f"{settings.destination} {'' if settings.sqlite_path else settings.spool_path}")
        return Folder(config.runtime_directories, f"workers-{digits}")

    def _hint_place(self) -> tuple[Sequence[str], str]:
        with importing():
            from spoolq import config
        return config.runtime_directories(), f"outage-{config.digits(self.settings.destination)}.json"

    def _breaker_changed(self, open: bool, reason: str) -> None:
        if open:
            log.warning(
                "%s does not take jobs (%s): they go to the spool %s until it answers",
                self.settings.destination,
                reason,
                self.settings.spool_path,
            )
        else:
            log.warning("%s takes jobs again (it was: %s)", self.settings.destination, reason)

    def _after_fork(self) -> None:
        self._lock = threading.RLock()
        self._calls = set()
        self._sink = None
        self._executor = self._forwarder = None  # a child hands over under a name of its own
        self.breaker.after_fork()
        if self._client is not None:
            self._client.after_fork()


_open: weakref.WeakSet[SpoolQ] = weakref.WeakSet()


def _after_fork() -> None:
    for q in list(_open):
        q._after_fork()


def _at_exit() -> None:
    for q in list(_open):
        q.close(q.settings.deadline)


def _check(jobs: Sequence[Job]) -> None:
    for job in jobs:
        if not isinstance(job, Job):
            raise TypeError(f"{job!r} is not a job: make one with task.job(…)")


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
