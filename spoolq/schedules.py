"""Declaring periodic jobs: `@q.periodic(…)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from spoolq import periodic
from spoolq.errors import ConfigError, PayloadError
from spoolq.job import Job, Message
from spoolq.periodic import Entries, Entry, Missed
from spoolq.store.base import Store
from spoolq.tasks import Launch, Task

P = ParamSpec("P")
R = TypeVar("R")
L = TypeVar("L", bound=Launch[Any])


class Owner(Protocol):
    """What declares: the application object."""

    entries: Entries

    @property
    def task(self) -> Callable[[Any], Task[..., Any]]:
        """Register a function or class as a task."""

    def message(self, job: Job) -> Message:
        """The job as stores carry it. Raises PayloadError."""

    @property
    def primary(self) -> Store:
        """Where jobs go."""

    @property
    def spool(self) -> Store | None:
        """Where they go while it is away."""

    def _put(self, messages: Sequence[Message], deadline: float | None) -> object:
        """Store them in one of the two."""


class Declare:
    """A decorator: of a function or class, which becomes a task, or of a task or a launch (`task.using(…)`) that there is."""

    def __init__(self, owner: Owner, entry: Callable[[Launch[Any]], Entry]) -> None:
        self._owner, self._entry = owner, entry

    @overload
    def __call__(self, target: L) -> L: ...

    @overload
    def __call__(self, target: type) -> Task[..., Any]: ...

    @overload
    def __call__(self, target: Callable[P, R]) -> Task[P, R]: ...

    def __call__(self, target: Any) -> Any:
        """Raises ConfigError where it can't be a task, or its jobs can't be enqueued."""
        launch = target if isinstance(target, Launch) else self._owner.task(target)
        if launch.after:
            raise ConfigError(
                f"schedule of {launch.name}: jobs in after= have their ids already, and would be the same for each tick; launch"
                " them in the task itself"
            )
        entry = self._entry(launch)
        try:
            self._owner.message(entry.make(entry.id(0)))
        except (PayloadError, TypeError) as error:
            raise ConfigError(
                f"schedule {entry.name}: its jobs can't be enqueued: {error}; arguments are given by args=[…] and kwargs={{…}}"
            ) from error
        self._owner.entries.add(entry)
        return launch


class Schedules:
    """The part of an application object that declares periodic jobs."""

    entries: Entries

    def periodic(
        self: Owner,
        when: str | float | timedelta,
        /,
        *,
        tz: str | None = None,
        name: str | None = None,
        missed: Missed = "latest",
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Declare:
        """Have a task enqueued again and again, by the workers of this application: each tick one job.

        when      a cron expression (`"*/5 * * * *"`, `"30 2 * * MON-FRI"`, `"@daily"`), or an interval: whole seconds or a
                  timedelta, counted from 1970, so that all hosts agree
        tz        the time zone of the expression, such as `"Europe/Paris"` (UTC)
        name      of the schedule (the task's name); it is part of the ids of its jobs, and the same for all applications on
                  one Redis and namespace
        missed    of ticks that nobody enqueued within five minutes: `latest` (one run makes up for all), `all` (the latest 1,000
                  at most), `skip`
        args, kwargs   the arguments of each job

        On a function or a class it registers a task as well; with options of its own, `@q.task(…)` stands below it. Raises
        ConfigError, when the module is loaded, for an expression, zone, interval, name, policy or arguments that can't be.
        """
        timing, policy = periodic.timing(when, tz), periodic.policy(missed)
        if name is not None:
            periodic.entry_name(name)
        if isinstance(args, str) or not isinstance(args, Sequence):
            raise ConfigError(f"args={args!r}: a list of arguments is needed, such as args=[{args!r}]")
        if kwargs is not None and not isinstance(kwargs, Mapping):
            raise ConfigError(f"kwargs={kwargs!r}: a dictionary of arguments is needed, such as kwargs={{'full': True}}")
        given, keywords = tuple(args), dict(kwargs or {})

        def entry(launch: Launch[Any]) -> Entry:
            def make(id: str) -> Job:
                return launch.using(id=id).job(*given, **keywords)

            return Entry(periodic.entry_name(launch.name if name is None else name), timing, make, policy)

        return Declare(self, entry)

    def _ticking(self: Owner) -> Sequence[tuple[str, Callable[[], float]]]:
        """What enqueues the periodic jobs, where there are any: a worker's services."""
        if not self.entries:
            return ()
        from spoolq.ticker import Ticker

        def submit(jobs: Sequence[Job]) -> object:
            return self._put([self.message(job) for job in jobs], None)  # by no hook: each host's would see each tick

        return [("ticker", Ticker(self.entries.values(), self.primary, submit, spool=self.spool).turn)]
