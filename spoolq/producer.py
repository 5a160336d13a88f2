"""The half of `SpoolQ` that a web application uses: tasks, launching them, and the two stores behind that."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import copy_context
from functools import partial
from sys import modules
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, Unpack, overload

from spoolq import chains, stores, tracing, wire
from spoolq.asking import Asking
from spoolq.batching import Batching
from spoolq.breaker import UNCONFIRMED, Breaker
from spoolq.client import Client
from spoolq.counts import Counts
from spoolq.declaring import TaskOptions, declare, known
from spoolq.errors import EnqueueError, PayloadError
from spoolq.hint import Hint
from spoolq.importing import importing
from spoolq.job import Job, Message, Receipt
from spoolq.launching import Launching
from spoolq.middleware import Middleware, listed
from spoolq.periodic import Entries
from spoolq.schedules import Schedules
from spoolq.spans import Seconds, above_0
from spoolq.store.base import Spool, Store
from spoolq.store.events import EventLog
from spoolq.tasks import Launch, Options, Task, Tasks, queue_name
from spoolq.teller import Teller, count_refused

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

log = logging.getLogger("spoolq")

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound=Middleware)


class Producer(Schedules, Batching, Asking):
    """What a web application needs of a queue: its tasks, launching them, and the two stores that take the jobs. Its
    arguments are those of `SpoolQ`."""

    def __init__(
        self,
        url: str | None = None,
        *,
        spool: str | os.PathLike[str] | None = None,
        namespace: str | None = None,
        config_file: str | os.PathLike[str] | None = None,
        middleware: Sequence[Middleware] = (),
        **settings: Any,
    ) -> None:
        from spoolq import config  # tomllib and urllib, for who makes a queue, not for who imports the package

        given: Mapping[str, Any] = {"url": url, "spool": spool, "namespace": namespace, **settings}
        self.settings, self.origins = config.load(
            config_file, **{name: value for name, value in given.items() if value is not None}
        )
        self.counts = Counts()
        self.tasks, self.entries = Tasks(self.counts), Entries()
        self.hooks = self.tasks.hooks
        for one in listed(middleware):
            self.middleware(one)
        self.hint = Hint(self._hint_place)
        self.breaker = Breaker(hint=self.hint, quick=self.settings.deadline, changed=self._breaker_changed)
        self._teller = Teller(self.counts, lambda: self._primary, lambda: self._spool, self.breaker.allows)
        self._lock = threading.RLock()
        self._primary: Store | None = None
        self._spool: Spool | None = None
        self._client: Client | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._calls: set[Future[list[Receipt]]] = set()  # of the executor's threads, under way
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
    def task(self, /, **options: Unpack[TaskOptions]) -> Callable[[Callable[P, R]], Task[P, R]]: ...

    def task(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
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
        result_ttl seconds for which what it returned is kept, and how it ended: `receipt.wait(timeout)`, `q.result(id)`
        track      True: only how far it is, and for a day how it ended (`q.status(id)`). Without both nothing is kept
        unique     `until_start` or `until_done`: until then no equal job is queued beside it, `enqueue` answers with the one that
                   is there (`Receipt.new` is False). Equal ones have the same arguments, or the same text (or whole number) that
                   unique_key makes of the arguments; unique_for: seconds (1 h) after which a job keeps no other out any more
        exclusive  True: no two equal jobs run at the same time, on whichever hosts; or the seconds (1 h) for which a job
                   keeps others from running at most
        concurrency   how many jobs of the task may run at the same time, over all hosts
        """

        def register(target: Callable[..., Any]) -> Task[..., Any]:
            task = declare(self, target, options)
            self.tasks.add(task)
            return task

        known(options)
        return register if function is None else register(function)

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

    def middleware(self, one: M) -> M:
        """Call the methods that it overrides from now on, inside of those added before. Returns it. Raises ConfigError for what
        is no instance of `Middleware`."""
        self.hooks.add(one)
        return one

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
        sending = tracing.Sending(jobs) if tracing.LOADED in modules and tracing.active() else None
        if sending is not None:
            jobs = sending.jobs
        try:
            if self.hooks.at_launch:
                launching = Launching(self.hooks, jobs)
                receipts = launching.store(partial(self._put, self._messages(launching.before()), deadline))
            else:
                receipts = self._put(self._messages(jobs), deadline)
        except BaseException as error:
            if sending is not None:
                sending.failed(error)
            raise
        if sending is not None:
            sending.stored(receipts)
        return receipts

    def _messages(self, jobs: Sequence[Job]) -> list[Message]:
        try:
            return list(map(self.message, jobs))
        except PayloadError:
            for job in jobs:
                self.counts.add("spoolq_enqueue_errors_total", self.counts.bounded(job.queue), "payload")
            raise

    def _put(self, messages: Sequence[Message], deadline: float | None) -> list[Receipt]:
        try:
            receipts = self.client.put(messages, deadline=deadline)
        except EnqueueError as error:
            count_refused(self.counts, messages, error, spool=self.settings.sqlite_path is None)
            raise
        finally:
            if self._teller.idle:
                self._teller.begin()
        return [
            receipt.owned(self, tracked=wire.tracked(message.payload))
            for receipt, message in zip(receipts, messages, strict=True)
        ]

    def asubmit(self, jobs: Sequence[Job], deadline: float | None = None) -> Awaitable[list[Receipt]]:
        """`submit` on a thread of our own (the loop's default executor may be full of the application's work)."""
        import asyncio

        sending = tracing.Sending(jobs) if tracing.LOADED in modules and tracing.active() else None
        if sending is not None:
            jobs = sending.jobs
        try:
            if self.hooks.at_launch:
                launching = Launching(self.hooks, jobs)
                messages = self._messages(launching.before())
                call = self._threads().submit(copy_context().run, launching.store, partial(self._put, messages, deadline))
            else:
                call = self._threads().submit(self._put, self._messages(jobs), deadline)
        except BaseException as error:
            if sending is not None:
                sending.failed(error)
            raise
        if sending is not None:
            call.add_done_callback(sending.done)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return asyncio.wrap_future(call)

    def message(self, job: Job) -> Message:
        """The job as stores carry it, in this application's wire mode. Raises PayloadError."""
        settings = self.settings
        if job.after or job.batch is not None:
            chains.check(job, bare=settings.delayed == "resque", ordered=settings.ordering == "fifo")
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
            if job.unique is not None and not job.unique.delayed:
                raise PayloadError(
                    f"{job.task}: a unique job can't have a key of its own in Resque's own delayed keys, where jobs are known by "
                    "their arguments; take unique_key away, or leave delayed='spoolq'"
                )
            unique = None if job.unique is None else job.unique._replace(key=job.unique.delayed)  # as node's DelayQueueLock
            message = Message(job.put_id, job.queue, payload, job.run_at, job.given, unique=unique)
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

    def journal(self) -> EventLog | None:
        """What befell this host: the journal in its spool, or in the queue's own file where there is no Redis."""
        spool = self.spool
        return self.primary.events if spool is None else spool.events

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
                        counts=self.counts,
                    )
        return self._client

    def close(self, timeout: float = 1.0) -> None:
        """Answer what is in flight, within `timeout` seconds, and free what is held. The object can be used again
        afterwards."""
        self._teller.stop(timeout)
        with self._lock:
            client, primary, spool, executor, askers = self._client, self._primary, self._spool, self._executor, self._asked_on
            self._client = self._primary = self._spool = self._executor = self._asked_on = self._results = None
        if askers is not None:
            askers.shutdown(wait=False)
        if executor is not None:
            from concurrent.futures import wait

            wait(tuple(self._calls), timeout)
            executor.shutdown(wait=False)
        self._let_go(timeout)
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

    def _let_go(self, timeout: float) -> None:
        """End what else was begun, within `timeout` seconds."""

    def _threads(self) -> ThreadPoolExecutor:
        if self._executor is None:
            with importing():
                from concurrent.futures import ThreadPoolExecutor
            with self._lock:
                if self._executor is None:
                    self._executor = ThreadPoolExecutor(8, "spoolq-aenqueue")
        return self._executor

    def _hint_place(self) -> tuple[Sequence[str], str]:
        with importing():
            from spoolq import config
        return config.runtime_directories(), f"outage-{config.digits(self.settings.destination)}.json"

    def _breaker_changed(self, open: bool, reason: str) -> None:
        self.counts.add("spoolq_breaker_transitions_total", "open" if open else "closed")
        if open:
            log.warning(
                "%s does not take jobs (%s): they go to the spool %s until it answers",
                self.settings.destination,
                reason,
                self.settings.spool_path,
            )
        elif reason == UNCONFIRMED:
            log.info("nobody says any more that %s does not take jobs: it is asked again", self.settings.destination)
        else:
            log.warning("%s takes jobs again (it was: %s)", self.settings.destination, reason)

    def _after_fork(self) -> None:
        self._lock = threading.RLock()
        self._calls = set()
        self._executor = self._asked_on = None
        self.breaker.after_fork()
        self._teller.after_fork()
        if self._client is not None:
            self._client.after_fork()


_open: weakref.WeakSet[Producer] = weakref.WeakSet()


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
