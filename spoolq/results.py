"""How far a job is, and what it returned: asked of the primary and of this host's spool, and waited for."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

from spoolq import tracking
from spoolq.breaker import Breaker
from spoolq.errors import ConfigError, ResultTimeout, StoreUnavailable
from spoolq.store.base import Spool, Store
from spoolq.tracking import Status

_LOOK = 1.0  # seconds that one look at a store may take
_LEAST = 0.1  # and at least, so that a wait of no time is answered
_FIRST, _MOST = 0.02, 1.0  # seconds between two looks: the first pause, and the longest


class Results:
    """Asks by a job's id.

    spool    opens this host's spool; answers None where there is none, or nothing was ever spooled
    """

    def __init__(
        self,
        primary: Callable[[], Store],
        spool: Callable[[], Spool | None],
        breaker: Breaker,
        *,
        address: str = "the primary",
        monotonic: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._primary, self._spool, self._breaker, self._address = primary, spool, breaker, address
        self._monotonic, self._rng = monotonic, rng or random.Random()

    def status(self, id: str) -> Status:
        """How far the job is. Never raises for a store that is away: what it can't say is unknown, and `why` says so."""
        return self.look(id, _LOOK)[0]

    def look(self, id: str, timeout: float) -> tuple[Status, list[bytes | None]]:
        """The status, and the values from which its result can be read."""
        keys, why = tracking.keys(id), ""
        try:
            if not self._breaker.allows():
                raise StoreUnavailable(f"{self._address} is out of reach ({self._breaker.reason})", reason="breaker")
            values = self._primary().values(keys, timeout=timeout)
            if (status := tracking.read(values)) != tracking.UNKNOWN:
                return status, values
        except StoreUnavailable as error:
            why = str(error)
        try:
            if (spool := self._spool()) is not None:
                values = spool.values(keys, timeout=timeout)
                status = tracking.read(values)
                if status.over or status == "running":
                    return status, values
                for row in spool.waiting_jobs.find(id):
                    if row.aside:
                        return Status("unknown", why="it was set aside in this host's spool: `spoolq spool quarantine`"), values
                    return (status if status == "retrying" else Status("spooled")), values
        except (StoreUnavailable, ConfigError) as error:
            why = f"{why}; the spool: {error}" if why else f"the spool: {error}"
        return Status("unknown", why=why), [None, None, None]

    def wait(self, id: str, timeout: float, sleep: Callable[[float], object] = time.sleep) -> Any:
        """What the job returned. Raises NoResult where it ended without that, ResultTimeout where it has not ended in time."""
        for left, pause in self.turns(timeout):
            status, values = self.look(id, left)
            if status.over:
                return tracking.outcome(id, values)
            if pause is None:
                raise self.too_late(id, timeout, status)
            sleep(pause)
        raise AssertionError("a turn without a pause is the last one")

    def turns(self, timeout: float) -> Iterator[tuple[float, float | None]]:
        """For each look: the seconds that it may take, and those until the next one; None: it is the last."""
        until, pause = self._monotonic() + timeout, _FIRST
        while True:
            left = until - self._monotonic()
            yield max(_LEAST, min(left, _LOOK)), None if left <= 0 else min(left, self._rng.uniform(pause / 2, pause))
            pause = min(_MOST, pause * 1.5)

    def too_late(self, id: str, timeout: float, status: Status) -> ResultTimeout:
        """The error of a wait that is over."""
        said = f"has not ended within {timeout:g} s: {status}"
        if status.why:
            said += f" ({status.why})"
        elif status == tracking.UNKNOWN:
            said += " (is its task declared with result_ttl or track, and was it enqueued within that time?)"
        return ResultTimeout(id, said, status)
