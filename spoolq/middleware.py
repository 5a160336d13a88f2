"""Hooks around the launch and the run of jobs: what an application overrides of `Middleware`, and who calls it."""

from __future__ import annotations

import difflib
import inspect
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from spoolq.errors import ConfigError
from spoolq.job import Job, Receipt

log = logging.getLogger("spoolq")


class Middleware:
    """Override what is needed; what isn't costs nothing. Plain methods, also for `async def` tasks. docs/hooks.md says when each
    is called, on which thread, and what becomes of an error.

    Several are called in the order in which they were added before a launch or a run, and in the opposite order after it.
    """

    def before_enqueue(self, job: Job) -> Job | None:
        """A job is about to be stored. Return another one in its place (`dataclasses.replace`), or None to leave it as it is.
        Raise `Discard` and it is not stored: its receipt has the route "vetoed". Any other error reaches the caller, and
        nothing of the call was stored."""

    def after_enqueue(self, job: Job, receipt: Receipt) -> None:
        """It is stored, or its id was there."""

    def on_spooled(self, job: Job) -> None:
        """It went to the spool of this host."""

    def on_rejected(self, job: Job, error: Exception) -> None:
        """Neither place took it, or it isn't known: the caller gets this error."""

    def before_run(self, job: Job) -> None:
        """A task is about to be run. An error here is the attempt's: tried again by the task's policy, and `Retry` and `Discard`
        mean what they mean in a task."""

    def around_run(self, job: Job) -> AbstractContextManager[object]:
        """What a run happens inside of. Entered after `before_run`, with the same errors; one that swallows the task's error
        doesn't change how the job has ended."""
        return nullcontext()

    def after_run(self, job: Job, result: Any, error: BaseException | None) -> None:
        """The task has returned this result, or raised this error. Not called where this middleware's own `before_run` or
        `around_run` has failed."""

    def on_failure(self, job: Job, error: BaseException, will_retry: bool) -> None:
        """An attempt has ended badly, also by the death of its worker; the job is tried again, or goes to the failure log."""

    def on_drained(self, job: Job) -> None:
        """Redis has taken a job from the spool. Once, unless the drainer dies just then."""

    def on_quarantined(self, job: Job, reason: str) -> None:
        """A drainer has set a job of the spool aside. Of a payload that can't be read the job has its id and queue only."""


NAMES = tuple(name for name in vars(Middleware) if not name.startswith("_"))
_PREFIXES = ("before", "after", "around", "on")


class Hooks:
    """The middleware of one application."""

    def __init__(self) -> None:
        self._called: dict[str, tuple[Callable[..., Any], ...]] = dict.fromkeys(NAMES, ())
        self._runs: tuple[Middleware, ...] = ()
        self.at_launch = self.at_run = False

    def add(self, middleware: Middleware) -> None:
        """Call it from now on, as the innermost. Raises ConfigError for what is none."""
        _check(middleware)
        for name in (found := _overridden(middleware)):
            self._called[name] = (*self._called[name], getattr(middleware, name))
        if not found.isdisjoint(("before_run", "around_run", "after_run")):
            self._runs = (*self._runs, middleware)
        self.at_launch = self.at_launch or not found.isdisjoint(("before_enqueue", "after_enqueue", "on_spooled", "on_rejected"))
        self.at_run = bool(self._runs)

    def has(self, name: str) -> bool:
        """Whether anybody overrides that method."""
        return bool(self._called[name])

    def each(self, name: str) -> Sequence[Callable[..., Any]]:
        """Those who override it, in the order in which they were added."""
        return self._called[name]

    def tell(self, name: str, *what: object) -> None:
        """Call all who override it, the last added first. What they raise is logged, and changes nothing."""
        for call in reversed(self._called[name]):
            try:
                call(*what)
            except Exception:
                _log_failed(call)

    def run(self, job: Job, function: Callable[..., Any], *, asynchronous: bool) -> Any:
        """Run the task within its middleware. Returns what it returned: of an async one a coroutine that does all of it."""
        if asynchronous:
            return self._arun(job, function)
        layers = _Layers(job)
        try:
            layers.enter(self._runs)
            result = function(*job.args, **job.kwargs)
        except BaseException as error:
            layers.leave(None, error)
            raise
        if inspect.isawaitable(result):
            return _awaited(layers, result)
        layers.leave(result, None)
        return result

    async def _arun(self, job: Job, function: Callable[..., Any]) -> Any:
        layers = _Layers(job)
        try:
            layers.enter(self._runs)
            result = await function(*job.args, **job.kwargs)
        except BaseException as error:
            layers.leave(None, error)
            raise
        layers.leave(result, None)
        return result


NO_HOOKS = Hooks()


class _Layers:
    """The middleware inside of which one run is, the innermost last."""

    def __init__(self, job: Job) -> None:
        self._job, self._pid = job, os.getpid()
        self._entered: list[tuple[Middleware, AbstractContextManager[object] | None]] = []

    def enter(self, runs: Sequence[Middleware]) -> None:
        """Raises what one of them raises."""
        for one in runs:
            one.before_run(self._job)
            within = None
            if type(one).around_run is not Middleware.around_run:
                within = one.around_run(self._job)
                within.__enter__()
            self._entered.append((one, within))

    def leave(self, result: Any, error: BaseException | None) -> None:
        """Never raises, not even where a time limit strikes in it: the run has ended."""
        if os.getpid() != self._pid:  # a process that the task forked: the run is the parent's
            return
        about = (None, None, None) if error is None else (type(error), error, error.__traceback__)
        for one, within in reversed(self._entered):
            if within is not None:
                try:
                    within.__exit__(*about)
                except BaseException as raised:
                    if raised is not error:
                        _log_failed(one.around_run)
            try:
                one.after_run(self._job, result, error)
            except BaseException:
                _log_failed(one.after_run)


async def _awaited(layers: _Layers, awaitable: Awaitable[Any]) -> Any:
    try:
        result = await awaitable
    except BaseException as error:
        layers.leave(None, error)
        raise
    layers.leave(result, None)
    return result


def _log_failed(call: Callable[..., Any]) -> None:
    log.exception("%s failed; it changes nothing for the job", getattr(call, "__qualname__", call))


def listed(middleware: object) -> Sequence[Middleware]:
    """Several of them. Raises ConfigError for what is no list; each is checked as it is added."""
    if isinstance(middleware, list | tuple):
        return middleware
    raise ConfigError(f"middleware={middleware!r:.200}: a list of instances is needed, [{type(middleware).__name__}(…)]")


def _overridden(middleware: Middleware) -> set[str]:
    return {name for name in NAMES if getattr(type(middleware), name) is not getattr(Middleware, name)}


def _check(middleware: object) -> None:
    if isinstance(middleware, type) and issubclass(middleware, Middleware):
        raise ConfigError(f"{middleware.__qualname__} is a class: give an instance of it, {middleware.__qualname__}(…)")
    if not isinstance(middleware, Middleware):
        raise ConfigError(f"{middleware!r:.200} is no middleware: make a class of spoolq.Middleware, and give an instance of it")
    cls = type(middleware)
    for name in dir(cls):
        if name in NAMES:
            method = getattr(cls, name)
            if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
                raise ConfigError(f"{cls.__qualname__}.{name} is `async def`: hooks are plain methods, also around async tasks")
            if inspect.isgeneratorfunction(method):
                raise ConfigError(f"{cls.__qualname__}.{name} has a `yield`: around_run needs @contextlib.contextmanager")
        elif name.startswith(_PREFIXES) and (meant := difflib.get_close_matches(name, NAMES, 1, 0.85)):
            raise ConfigError(f"{cls.__qualname__}.{name} would never be called: is {meant[0]} meant?")
