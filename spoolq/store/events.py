"""What befell a host, written down in its own spool (in a single-box queue, in that), and the outages that it has seen. The
docstrings are the specification.

The journal is small whatever happens: the oldest go, by number and by age. Nothing in it is needed to move or run a job.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple, Protocol

Kind = Literal[
    "breaker_opened",
    "breaker_closed",
    "watermark",
    "quarantined",
    "worker_died",
    "drain_begun",
    "drain_ended",
    "spool_damaged",
    "spool_recovered",
    "config_fault",
    "jobs_lost",
    "action",
]
KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]

CONFIRM = 10.0
"""Seconds between the words of those who still find the primary away."""

STALE = 20.0
"""Seconds without such a word after which somebody else, whom the primary answers, may say that the outage is over."""

LAPSE = 600.0
"""Seconds without such a word after which it is over in any case, since it was last seen: whoever saw it is gone."""


class Event(NamedTuple):
    """`at` in epoch seconds, `text` for people, `detail` what JSON can hold, `pid` that of who wrote it down. A later event
    has a larger number, also where the spool was set aside and begun anew in between."""

    number: int
    at: float
    kind: str
    text: str
    detail: Mapping[str, object]
    pid: int


class Away(NamedTuple):
    """What a process that goes past the primary knows of it: since when (`tick`, on the clock that all processes share until the
    next boot), the reason in a word, the whole of it."""

    tick: float
    cause: str
    detail: str = ""


class Outage(NamedTuple):
    """A time in which jobs of this host went past the primary, once, however many processes saw it.

    started_at, ended_at   epoch seconds; the latter None while it lasts
    seen_at                when somebody of this host found the primary away for the last time
    cause                  the reason in a word
    spooled                jobs that went to the spool for it
    peak                   rows in the spool at most, as seen at its end and every few seconds while a worker or drainer ran
    drained_at             when the spool was empty again, None before that
    duplicates             jobs that the primary turned out to have already, when they were drained
    """

    number: int
    started_at: float
    ended_at: float | None
    seen_at: float
    cause: str
    spooled: int
    peak: int
    drained_at: float | None
    duplicates: int

    def seconds(self, now: float) -> float:
        """How long it has lasted, at that time."""
        return max(0.0, (now if self.ended_at is None else self.ended_at) - self.started_at)

    def to_drain(self) -> float | None:
        """Seconds from its end until the spool was empty, None where that isn't known yet."""
        return None if self.drained_at is None or self.ended_at is None else max(0.0, self.drained_at - self.ended_at)


class EventLog(Protocol):
    """The journal of one file. Those that write wait for the disk, as every verb of a store does: they are for background threads
    and for commands, and what can't be written raises `StoreUnavailable`. None of them is on the way of an enqueue."""

    def record(self, kind: Kind, text: str, **detail: object) -> None:
        """Write one down."""

    def page(
        self, before: int | None = None, limit: int = 100, *, kinds: Collection[str] = (), since: float = 0.0
    ) -> list[Event]:
        """Up to `limit` events, newest first, those before that number; of these kinds (none given: of all), not older than
        `since`."""

    def after(self, number: int, limit: int = 100, *, kinds: Collection[str] = ()) -> list[Event]:
        """Up to `limit` events after that number, oldest first."""

    def outages(self, limit: int = 100, *, before: int | None = None) -> list[Outage]:
        """Up to `limit` outages, newest first, those before that number. One of which nobody has said anything for `LAPSE` is
        over."""

    def outage(self) -> Outage | None:
        """The one that lasts, None where there is none."""

    def away(self, seen: Away) -> None:
        """The primary was just asked, and is still away: the outage begins or goes on. Who has been going past it since before an
        outage ended takes that one up again."""

    def back(self, *, silent: float = 0.0) -> bool:
        """The primary has answered: the outage is over. With `silent` only where nobody has found it away for so many seconds.
        Returns whether one has ended now."""

    def draining(self) -> None:
        """What an outage left is being moved into the primary. Written down once."""

    def drained(self) -> None:
        """The spool was found empty. Outages that have ended are drained, when it is."""

    def sample(self) -> None:
        """Look how full the file is: marks that were crossed are written down, and the peak of an outage."""

    def prune(self, *, keep: int, before: float) -> int:
        """Delete what is older than that time, and all but the newest `keep`; the newest of all stays. Returns how many."""
