"""The event loop on which `async def` tasks run, on a thread of its own, and how one of them is stepped and struck."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from contextvars import Context
from typing import Any

from spoolq import forked, traces
from spoolq.errors import SoftTimeLimit, TimeLimit
from spoolq.limits import Limit, Timed, Watch, raise_in

log = logging.getLogger("spoolq.worker")

BLOCKED = 0.5
"""Seconds after a hard limit at which a step that has not ended counts as blocking the loop, and is struck in its thread."""

_CLEANING = 1.0  # seconds that cancelled tasks get at the end


class _SoftCancelled(SoftTimeLimit, asyncio.CancelledError):
    """What is thrown into a coroutine at its soft limit: whatever cleans up at a cancellation does so, and the task can catch
    SoftTimeLimit."""


class _HardCancelled(TimeLimit, asyncio.CancelledError):
    """The same at its hard limit."""


class Loop:
    """An event loop and its thread. `inside` is what it runs a step of just now, `steps` counts them; `courses` is what runs."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.asyncio = asyncio.new_event_loop()
        self.inside: Course | None = None
        self.steps = 0
        self.courses: set[Course] = set()
        self._over = False
        self._last: asyncio.Task[None] | None = None  # kept: a loop has weak references only
        self._asked_at: float | None = None
        self._late = 0.0  # what the last answer took
        self._told = False
        self._thread = threading.Thread(target=self._run, name="spoolq-loop", daemon=True)
        self._thread.start()

    @property
    def ident(self) -> int:
        """Of its thread."""
        return self._thread.ident or 0

    @property
    def alive(self) -> bool:
        """Whether its thread is."""
        return self._thread.is_alive()

    @property
    def blocked_in(self) -> str:
        """Where its thread is."""
        return traces.of_thread(self.ident)

    def held_up(self, now: float) -> float:
        """For how many seconds it has not answered. To be asked again and again, since it asks."""
        if self._asked_at is None:
            self._asked_at = now  # before: the answer may be quick
            with suppress(RuntimeError):
                self.asyncio.call_soon_threadsafe(self._answer)
            return 0.0
        return now - self._asked_at

    def late(self, now: float) -> float:
        """By how many seconds it answers late: the last time, or now."""
        return max(self._late, self.held_up(now))

    def _answer(self) -> None:
        asked = self._asked_at
        if asked is not None:
            self._late = max(0.0, time.monotonic() - asked)
        self._asked_at, self._told = None, False

    def tell(self) -> bool:
        """Whether it should be told that it doesn't answer: once each time."""
        before, self._told = self._told, True
        return not before

    def submit(self, course: Course) -> None:
        """Begin to run it. Raises RuntimeError when the loop has ended."""
        self.asyncio.call_soon_threadsafe(course.begin)

    def end(self, timeout: float = _CLEANING + 0.5) -> None:
        """Cancel what runs, give it a second to clean up, and end."""
        with suppress(RuntimeError):  # closed already
            self.asyncio.call_soon_threadsafe(self._begin_to_end)
            self._thread.join(timeout)

    def _begin_to_end(self) -> None:
        self._last = self.asyncio.create_task(self._cancel_all())

    async def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel("the worker ends")
        if tasks:
            await asyncio.wait(tasks, timeout=_CLEANING)
        with suppress(Exception):
            await asyncio.wait_for(self.asyncio.shutdown_asyncgens(), _CLEANING)
        self._over = True
        self.asyncio.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self.asyncio)
        while not (self._over or self.asyncio.is_closed()):
            try:
                self.asyncio.run_forever()
            except BaseException as error:  # such as SystemExit in a task that a task began
                log.exception("%s was raised in the event loop, outside of any job; it goes on", type(error).__name__)
        with suppress(Exception):
            self.asyncio.close()


class Course(Timed):
    """One job's run on a loop.

    context   in which it runs
    watch     over its limits, None where it has none
    begun     called on the loop's thread, as it begins
    ended     called on the loop's thread, with the error that it ended with, None for none
    stuck     called when it runs on after its hard limit

    `result` is what it returned.
    """

    def __init__(
        self,
        loop: Loop,
        awaitable: Awaitable[Any],
        context: Context,
        watch: Watch | None,
        limits: tuple[float | None, float | None],
        begun: Callable[[], None],
        ended: Callable[[BaseException | None], None],
        stuck: Callable[[], None],
    ) -> None:
        super().__init__(0.0, None, None, stuck)
        self._loop, self._context, self._watch, self._limits = loop, context, watch, limits
        self._begun, self._ended = begun, ended
        self._coroutine: Coroutine[Any, Any, Any] = awaitable if inspect.iscoroutine(awaitable) else _waiting_for(awaitable)
        self._task: asyncio.Task[None] | None = None
        self._asked: Limit | None = None  # the last limit that it was cancelled for
        self._to_throw: Limit | None = None  # in place of the cancellation that is on its way
        self._step_at_limit: int | None = None
        self.result: Any = None
        self._struck = self._heard = False

    def begin(self) -> None:
        """Create its asyncio task. On the loop's thread."""
        self._loop.courses.add(self)
        self._task = self._loop.asyncio.create_task(self._drive(), context=self._context)

    def close(self) -> None:
        """It is not to be run."""
        with suppress(BaseException):
            self._coroutine.close()

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._task is not None and self._task.done()

    @property
    def heard(self) -> bool:
        """Whether it was cancelled; else something blocks the loop."""
        return self._heard

    @property
    def where(self) -> str:
        """The coroutines that wait for each other in it, and where."""
        lines, at = [], self._coroutine
        while (frame := getattr(at, "cr_frame", None)) is not None:
            lines.append(traces.of_frame(frame))
            at = getattr(at, "cr_await", None)  # type: ignore[assignment]
        return "".join(lines)

    async def _drive(self) -> None:
        error: BaseException | None = None
        try:
            self._begun()
            if self._watch is not None:
                self.start(self._watch.clock(), *self._limits)
                self._watch.add(self)
            self.result = await _Steps(self, self._coroutine)
        except BaseException as raised:  # whatever it is ends this run, not the loop
            error = raised
            with suppress(Exception):  # it may be the user's own kind, and this must be told of
                error = self._plain(raised)
        if self._watch is not None:
            self._watch.remove(self)
        self.close()
        self._loop.courses.discard(self)
        self._ended(error)
        error = None  # it holds this frame, and this frame it

    def _plain(self, error: BaseException) -> BaseException:
        """A cancellation that a limit asked for is that limit's error."""
        if self._asked is not None and isinstance(error, asyncio.CancelledError):
            return self.error(self._asked).with_traceback(error.__traceback__)
        if isinstance(error, TimeLimit | SoftTimeLimit) and not error.args:
            error.args = (self.text(type(error)),)
        return error

    # its limits

    def fire(self, now: float) -> Callable[[], None] | None:
        """As for all, and a look soon after the hard limit whether it blocks the loop."""
        if self._step_at_limit is not None and now < self._given_up:
            if self._loop.inside is self and self._loop.steps == self._step_at_limit:
                self._struck = True
                raise_in(self._loop.ident, TimeLimit)
            self._step_at_limit, self.at = None, self._given_up
            return None
        call = super().fire(now)
        if self._asked is TimeLimit and call is None:
            self._step_at_limit, self.at = self._loop.steps, now + BLOCKED
        return call

    def strike(self, limit: Limit) -> None:
        """Cancel it."""
        self._asked, self._heard = limit, False
        with suppress(RuntimeError):  # the loop has ended
            self._loop.asyncio.call_soon_threadsafe(self._cancel, limit)

    def _cancel(self, limit: Limit) -> None:
        self._heard = True
        if self._task is not None and not self._task.done():
            self._to_throw = limit
            self._task.cancel(self.text(limit))

    def removed(self) -> None:
        """What hasn't arrived doesn't arrive any more."""
        self.settle()

    def settle(self) -> None:
        """With the watch's lock: no strike is under way any more."""
        if self._struck:
            self._struck = False
            raise_in(self._loop.ident, None)

    # its steps

    def step(self, call: Callable[[Any], Any], value: Any) -> Any:
        """One step of its coroutine, during which it may be struck if it has limits."""
        loop = self._loop
        loop.steps += 1
        self._to_throw = None  # a step that isn't a cancellation: somebody else has taken that
        if self._watch is None:
            try:
                loop.inside = self
                return self._call(call, value)
            finally:
                loop.inside = None
        # as in limits.Exposure: once `inside` is None at most one strike is under way, which the last `finally` is for
        try:
            try:
                loop.inside = self
                return self._call(call, value)
            finally:
                loop.inside = None
                with self._watch.lock:
                    self.settle()
        finally:
            with self._watch.lock:
                self.settle()

    def _call(self, call: Callable[[Any], Any], value: Any) -> Any:
        try:
            result = call(value)
        except BaseException as error:
            forked.end_here(self._loop.pid, None if isinstance(error, StopIteration) else error)
            raise
        forked.end_here(self._loop.pid)
        return result

    def thrown(self, error: BaseException) -> BaseException:
        """What to throw into the coroutine where asyncio throws this."""
        limit, self._to_throw = self._to_throw, None
        if limit is None or self._task is None or not isinstance(error, asyncio.CancelledError):
            return error
        self._task.uncancel()
        return (_HardCancelled if limit is TimeLimit else _SoftCancelled)(self.text(limit))


class _Steps(Generator[Any, Any, Any]):
    """Awaits a course's coroutine, step by step."""

    def __init__(self, course: Course, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._course, self._coroutine = course, coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        return self

    def send(self, value: Any) -> Any:
        return self._course.step(self._coroutine.send, value)

    def throw(self, error: Any, *more: Any) -> Any:
        return self._course.step(self._coroutine.throw, self._course.thrown(error))


async def _waiting_for(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
