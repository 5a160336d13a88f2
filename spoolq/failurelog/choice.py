"""Which failures are meant: by task, queue, error and time. Pure."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from spoolq import stamps, units, wire
from spoolq.errors import PayloadError
from spoolq.failed import UNREADABLE
from spoolq.job import Failure


@dataclass(frozen=True, slots=True)
class Choice:
    """All that is given must fit. `error` is a part of `Class: text`, in any case of letters, `exception` the class alone;
    `since` and `before` are epoch seconds, which a failure whose time isn't known never fits."""

    task: str | None = None
    queue: str | None = None
    error: str | None = None
    since: float | None = None
    before: float | None = None
    exception: str | None = None

    def __bool__(self) -> bool:
        """Whether it leaves anything out."""
        return any(value is not None for value in astuple(self))

    def fits(self, failure: Failure) -> bool:
        """Whether this failure is meant."""
        if self.since is not None and not failure.failed_at >= self.since:
            return False
        if self.before is not None and not 0 < failure.failed_at < self.before:
            return False
        if self.exception is not None and failure.exception != self.exception:
            return False
        if self.queue is not None and failure.queue != self.queue:
            return False
        if self.error is not None and self.error.lower() not in f"{failure.exception}: {failure.error}".lower():
            return False
        return self.task is None or task_of(failure) == self.task


def task_of(failure: Failure) -> str:
    """The name of its task."""
    try:
        return wire.decode(failure.payload, failure.queue).task
    except PayloadError:
        return UNREADABLE


def moment(text: str, now: float) -> float:
    """Epoch seconds of a time as people give it: `2h` is so long ago, else a date or time as in ISO 8601, in UTC unless it says
    another zone. Raises ValueError."""
    try:
        return now - units.duration(text)
    except ValueError:
        at = stamps.epoch(text)
        if not at:
            raise ValueError(text) from None
        return at
