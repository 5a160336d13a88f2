"""The wall clock is set while claims are held: it tells when a lease ends, and must not keep a dead worker's claims for hours."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from spoolq.store.sqlite import SQLiteStore
from tests.clock import Clock
from tests.unit.sqlite.helpers import claim, message, worker

HOURS = 7200.0


@pytest.fixture
def spool(open_store: Callable[..., SQLiteStore], clock: Clock) -> SQLiteStore:
    return open_store(role="spool", clock=clock)


def test_set_back_it_lets_a_dead_workers_claims_go_after_one_lease(spool: SQLiteStore, clock: Clock) -> None:
    spool.spool([message("a")])
    [held] = claim(spool, 1, key="dead")
    clock.now -= HOURS
    assert spool.rescue(worker("alive"), 10) == []
    clock.now += 61
    [taken] = spool.rescue(worker("alive"), 10)
    assert (taken.payload, taken.worker) == (held.payload, "alive")


def test_set_back_it_takes_nothing_from_a_worker_that_lives(spool: SQLiteStore, clock: Clock) -> None:
    spool.spool([message("a")])
    claim(spool, 1, key="alive")
    clock.now -= HOURS
    for _ in range(5):
        assert spool.rescue(worker("other"), 10) == []
        assert spool.heartbeat(worker("alive")) == 1
        clock.now += 50


def test_set_back_it_lets_a_dead_drainers_rows_go_after_one_lease(spool: SQLiteStore, clock: Clock) -> None:
    spool.spool([message("a")])
    assert spool.take(worker("dead", kind="drainer"), 1, 1 << 20, clock.now + 1)
    clock.now -= HOURS
    assert spool.take(worker("next", kind="drainer"), 1, 1 << 20, clock.now + 1) == []
    clock.now += 61
    [handoff] = spool.take(worker("next", kind="drainer"), 1, 1 << 20, clock.now + 1)
    assert handoff.not_after > clock.now + HOURS - 100  # what that one may still send is known
