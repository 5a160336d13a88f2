"""The store's own list lets its oldest go only where a setting asks for it, and says how many."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolq.app import SpoolQ
from spoolq.failurelog.retention import Retention
from spoolq.store.sqlite import SQLiteStore
from tests.unit.failurelog.hands import THEN, failure
from tests.unit.hands import file


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    real = file(tmp_path / "jobs.db")
    real.failures.add([failure(f"j{n}", at=THEN + n) for n in range(1200)])
    yield real
    real.close()


def turns(one: Retention) -> int:
    count = 1
    while one.turn() < 1:
        count += 1
    return count


def test_by_age_and_count_in_batches_and_told_once(store: SQLiteStore, caplog: pytest.LogCaptureFixture) -> None:
    one = Retention("the queue", lambda: store.failures, lambda: THEN + 1000, keep=100, max_age=500.0)
    with caplog.at_level(logging.WARNING):
        assert turns(one) == 3
        assert turns(one) == 1
    assert store.failures.count() == 100
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "the queue: 1100 failure(s) were deleted from the failure list: older than 500s (failures_max_age), "
        "or beyond the newest 100 (failures_keep)"
    ]


def test_nothing_is_deleted_by_default(tmp_path: Path) -> None:
    with SpoolQ(f"sqlite:///{tmp_path}/q.db", spool_min_free=0) as q:
        assert q._retention() == ()
    with SpoolQ(f"sqlite:///{tmp_path}/q.db", spool_min_free=0, failures_keep=5) as q:
        q.primary.failures.add([failure(f"j{n}") for n in range(8)])
        [(_, turn)] = q._retention()
        turn()
        assert [kept.id for kept in q.primary.failures.page()] == ["j7", "j6", "j5", "j4", "j3"]
