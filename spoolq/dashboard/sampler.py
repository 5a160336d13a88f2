"""The one who looks: facts of both stores, gathered by one thread for all pages and streams, so that a hundred open pages cost
the stores what one does, and a store that doesn't answer holds up nobody."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import NamedTuple

from spoolq.facts import Facts

log = logging.getLogger("spoolq.dashboard")

EVERY = 2.0  # seconds between looks while somebody watches
FRESH = 1.0  # for so long a look serves a page that is asked for: then another is taken at once
WATCHED = 20.0  # and for so long after the last page: then the thread ends
WAIT = 1.0  # what a page waits for a look that is under way,
FIRST_WAIT = 2.5  # and for the very first one, without which there is nothing to show


class Sample(NamedTuple):
    """What was seen, and its number; `began` and `ended` on the monotonic clock."""

    number: int
    facts: Facts
    began: float
    ended: float


class Sampler:
    """`look` gathers facts, in the time that it takes; `every` and `wait` are seconds."""

    def __init__(
        self,
        look: Callable[[], Facts],
        *,
        every: float = EVERY,
        wait: float = WAIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look, self._every, self._wait, self._clock = look, every, wait, clock
        self._changed = threading.Condition()
        self._sample: Sample | None = None
        self._thread: threading.Thread | None = None
        self._asked_at = self._stale_at = float("-inf")
        self._looking = self._wanted = False
        self._streams: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def latest(self) -> Sample | None:
        """The newest sample. Waits up to `wait` seconds where it is too old, or from before `forget`; returns the old one when
        there is no newer by then, None when there never was one. For threads."""
        with self._changed:
            until = self._clock() + (self._wait if self._sample is not None else max(self._wait, FIRST_WAIT))
            self._asked_at = self._clock()
            self._run()
            if not (self._fresh() or self._looking):
                self._wanted = True
                self._changed.notify_all()
            while not self._fresh() and (left := until - self._clock()) > 0:
                self._changed.wait(left)
            return self._sample

    def forget(self) -> None:
        """Something was changed: who asks from now on is to see a sample that was begun later."""
        with self._changed:
            self._stale_at = self._clock()
            self._changed.notify_all()

    async def samples(self, every: float) -> AsyncIterator[Sample]:
        """Each new sample, at most one in `every` seconds. Who is slow misses some, and holds up nobody. On an event loop."""
        event, loop = asyncio.Event(), asyncio.get_running_loop()
        with self._changed:
            self._streams[event] = loop
            self._run()
        seen, sent_at = 0, float("-inf")
        try:
            while True:
                await event.wait()
                await asyncio.sleep(max(0.0, sent_at + every - self._clock()))
                event.clear()
                sample = self._sample
                if sample is not None and sample.number != seen:
                    seen, sent_at = sample.number, self._clock()
                    yield sample
        finally:
            with self._changed:
                self._streams.pop(event, None)

    @property
    def streams(self) -> int:
        """How many are open."""
        return len(self._streams)

    def _fresh(self) -> bool:
        sample = self._sample
        return sample is not None and sample.began > self._stale_at and self._clock() - sample.ended < FRESH

    def _run(self) -> None:
        if self._thread is None or not self._thread.is_alive():  # after a fork it isn't
            self._looking, self._wanted = True, False
            self._thread = threading.Thread(target=self._watch, name="spoolq-sampler", daemon=True)
            self._thread.start()

    def _watch(self) -> None:
        failing = False
        while True:
            began = self._clock()
            facts = None
            try:
                facts = self._look()
                failing = False
            except Exception as error:
                if not failing:  # said once, not every two seconds
                    log.exception("the stores could not be looked at; the pages show what was seen last")
                failing = True
                log.debug("still: %s", error)
            with self._changed:
                self._looking = False
                if facts is not None:
                    number = 1 if self._sample is None else self._sample.number + 1
                    self._sample = Sample(number, facts, began, self._clock())
                    self._tell()
                self._changed.notify_all()
                until = began + self._every
                while (left := until - self._clock()) > 0 and began > self._stale_at and not self._wanted:
                    self._changed.wait(left)
                if not self._streams and self._clock() - self._asked_at > WATCHED:
                    self._thread = None
                    return
                self._looking, self._wanted = True, False

    def _tell(self) -> None:
        for event, loop in list(self._streams.items()):
            with suppress(RuntimeError):  # a loop that has ended
                loop.call_soon_threadsafe(event.set)
