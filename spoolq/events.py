"""What this process knows of the host's outages and faults, on its way into the host's journal.

Nothing here holds up a job, or raises into whoever tells something: where the journal can't be written, it waits or is left out.
The log has it all the same.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

from spoolq.breaker import Breaker
from spoolq.errors import SpoolqError, StoreUnavailable
from spoolq.service import Service
from spoolq.store.events import CONFIRM, STALE, Event, EventLog, Kind, Outage
from spoolq.units import when

_log = logging.getLogger("spoolq")

T = TypeVar("T")
Journal = Callable[[], "EventLog | None"]

_MOST = 200
_TRIES = 12
_AGAIN = 5.0


class Recorder:
    """Writes down what is noted, on a thread of its own that ends when nothing is left. `journal` opens the host's; None: there
    is none."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._notes: deque[tuple[Kind, str, dict[str, object]]] = deque(maxlen=_MOST)
        self._service: Service | None = None

    def note(self, kind: Kind, text: str, **detail: object) -> None:
        """Have this written down soon. Returns at once; of too many that can't be written the oldest are left out."""
        self._notes.append((kind, text, detail))
        last = self._service
        if last is None or last.ended:
            self._service = service = Service("spoolq-events", self.turn, quiet=True)
            with suppress(RuntimeError):  # no thread can be had now: the next note tries again
                service.start()

    def turn(self) -> float | None:
        """Write down what there is. Returns None when nothing is left. Raises StoreUnavailable, and then it is tried again."""
        while self._notes:
            kind, text, detail = self._notes[0]
            log = self._journal()
            if log is not None:
                try:
                    log.record(kind, text, **detail)
                except SpoolqError:
                    raise
                except Exception as error:  # not the next ones' fault
                    _log.warning("not written into the journal of this host (%s): %s", error, text)
            with suppress(IndexError):
                self._notes.popleft()
        return None

    def close(self, timeout: float) -> None:
        """Write down what is left, within `timeout` seconds."""
        if self._service is not None and not self._service.ended:
            until = time.monotonic() + timeout
            self._service.wake()
            while self._notes and not self._service.ended and time.monotonic() < until:
                time.sleep(0.01)
            self._service.stop(max(0.0, until - time.monotonic()))

    def after_fork(self) -> None:
        """In a forked child: what the parent noted is the parent's to write."""
        self._notes, self._service = deque(maxlen=_MOST), None


class Witness:
    """Tells the host's journal what the breaker of this process says of the primary, and what a drainer sees of it. It waits for
    the disk, so it is for background threads. Never raises for a journal that can't be written."""

    def __init__(self, breaker: Breaker, journal: Journal, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._breaker, self._journal, self._monotonic = breaker, journal, monotonic
        self._away_at = self._looked_at = -math.inf
        self._open = False
        self._tries = 0
        self._draining = False

    def expect(self) -> None:
        """An outage has just begun here, and will have an end to tell of, also when that comes before the next look."""
        self._open = True

    def look(self) -> bool:
        """Tell how it is now. Returns False where that the outage is over could not be told, and is to be tried again."""
        seen = self._breaker.away()
        if seen is not None:
            self._open, self._tries = True, 0
            if self._monotonic() - self._away_at >= CONFIRM / 2 and self._tell(lambda log: log.away(seen)):
                self._away_at = self._monotonic()
        elif self._open:
            self._away_at, self._tries = -math.inf, self._tries + 1
            self._open = not self._tell(lambda log: log.back()) and self._tries < _TRIES
        return not self._open or seen is not None

    # of a drainer

    def answers(self) -> None:
        """The primary has just answered, and rows are about to go there. Where all who saw the outage are gone, this ends it."""
        self.look()
        now = self._monotonic()
        if self._breaker.away() is None and not self._open and now - self._looked_at >= 1.0:
            self._looked_at = now
            self._tell(lambda log: log.back(silent=STALE))
        if not self._draining:
            self._draining = self._tell(lambda log: log.draining())

    def empty(self, ready: Callable[[], object]) -> None:
        """The spool was found empty. An outage that lasts is looked at: `ready` asks the primary, and raises when it is away."""
        self._draining = False
        now = self._monotonic()
        if now - self._looked_at < 1.0:
            return
        self._looked_at = now
        lasts = [False]

        def see(log: EventLog) -> None:
            log.drained()
            lasts[0] = log.outage() is not None

        if self._tell(see) and lasts[0]:
            try:
                self._breaker.probe(ready)
            except StoreUnavailable as error:
                if error.server_wide:
                    self._breaker.failed(error.reason, str(error))
            else:
                self._tell(lambda log: log.back(silent=STALE))
        if self._open or self._breaker.away() is not None:
            self.look()

    def end(self, ready: Callable[[], object]) -> None:
        """As `empty`, of a drainer that looks no more after that."""
        self._looked_at = -math.inf
        self.empty(ready)

    def _tell(self, what: Callable[[EventLog], object]) -> bool:
        try:
            log = self._journal()
            if log is not None:
                what(log)
        except Exception as error:  # whatever it is: jobs are on their way meanwhile
            _log.debug("the journal of this host can't be written now: %s", error)
            return False
        return True


def document(event: Event) -> Mapping[str, object]:
    """For JSON: `at` in UTC."""
    return {**event._asdict(), "at": when(event.at)}


def outage_document(outage: Outage, now: float) -> Mapping[str, object]:
    """For JSON: times in UTC, how long it lasted and took to drain in seconds."""
    times = {name: when(getattr(outage, name)) for name in ("started_at", "ended_at", "seen_at", "drained_at")}
    return {
        **outage._asdict(),
        **times,
        "open": outage.ended_at is None,
        "seconds": outage.seconds(now),
        "to_drain": outage.to_drain(),
    }


def record(journal: Journal, kind: Kind, text: str, **detail: object) -> bool:
    """Write it down now, as a command does that ends at once. Returns whether it is there: a journal that can't be written is no
    reason to fail."""
    try:
        log = journal()
        if log is None:
            return False
        log.record(kind, text, **detail)
    except SpoolqError as error:
        _log.debug("the journal of this host can't be written now: %s", error)
        return False
    return True
