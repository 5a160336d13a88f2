"""Whether a store can be reached, as its consumer sees it from call to call, and what is said of it."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

from spoolq.errors import StoreUnavailable

log = logging.getLogger("spoolq.worker")

_SILENT = 60.0  # seconds without a refusal after which the same one is told again


class Reach:
    """Written by the consumer's loop alone; anybody may read it, and say that the store may be away (`suspect`).

    changed     called when the store goes away or comes back
    came_back   called when it comes back
    """

    def __init__(
        self,
        name: str,
        lease: float,
        clock: Callable[[], float],
        rng: random.Random,
        *,
        changed: Callable[[], None],
        came_back: Callable[[], None],
        hook: Callable[[str], None],
    ) -> None:
        self.available: bool | None = None  # None: not asked yet
        self.failures = 0  # calls running that found it away
        self.refusal: StoreUnavailable | None = None  # why a store that answers refused the last call, for the call's own sake
        self.suspect = False  # somebody else found it away: ask
        self._name, self._lease, self._clock, self._rng = name, lease, clock, rng
        self._changed, self._came_back, self._hook = changed, came_back, hook
        self._away_since = self._hold_off_until = 0.0
        self._complained, self._refused_at = "", float("-inf")

    @property
    def state(self) -> str:
        """How it is, in a word or two."""
        return "away" if self.available is False else "reachable" if self.available else "not asked yet"

    @property
    def away_for(self) -> float:
        """Seconds that it has been away; 0 when it isn't."""
        return self._clock() - self._away_since if self.available is False else 0.0

    @property
    def hold_off(self) -> float:
        """Seconds for which claims of others may not be taken over: they could not be heard while the store was away."""
        return 1.0 if self.available is not True else self._hold_off_until - self._clock()

    def failed(self, error: StoreUnavailable) -> float:
        """A call failed. Returns the seconds until the next one."""
        if not error.server_wide:  # one key is wrong: the store is there, for everything else
            self.answered()
            self.refusal, now = error, self._clock()
            if error.reason != self._complained or now - self._refused_at > _SILENT:
                log.error("%s: %s; it is asked again", self._name, error)
            self._complained, self._refused_at = error.reason, now
            return self._rng.uniform(0.5, 1.0)
        self.failures += 1
        if self.available is not False:
            log.warning("%s: %s; claims and results are kept, it is asked again", self._name, error)
            self.available, self._away_since = False, self._clock()
            self._changed()
            self._hook("away")
        return self._rng.uniform(0.05, min(2.0, 0.1 * 2.0 ** min(self.failures, 10)))

    def answered(self) -> None:
        """A call was answered."""
        self.refusal = None
        if self.available is True:
            return
        if self.available is False:
            log.warning("%s: the store answers again", self._name)
            self._came_back()
            if self.away_for > self._lease / 3:
                self._hold_off_until = self._clock() + self._lease
        self.available, self.failures = True, 0
        self._changed()
        self._hook("registered")
