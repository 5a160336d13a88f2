"""Time limits: one watching thread, which strikes what still runs at its limit, and knows what can't be struck.

CPython raises an exception in another thread at that thread's next step of Python code (`PyThreadState_SetAsyncExc`): not
while it is in C code, such as `time.sleep`. So a strike may come late, when what it was meant for is over; `Exposure` keeps it
from whatever follows.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from spoolq import traces
from spoolq.errors import SoftTimeLimit, TimeLimit

log = logging.getLogger("spoolq.worker")

R = TypeVar("R")
Limit = type[SoftTimeLimit] | type[TimeLimit]

STUCK = 2.0
"""Seconds after its hard limit within which an attempt must have ended, or it is given up."""

KILL_AFTER = STUCK + 3.0
"""Seconds after its timeout at which a job may have its process killed from outside: nothing within could end or replace it."""

_DELICATE = (logging.__file__, threading.__file__, "<frozen importlib", f"{Path(__file__).parent}/")  # holds locks by hand
_AGAIN, _PATIENCE = 0.001, 0.05  # seconds to the next look at a thread that is there, and for how long
_NEVER = float("inf")
_LONGEST = 3600.0  # of one sleep: far below what a platform's clock can hold


class Timed(ABC):
    """What has a soft or a hard limit, in seconds from `now`. `at` is when the next thing is due for it, on the watch's clock.

    stuck   called when it still runs STUCK seconds after it was struck for its hard limit
    """

    def __init__(self, now: float, soft: float | None, hard: float | None, stuck: Callable[[], None]) -> None:
        self._stuck = stuck
        self._given_up = _NEVER
        self._late = 0.0
        self.start(now, soft, hard)

    def start(self, now: float, soft: float | None, hard: float | None) -> None:
        """Count from now."""
        self._soft, self._timeout = soft, hard
        self._hard = _NEVER if hard is None else now + hard
        self.at = self._hard if soft is None else now + soft

    def fire(self, now: float) -> Callable[[], None] | None:
        """What is due: a strike, which is made here, or what the watch is to call when it has let go of its lock."""
        if now >= self._given_up:
            self.at = _NEVER
            return self._stuck
        if self._late < _PATIENCE and not self.may_strike():
            self._late += _AGAIN
            self.at = now + _AGAIN
            return None
        self._late = 0.0
        if now >= self._hard:
            self.at = self._given_up = now + STUCK
            self.strike(TimeLimit)
        else:
            self.at = self._hard
            self.strike(SoftTimeLimit)
        return None

    def may_strike(self) -> bool:
        """Whether this is no bad moment."""
        return True

    @abstractmethod
    def strike(self, limit: Limit) -> None:
        """Have it end. Must not wait for anything."""

    def removed(self) -> None:  # noqa: B027 (where nothing is to be undone)
        """The watch has let go of it."""

    def error(self, limit: Limit) -> SoftTimeLimit | TimeLimit:
        """The limit's exception, in words."""
        return limit(self.text(limit))

    def text(self, limit: Limit) -> str:
        """What a limit says."""
        name, seconds = ("timeout", self._timeout) if issubclass(limit, TimeLimit) else ("soft_timeout", self._soft)
        if seconds is None:
            return f"{limit.__name__} was raised by the task itself"
        return f"the task ran longer than its {name} of {seconds:g} s"


class Watch:
    """Sleeps until the next limit of what it was given. Its thread is begun with the first; what has no limit costs nothing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.lock = threading.Lock()  # held while something is struck, and while it is removed
        self._timed: set[Timed] = set()
        self._next = _NEVER
        self._bell = threading.Event()
        self._ended = False
        self._thread: threading.Thread | None = None

    def add(self, timed: Timed) -> None:
        """Watch over it until it is removed, or is stuck."""
        with self.lock:
            self._timed.add(timed)
            if self._thread is None:
                thread = threading.Thread(target=self._loop, name="spoolq-limits", daemon=True)
                thread.start()
                self._thread = thread
            if sooner := timed.at < self._next:
                self._next = timed.at
        if sooner:
            self._bell.set()

    def remove(self, timed: Timed) -> None:
        """It is over: nothing more is due for it."""
        with self.lock:
            self._timed.discard(timed)
            timed.removed()

    def end(self) -> None:
        """Nobody is struck any more."""
        self._ended = True
        self._bell.set()

    @property
    def dead(self) -> bool:
        """Whether its thread has ended, and should not have."""
        return self._thread is not None and not self._thread.is_alive() and not self._ended

    def _loop(self) -> None:
        while not self._ended:
            try:
                self._turn()
            except BaseException:  # no memory, say
                try:
                    time.sleep(0.1)
                    log.exception("an error of our own in the watch over time limits; it goes on")
                except BaseException:  # noqa: S110  (nor to tell it)
                    pass

    def _turn(self) -> None:
        with self.lock:
            self._bell.clear()
            now = self.clock()
            calls = [call for one in self._timed if one.at <= now and (call := one.fire(now)) is not None]
            self._timed = {one for one in self._timed if one.at < _NEVER}
            self._next = min((one.at for one in self._timed), default=_NEVER)
        for call in calls:
            try:
                call()
            except Exception:
                log.exception("an error of our own after a time limit; the watch goes on")
        self._bell.wait(min(max(0.0, self._next - self.clock()), _LONGEST))


class Exposure(Timed, Generic[R]):
    """A stretch of this thread's work in which it may be struck, and not a moment longer."""

    def __init__(self, watch: Watch, soft: float | None, hard: float | None, stuck: Callable[[], None]) -> None:
        super().__init__(watch.clock(), soft, hard, stuck)
        self._watch = watch
        self._thread = threading.get_ident()
        self._closing = self._struck = self._done = False
        self._result: R | None = None

    def run(self, function: Callable[[], R]) -> R:
        """Call it, and return what it returned. Raises what it raised; of a function that was done when the strike came,
        nothing."""
        # Once _closing is set at most one strike is under way, from a look that came before; the last `finally` is for that one.
        # None comes before it is set: CPython has no step between the call and there at which one could.
        try:
            try:
                self._watch.add(self)
                self._result = function()
                self._done = True
            finally:
                self._closing = True
                self._watch.remove(self)
        except (SoftTimeLimit, TimeLimit) as error:
            if not self._done:
                error.args = error.args or (self.text(type(error)),)
                raise
        finally:
            self._watch.remove(self)
        return self._result  # type: ignore[return-value]  # it is what the function returned

    def may_strike(self) -> bool:
        """Not in code that takes locks without `with`, and would be left holding one."""
        frame = traces.frame_of(self._thread)
        return frame is None or not frame.f_code.co_filename.startswith(_DELICATE)

    def strike(self, limit: Limit) -> None:
        """Raise it in the thread."""
        if not self._closing:
            self._struck = True
            raise_in(self._thread, limit)

    def removed(self) -> None:
        """What hasn't arrived doesn't arrive any more."""
        if self._struck:
            raise_in(self._thread, None)


def raise_in(thread: int, error: type[BaseException] | None) -> None:
    """At its next step; None: what was to be raised isn't."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), None if error is None else ctypes.py_object(error))
