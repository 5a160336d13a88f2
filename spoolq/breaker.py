"""Is it worth asking the primary now? One failure that speaks for the whole server opens it; a quick answer to a probe closes
it; and what one process of a host finds out, the others know."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from spoolq.hint import FRESH, Hint, Note
from spoolq.store.events import Away

LASTING = frozenset({"auth", "noperm", "config", "protected", "unsupported"})
"""Reasons that don't heal by themselves: a person has to mend a setting, here or at the server."""

OWN = LASTING | {"tls", "local", "pool", "closed"}
"""Reasons that may be this process's alone (its password, its descriptors). The others of the host are not told of them."""

LOOK = 0.01  # seconds between looks at the hint
CONFIRM = 2.0  # and between confirmations of an outage that goes on
UNCONFIRMED = "unconfirmed"
"""The reason told with a breaker that closes since nobody says any more that the primary is away: not even whether it answers."""

DEAF = 1.0, 60.0  # for so long a hint isn't believed after one that was wrong; doubled each time


class Breaker:
    """Closed while the primary answers, open from the first failure until a probe succeeds. What others said is believed for as
    long as somebody confirms it: who only asks for results never probes, and those who did may be gone.

    Callers only ask `allows()`, which reads an attribute, and now and then looks at the hint: one `stat`. Probing is somebody
    else's work (a background thread, a drainer), never a caller's. `changed(open, reason)` is called once a transition, outside
    the lock.

    hint    shared with the other processes of this host; None for none
    quick   seconds that the answer to a probe may take: one that is slower would only have the next caller wait in vain
    """

    def __init__(
        self,
        *,
        hint: Hint | None = None,
        quick: float = math.inf,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        changed: Callable[[bool, str], None] = lambda open, reason: None,
    ) -> None:
        self._hint = hint
        self._quick = quick
        self._clock = clock
        self._monotonic = monotonic
        self._changed = changed
        self._lock = threading.RLock()
        self._look_at = -math.inf
        self._failed_at = self._answered_at = self._told_at = -math.inf
        self._heard, self._heard_at = False, -math.inf
        self._deaf, self._deaf_until = 0.0, -math.inf
        self.open_since: float | None = None
        self._opened_at = -math.inf
        self.reason: str | None = None
        self.detail = ""

    def allows(self) -> bool:
        """Whether a caller should ask the primary."""
        if self._hint is not None and (now := self._monotonic()) >= self._look_at:
            self._look_at = now + LOOK
            self._listen(self._hint, now)
        if self._heard and self._monotonic() - self._heard_at > FRESH:
            self._doubt()
        return self.open_since is None

    def failed(self, reason: str, detail: str = "") -> None:
        """The primary failed for everybody, for this reason; `detail` is the whole message, for people."""
        now = self._monotonic()
        with self._lock:
            self._heard, self._deaf, self._failed_at = False, 0.0, now
            opened = self._open(reason, detail, self._clock(), now)
            tell = reason not in OWN and now - self._told_at >= CONFIRM
            since = self.open_since or 0.0
            if tell:
                self._told_at = now
        if tell and self._hint is not None:
            self._hint.write(Note(True, reason, since, now))
        if opened:
            self._changed(True, reason)

    def probe(self, ready: Callable[[], object]) -> None:
        """Ask the primary by `ready`, which raises when it doesn't answer. Asked twice where the first answer would leave it open
        for being slow: that one may have made the connection."""
        for again in (True, False):
            began = self._monotonic()
            ready()
            took = self._monotonic() - began
            if not again or took <= self._quick or self.open_since is None:
                self.succeeded(took)
                return

    def succeeded(self, took: float = 0.0) -> None:
        """The primary answered, in `took` seconds. Too slow an answer leaves an open breaker open, as `slow`."""
        if self.open_since is None:
            return
        if took > self._quick:
            self.failed("slow")
            return
        now = self._monotonic()
        with self._lock:
            if self._heard:  # the first probe of an outage that was hearsay: it isn't one, or not for this process
                self._deaf = min(max(self._deaf * 2, DEAF[0]), DEAF[1])
                self._deaf_until = now + self._deaf
            reason, self._answered_at = self._close(), now
        if reason is None:
            return
        note = self._hint.read() if self._hint is not None else None
        if self._hint is not None and note is not None and note.open:
            self._hint.write(Note(False, reason, note.since, now))
        self._changed(False, reason)

    def away(self) -> Away | None:
        """What this process knows of an outage, None when it knows of none."""
        with self._lock:
            if self.open_since is None:
                return None
            return Away(self._opened_at, self.reason or "unknown", self.detail)

    def after_fork(self) -> None:
        """In a forked child: the parent's lock may have been held by a thread that is gone. The state is kept, as heard from the
        parent: who probes there doesn't here."""
        self._lock = threading.RLock()
        if self.open_since is not None:
            self._heard, self._heard_at = True, self._monotonic()
        if self._hint is not None:
            self._hint.after_fork()

    def _listen(self, hint: Hint, now: float) -> None:
        """Take over what another process found out since."""
        note = hint.news()
        if note is None:
            return
        with self._lock:
            if note.open:
                changed = (
                    note.at > self._answered_at and now >= self._deaf_until and self._open(note.reason, "", note.since, note.at)
                )
                self._heard = self._heard or changed
                self._heard_at = note.at
            else:
                changed = note.at > self._failed_at and self.reason not in OWN and self._close() is not None
        if changed:
            self._changed(note.open, note.reason)

    def _doubt(self) -> None:
        """Nobody has confirmed for a while what was heard: ask the primary again."""
        with self._lock:
            closed = self._heard and self._close() is not None
        if closed:
            self._changed(False, UNCONFIRMED)

    # under the lock

    def _open(self, reason: str, detail: str, since: float, at: float) -> bool:
        opened = self.open_since is None
        if opened:
            self.open_since, self._opened_at = since, at
            self._told_at = -math.inf
        if detail or reason != self.reason:  # a hint has no more than the reason, and one may be our own
            self.reason, self.detail = reason, detail
        return opened

    def _close(self) -> str | None:
        """The reason for which it was open, None when it wasn't."""
        reason = None if self.open_since is None else self.reason or ""
        self.open_since, self.reason, self.detail, self._heard = None, None, "", False
        return reason
