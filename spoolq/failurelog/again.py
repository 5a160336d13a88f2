"""Failed jobs of a store's list, put back into their queues."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from spoolq import tracking
from spoolq.store.base import Store

_TOGETHER = 500  # jobs in one step


def put_back(store: Store, ids: Sequence[str], report: Callable[[int], None] = lambda done: None) -> int:
    """As `FailureLog.retry`, also those that somebody had called back: a person wants them now. Returns how many jobs went back;
    `report` is told the number after each step."""
    done = 0
    for at in range(0, len(ids), _TOGETHER):
        some = ids[at : at + _TOGETHER]
        store.put((), tracking.wanted_again(some))
        done += store.failures.retry(some)
        report(done)
    return done
