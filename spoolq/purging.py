"""Deleting what waits in a queue, and letting go of what unique jobs among it hold."""

from __future__ import annotations

from spoolq import guards
from spoolq.store.base import Store

_PAGE = 500


def purge(store: Store, queue: str) -> int:
    """As `Store.purge`; where there are guards, those of the deleted jobs are free then. Returns how many jobs there were."""
    gone = 0
    if store.guards():
        while some := _take_unique(store, queue):  # again: those that move up while others go may be passed over
            gone += some
    return gone + store.purge(queue)


def _take_unique(store: Store, queue: str) -> int:
    gone, after = 0, None
    while True:
        page, after = store.waiting_jobs.page(queue, after=after, limit=_PAGE)
        for job in page:
            if (effects := guards.freed(job.payload, queue)) and store.waiting_jobs.remove(job, effects):
                gone += 1
        if after is None:
            return gone
