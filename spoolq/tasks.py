"""Tasks: the functions that do work, by name, and the options of one launch."""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, cast

from spoolq import unique as uniqueness
from spoolq.chains import chained
from spoolq.counts import Counts
from spoolq.errors import ConfigError, PayloadError, SpoolqError, UnknownTask
from spoolq.job import Job, Receipt, Unique, new_id
from spoolq.middleware import NO_HOOKS, Hooks
from spoolq.retry import RetryPolicy
from spoolq.spans import Seconds, When, above_0, epoch, seconds
from spoolq.tracking import TRACK_FOR

P = ParamSpec("P")
R = TypeVar("R")

Accept = Literal["primary", "spool"]


class Submit(Protocol):
    """Where launched jobs go: the application object."""

    def submit(self, jobs: Sequence[Job], deadline: float | None = None) -> list[Receipt]:
        """Store the jobs; a receipt for each, in order. `deadline`: seconds for Redis, instead of the setting's."""

    def asubmit(self, jobs: Sequence[Job], deadline: float | None = None) -> Awaitable[list[Receipt]]:
        """The same, off the event loop."""

    def priority_queue(self, name: str) -> str:
        """The queue of that priority. Raises ConfigError."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a launch; `None` leaves the task's own. `delay` and `expires` are seconds from the launch, or `expires`
    a time. `deadline` is the call's, and doesn't travel with the job. `track`: seconds for which the job's end is remembered,
    with `result` what it returned as well."""

    queue: str | None = None
    id: str | None = None
    delay: float | None = None
    at: float | None = None
    retries: int | None = None
    expires_in: float | None = None
    expires_at: float | None = None
    deadline: float | None = None
    accept: Accept | None = None
    at_front: bool = False
    after: tuple[Job, ...] = ()
    track: float | None = None
    result: bool = False
    unique: uniqueness.Uniqueness | None = None


_NO_OPTIONS = Options()


class Launch(Generic[P]):
    """A task together with the options of its launches: what `Task.using(…)` returns."""

    def __init__(self, name: str, queue: str, owner: Submit, options: Options, signature: inspect.Signature | None) -> None:
        self.name = name
        self.queue = options.queue or queue
        self._owner = owner
        self._options = options
        self._signature = signature
        self._plain = _plain_arity(signature) if signature else None
        self._at_once = replace(options, queue=None, deadline=None) == _NO_OPTIONS  # no job of it has a field of its own

    @property
    def after(self) -> tuple[Job, ...]:
        """The jobs that come after each one."""
        return self._options.after

    def job(self, *args: P.args, **kwargs: P.kwargs) -> Job:
        """The job that `enqueue` would store, with its id, not stored yet: for `enqueue_many`, or to keep the id before a
        call that may be cancelled.

        Raises TypeError when the arguments don't fit the task, PayloadError for a time without a zone.
        """
        options = self._options
        bound, keywords = self._bind(args, kwargs)
        now = time.time()
        if self._at_once:
            return Job.of(id=new_id(), task=self.name, queue=self.queue, args=bound, kwargs=keywords, enqueued_at=now, extra={})
        run_at = options.at if options.at is not None else now + options.delay if options.delay else 0.0
        expires_at = options.expires_at
        if options.expires_in is not None:
            expires_at = max(now, run_at) + options.expires_in
        return Job(
            options.id or new_id(),
            self.name,
            self.queue,
            bound,
            keywords,
            enqueued_at=now,
            run_at=run_at if run_at > now else 0.0,
            expires_at=expires_at,
            retries=options.retries,
            given=options.id is not None,
            accept=options.accept,
            at_front=options.at_front,
            after=options.after,
            track=options.track,
            result=options.result,
            unique=None if options.unique is None else options.unique.of(self.name, self.queue, bound, keywords),
        )

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Receipt:
        """Store the job and return its receipt: it is in Redis, or synced to this disk.

        Raises NotStored or MaybeStored, with the id, when neither place took it; PayloadError for arguments that JSON can't
        hold.
        """
        return self._owner.submit((self.job(*args, **kwargs),), self._options.deadline)[0]

    delay = enqueue

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> Receipt:
        """`enqueue` for asyncio: the same path on another thread, the loop is never blocked. A cancelled call may have
        stored the job."""
        return (await self._owner.asubmit((self.job(*args, **kwargs),), self._options.deadline))[0]

    def enqueue_in(self, delay: Seconds, /, *args: P.args, **kwargs: P.kwargs) -> Receipt:
        """`enqueue`, to be run not before `delay` (seconds or a timedelta) from now."""
        return self.using(delay=seconds(delay, "delay")).enqueue(*args, **kwargs)

    def enqueue_at(self, at: When, /, *args: P.args, **kwargs: P.kwargs) -> Receipt:
        """`enqueue`, to be run not before `at`: an aware datetime, or epoch seconds."""
        return self.using(at=epoch(at, "at")).enqueue(*args, **kwargs)

    def using(
        self,
        *,
        queue: str | None = None,
        priority: str | None = None,
        id: str | None = None,
        delay: Seconds | None = None,
        at: When | None = None,
        retries: int | None = None,
        expires: Seconds | datetime | None = None,
        deadline: Seconds | None = None,
        accept: Accept | None = None,
        at_front: bool | None = None,
        after: Iterable[Job] | None = None,
        result_ttl: Seconds | None = None,
        track: bool | None = None,
        unique: uniqueness.Until | None = None,
        unique_key: uniqueness.Key | None = None,
        unique_for: Seconds | None = None,
    ) -> Launch[P]:
        """The same task with options for the launch, kept apart from the job's own arguments.

        queue: another queue; priority: that of this priority. id: the job's id, chosen by the caller; enqueuing it again within
        the horizon queues no second copy.
        delay or at: not before. retries: instead of the task's. expires: seconds after which (or an aware datetime at which)
        the job is stale and is dropped instead of run. deadline: what this `enqueue` gives Redis, and accept: where it is
        accepted first, instead of the settings. at_front: before all that wait in its queue; not with a delay, nor where
        queues keep order (`ordering="fifo"`). after: jobs, made by `task.job(…)`, that are put when this one is done, in the
        step that settles it; not when it fails for good, is discarded, expires or is cancelled. result_ttl and track: instead of
        the task's; `track=False` keeps nothing. unique, unique_key, unique_for: as `SpoolQ.task` has them, for a task by name.
        """
        if delay is not None and at is not None:
            raise PayloadError("give delay= or at=, not both")
        if id is not None and (not isinstance(id, str) or not id or len(id) > 200 or not id.isprintable()):
            raise PayloadError(f"id={id!r}: an id is 1 to 200 printable characters")
        if retries is not None and (not isinstance(retries, int) or isinstance(retries, bool) or retries < 0):
            raise PayloadError(f"retries={retries!r} is not a number of retries (0 or more)")
        if accept not in (None, "primary", "spool"):
            raise PayloadError(f"accept={accept!r}: 'primary' or 'spool'")
        if at_front not in (None, True, False):
            raise PayloadError(f"at_front={at_front!r}: True or False")
        changes: dict[str, Any] = {} if accept is None else {"accept": accept}
        if at_front is not None:
            changes["at_front"] = bool(at_front)
        if after is not None:
            changes["after"] = chained(after)
        if deadline is not None:
            changes["deadline"] = above_0(deadline, "deadline")
        if queue is not None:
            changes["queue"] = queue_name(queue)
        if priority is not None:
            if queue is not None:
                raise ConfigError(f"queue={queue!r} and priority={priority!r}: a priority is a queue; give one of them")
            changes["queue"] = self._owner.priority_queue(priority)
        if id is not None:
            changes["id"] = id
        if delay is not None:
            changes |= {"delay": seconds(delay, "delay"), "at": None}
        if at is not None:
            changes |= {"at": epoch(at, "at"), "delay": None}
        if retries is not None:
            changes["retries"] = retries
        if isinstance(expires, datetime):
            changes |= {"expires_at": epoch(expires, "expires"), "expires_in": None}
        elif expires is not None:
            changes |= {"expires_in": above_0(expires, "expires"), "expires_at": None}
        if result_ttl is not None or track is not None:
            changes["track"], changes["result"] = tracked(self.name, track, result_ttl, PayloadError)
        said = uniqueness.declared(self.name, unique, unique_key, unique_for)
        if said is not None:
            changes["unique"] = said
        options = replace(self._options, **changes)
        if options.at_front and (options.delay is not None or options.at is not None):
            raise PayloadError("at_front= is for jobs that are due at once: leave it out, or delay= and at=")
        return Launch(self.name, self.queue, self._owner, options, self._signature)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} queue={self.queue}>"

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        # Keyword arguments travel as positions where the signature allows it, since stock Resque workers know only positions.
        if self._signature is None or (not kwargs and self._plain and self._plain[0] <= len(args) <= self._plain[1]):
            return args, kwargs
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}") from None
        return bound.args, bound.kwargs


class Task(Launch[P], Generic[P, R]):
    """A registered task: call it and it runs here and now; `enqueue` it and a worker runs it."""

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str,
        queue: str,
        owner: Submit,
        policy: RetryPolicy,
        timeout: Seconds | None = None,
        soft_timeout: Seconds | None = None,
        expires: float | None = None,
        priority: str | None = None,
        tracked: tuple[float | None, bool] = (None, False),
        unique: uniqueness.Uniqueness | None = None,
        exclusive: bool | Seconds | None = None,
        concurrency: int | None = None,
    ) -> None:
        kept, result = tracked
        options = Options(expires_in=expires, track=kept, result=result, unique=unique)
        super().__init__(name, queue, owner, options, inspect.signature(function))
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigError(f"{name}: a function with `yield` can't be a task: calling it would run nothing of it")
        self.function = function
        self.policy = policy
        self.priority = priority
        self.unique = unique
        self.exclusive = uniqueness.exclusive_for(name, exclusive)
        self.places = uniqueness.places(name, concurrency)
        self.guarded = unique is not None or self.exclusive is not None or bool(self.places)
        self.timeout, self.soft_timeout = _limits(name, timeout, soft_timeout)
        self.limited = self.timeout is not None or self.soft_timeout is not None
        self.asynchronous = inspect.iscoroutinefunction(function) or getattr(function, "asynchronous", False) is True
        self.__doc__ = function.__doc__
        self.__name__ = name
        self.__wrapped__ = function
        self.hooks = NO_HOOKS

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here, as a plain function."""
        return self.function(*args, **kwargs)

    def unique_of(self, job: Job) -> Unique | None:
        """What keeps jobs equal to this one out: by its own word, else, for one that node-resque enqueued, by this task's."""
        if job.unique is not None or self.unique is None or self.unique.key is not None:
            return job.unique
        return self.unique.of(self.name, job.queue, job.args, job.kwargs)

    def lock_of(self, job: Job) -> str | None:
        """The name of the guard that keeps equal jobs from running beside this one, None where they may."""
        return None if self.exclusive is None else uniqueness.lock_of(self.name, job.queue, job.args, job.kwargs)

    def run(self, job: Job) -> Any:
        """Run a job of this task, and return what it returned: of an `async def` task its coroutine, which is still to be run.
        Raises what the task raises."""
        function = cast("Callable[..., Any]", self.function)
        if self.hooks.at_run:
            return self.hooks.run(job, function, asynchronous=self.asynchronous)
        return function(*job.args, **job.kwargs)


class Tasks:
    """The tasks of one application, by name, what goes on around their runs, and what is counted of them."""

    def __init__(self, counts: Counts | None = None) -> None:
        self.hooks = Hooks()
        self.counts = Counts() if counts is None else counts
        self._tasks: dict[str, Task[..., Any]] = {}

    def add(self, task: Task[..., Any]) -> None:
        """Register it. Raises ConfigError when another function has that name."""
        known = self._tasks.get(task.name)
        if known is not None and _where(known.function) != _where(task.function):
            raise ConfigError(
                f"two tasks named {task.name!r}: {_where(known.function)} and {_where(task.function)}; give one of them name="
            )
        task.hooks = self.hooks
        self._tasks[task.name] = task

    def get(self, name: str) -> Task[..., Any]:
        """The task of that name. Raises UnknownTask."""
        try:
            return self._tasks[name]
        except KeyError:
            known = ", ".join(sorted(self._tasks)[:10]) or "none"
            raise UnknownTask(
                f"no task named {name!r} is registered in this worker (known: {known}); "
                "import the module that defines it in the APP that the worker was started with"
            ) from None

    def names(self) -> tuple[str, ...]:
        """All names, in the order of registration."""
        return tuple(self._tasks)

    def concurrency(self, async_concurrency: int) -> int:
        """That number of `async def` tasks at a time. Raises ConfigError when it is none, or 0 and one of the tasks is async."""
        if isinstance(async_concurrency, bool) or not isinstance(async_concurrency, int) or async_concurrency < 0:
            raise ConfigError(f"async_concurrency={async_concurrency!r}: a whole number from 0 up is needed")
        names = [task.name for task in self._tasks.values() if task.asynchronous]
        if names and not async_concurrency:
            raise ConfigError(
                f"{', '.join(names[:3])}{', …' if len(names) > 3 else ''}: `async def`, which a worker without an event loop"
                " can't run; give it one (async_concurrency, --async-concurrency above 0), or take the task out of this"
                " application"
            )
        return async_concurrency

    def queues(self) -> tuple[tuple[str, str | None], ...]:
        """Queue and priority of each task, in the order of registration."""
        return tuple((task.queue, task.priority) for task in self._tasks.values())


def _limits(name: str, timeout: Seconds | None, soft: Seconds | None) -> tuple[float | None, float | None]:
    """Both limits in seconds. Raises ConfigError for what can't be one."""

    def limit(value: Seconds | None, what: str) -> float | None:
        try:
            return None if value is None else above_0(value, what)
        except PayloadError as error:
            raise ConfigError(f"{name}: {error}") from None

    hard, soft = limit(timeout, "timeout"), limit(soft, "soft_timeout")
    if hard is not None and soft is not None and soft >= hard:
        raise ConfigError(
            f"{name}: soft_timeout={soft:g} must be shorter than timeout={hard:g}: it comes before, so that the task can clean up"
        )
    return hard, soft


def performer(cls: type) -> Callable[..., Any]:
    """A function that makes an instance of a Resque-style class and calls its `perform`. Raises ConfigError if it has none."""
    perform = getattr(cls, "perform", None)
    if not callable(perform):
        raise ConfigError(f"{cls.__qualname__} has no method `perform`: a task is a function, or a class with perform")
    if inspect.isgeneratorfunction(perform) or inspect.isasyncgenfunction(perform):
        raise ConfigError(f"{cls.__qualname__}: a perform with `yield` can't be a task: calling it would run nothing of it")

    def run(*args: Any, **kwargs: Any) -> Any:
        return cls().perform(*args, **kwargs)

    run.asynchronous = inspect.iscoroutinefunction(perform)  # type: ignore[attr-defined]
    run.__name__, run.__qualname__, run.__module__, run.__doc__ = cls.__name__, cls.__qualname__, cls.__module__, cls.__doc__
    static = isinstance(inspect.getattr_static(cls, "perform"), (staticmethod, classmethod))
    parameters: Iterable[inspect.Parameter] = inspect.signature(perform).parameters.values()
    run.__signature__ = inspect.Signature(list(parameters)[0 if static else 1 :])  # type: ignore[attr-defined]
    return run


def tracked(
    name: str, track: bool | None, result_ttl: Seconds | None, refuse: type[SpoolqError] = ConfigError
) -> tuple[float | None, bool]:
    """For how many seconds a job's end is remembered, None for not at all, and whether its result is kept. Raises `refuse`."""
    if track not in (None, True, False):
        raise refuse(f"{name}: track={track!r}: True or False")
    if result_ttl is None:
        return (TRACK_FOR if track else None), False
    if track is False:
        raise refuse(
            f"{name}: track=False and result_ttl={result_ttl!r}: a result is kept with how the job ended; give one of them"
        )
    try:
        return above_0(result_ttl, "result_ttl"), True
    except PayloadError as error:
        raise refuse(f"{name}: {error}") from None


def queue_name(name: object) -> str:
    """A valid queue name, as it is. Raises ConfigError: separators of Resque's keys and ids can't be in it."""
    if not isinstance(name, str) or not name or len(name) > 200 or not name.isprintable() or set(name) & set(":, *!"):
        raise ConfigError(
            f"queue={name!r}: a queue's name is 1 to 200 printable characters, none of them a space or one of : , * !"
        )
    return name


def _where(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', function)}"  # a partial has no such name


def _plain_arity(signature: inspect.Signature) -> tuple[int, float] | None:
    """How few and how many positions fit without looking further; None when a required keyword-only argument needs a real
    bind."""
    few, many = 0, 0.0
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            many += 1
            few += parameter.default is parameter.empty
        elif parameter.kind is parameter.VAR_POSITIONAL:
            many = float("inf")
        elif parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            return None
    return few, many
