"""`leads`: whether what one process does for all is this one's to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from spoolq.store.base import Store
from tests.contract.backends import Backend

LOCK = "resque:resque_scheduler_leader_lock"


def test_one_leads_until_it_ends_and_in_a_file_any_may(backend: Backend, open_store: Callable[[], Store]) -> None:
    alone = backend.id == "sqlite"
    first, second = open_store(), open_store()
    assert [first.leads(), second.leads()] == [alone, alone], "by promote alone"
    first.promote(1)
    second.promote(1)
    assert [first.leads(), second.leads()] == [True, alone]
    first.close()
    second.promote(1)
    assert second.leads()


@pytest.mark.processes
def test_who_lost_the_lock_leads_no_more(backend: Backend, store: Store) -> None:
    store.promote(1)
    assert store.leads()
    assert backend.spec is not None
    if backend.id == "sqlite":  # no lock that another could take
        return
    import redis

    with redis.Redis.from_url(backend.spec[1].split("?")[0]) as control:
        control.set(LOCK, "node-host:1")
        assert not store.leads(), "asked each time"
        store.promote(1)
        assert not store.leads()
        control.delete(LOCK)
        assert not store.leads()
        store.promote(1)
        assert store.leads()
        control.delete(LOCK)
        control.lpush(LOCK, "no lock")
        assert not store.leads(), "another's key of that name"
        control.delete(LOCK)
