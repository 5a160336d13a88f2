"""Workers of this host that died: what they held is settled at once, by one that lives, and not when their leases are over.

Their files tell which claims they were running. A dead worker's last call is made in its name: no earlier one of it can take
effect after that, and its claims keep their tokens. What was running may be what killed it, and counts; what had ended, and
could not be told any more, runs again, and knows it; the rest is put back as it was.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from spoolq.errors import ConfigError, StoreUnavailable, TimeLimit
from spoolq.job import Failure
from spoolq.presence import Seen, names
from spoolq.runner import Runner
from spoolq.runtime import Folder
from spoolq.settler import Settler
from spoolq.store.base import Store, WorkerInfo

log = logging.getLogger("spoolq.worker")

LAST = 1 << 40
"""The number of a dead worker's last call: no living one comes so far."""

_EVERY = 0.5  # seconds between looks: one look at a directory in memory, and one at each file
_AGAIN = 2.0


class Crashes:
    """Looks for the files of dead workers in `folder`, and has each settled by `settle`, which raises StoreUnavailable when it
    can't be now. `own` is the key of this worker."""

    def __init__(self, folder: Folder, own: str, settle: Callable[[Seen], None]) -> None:
        self._folder, self._own, self._settle = folder, own, settle
        self._one = threading.Lock()

    def turn(self) -> float:
        """Settle all that were found; one caller waits for the other. Returns the seconds to the next look."""
        delay = _EVERY
        with self._one:
            for name in names(self._folder):
                if name != self._own and not self._look(name):
                    delay = _AGAIN
        return delay

    def _look(self, name: str) -> bool:
        try:
            seen = Seen(self._folder, name)
        except (OSError, ValueError):  # it ended meanwhile, or isn't a worker's
            return True
        with seen:
            if not seen.is_dead():
                return True
            try:
                self._settle(seen)
            except (StoreUnavailable, ConfigError) as error:
                log.debug("what the dead worker %s held is settled later: %s", name, error)
                return False
            seen.remove()
        return True


def inherit(
    store: Store,
    dead: WorkerInfo,
    seen: Seen,
    runner: Runner,
    record: Callable[[Sequence[Failure]], None] | None = None,
) -> int:
    """Settle in `store` what the dead worker holds there, and take leave for it. Returns how many claims there were. `record`
    gets the failures first. Raises StoreUnavailable; it may be done again then."""
    claims = store.reconcile(dead, LAST)
    running = {one.token: one for one in seen.running}
    struck = any(one.struck for one in running.values())
    settler = Settler(store, dead, "crash", record=record)
    back = []
    for claim in claims:
        run = running.get(claim.token)
        if run is not None and (run.struck or not struck):
            settler.add(claim, runner.died(claim, _limit() if struck else None, dead))
        elif seen.began(claim.token) and (outcome := runner.interrupted(claim)) is not None:
            settler.add(claim, outcome)
        else:
            back.append(claim)
    settler.put_back(back)
    settler.send()
    store.unregister(dead)
    return len(claims)


def tell(seen: Seen, count: int) -> None:
    """Say that so many of its claims were settled."""
    log.warning("worker %s died; %d job(s) that it held are put back, tried again or given up", seen.info.resque_id(0), count)


def _limit() -> TimeLimit:
    return TimeLimit("the job ran longer than its timeout, and could not be interrupted: its process was killed")


def keep(store: Store, index: int, folder: Folder, pool: str, now: float, own: str) -> None:
    """Keep in `store` (0: the primary, 1: the spool) the leases of those processes of the pool that live, are within their time
    limits, and did not come to it themselves: a job may hold up all threads of its process. Raises StoreUnavailable."""
    for name in names(folder):
        if name == own:
            continue
        with suppress(OSError, ValueError), Seen(folder, name) as seen:
            late = now - seen.kept(index) > seen.info.lease / 2
            over = any(0 < one.kill_at < now for one in seen.running)
            if seen.pool == pool and seen.kept(index) and late and not over and not seen.is_dead():
                store.heartbeat(seen.info, None)
