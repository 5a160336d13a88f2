"""What a claim may take of a queue with a quota, within its transaction."""

from __future__ import annotations

from contextlib import suppress

from spoolq.store.quota import FULL, Quota
from spoolq.store.sqlite import effects
from spoolq.store.sqlite.rows import SQL
from spoolq.store.sqlite.session import Session
from spoolq.store.sqlite.statements import statements

VIEWS = statements("views")


class Bound:
    """Of one queue, for a claim of up to `most` jobs; `most` is then what may be taken."""

    def __init__(self, session: Session, quota: Quota, most: int) -> None:
        self._session, self._quota = session, quota
        self._why, self.most = "", most
        self._now, self._begins = session.now / 1e6, 0.0
        if quota.most:
            free = max(0, quota.most - int(session.scalar(SQL["claimed_of_queue"], (quota.queue,))))
            if free <= self.most:
                self.most, self._why = free, "full"
        if quota.interval:
            noted = 0.0
            with suppress(ValueError):
                noted = float(effects.meta(session, f"rate:{quota.queue}") or 0.0)
            self._begins = quota.begins(noted, self._now)
            if (due := quota.allows(noted, self._now)) <= self.most:
                self.most, self._why = due, "spaced"

    def took(self, jobs: int) -> float | None:
        """So many were. Returns the seconds until it makes sense to ask again where a limit keeps it from more that wait, else
        None."""
        if self._quota.interval and jobs:
            self._begins += jobs * self._quota.interval
            effects.set_meta(self._session, f"rate:{self._quota.queue}", f"{self._begins:.6f}", False)
        if not self._why or jobs < self.most or not self._session.one(VIEWS["any_ready"], (self._quota.queue,)):
            return None
        return FULL if self._why == "full" else max(0.0, round(self._begins - self._quota.ahead - self._now, 6))
