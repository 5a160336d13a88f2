"""Who keeps the accounts. What Redis loses is in tests/faults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from spoolq.accounting import Known
from spoolq.bookkeeping import REMEMBERED, Bookkeeper, balance, remembered
from spoolq.errors import StoreUnavailable
from spoolq.store.base import Spool
from spoolq.store.sqlite import SQLiteStore
from tests.contract.hands import messages


@pytest.fixture
def now() -> list[float]:
    return [1.8e9]


@pytest.fixture
def spool(tmp_path: Path, now: list[float]) -> Iterator[Spool]:
    with closing(SQLiteStore(tmp_path / "spool.db", role="spool", clock=lambda: now[0], min_free=0, timeout=20.0)) as one:
        yield one


@pytest.fixture
def primary(tmp_path: Path, now: list[float]) -> Iterator[SQLiteStore]:
    with closing(SQLiteStore(tmp_path / "jobs.db", clock=lambda: now[0], min_free=0, timeout=20.0)) as one:
        yield one


def test_a_sample_a_minute_in_each_store_whoever_comes_first(primary: SQLiteStore, spool: Spool, now: list[float]) -> None:
    keepers = [Bookkeeper(primary, spool, clock=lambda: now[0]) for _ in range(3)]
    for _ in range(30):
        for keeper in keepers:
            assert 8 <= keeper.turn() <= 12
        now[0] += 10
    for store in (primary, spool):
        assert len(store.history("minute", 0.0)) in (5, 6)
        assert len(store.history("hour", 0.0)) in (1, 2)
    assert remembered(spool).at >= now[0] - 80


def test_the_history_stays_a_day_of_minutes_and_ninety_days_of_hours(spool: Spool, now: list[float]) -> None:
    began = now[0]
    for _ in range(1500):
        spool.sample()
        now[0] += 60
    assert len(spool.history("minute", 0.0)) == 1439
    now[0] += 89 * 86400
    for _ in range(10):
        assert spool.sample() is not None
        now[0] += 3600
    hours = spool.history("hour", 0.0)
    assert began < hours[0].at < hours[-1].at
    assert len(hours) < 40


def test_without_the_primary_the_spool_has_its_samples(spool: Spool, now: list[float]) -> None:
    class Away:
        def sample(self) -> None:
            raise StoreUnavailable("gone", reason="refused")

    with pytest.raises(StoreUnavailable):
        Bookkeeper(Away(), spool).turn()  # type: ignore[arg-type]
    assert len(spool.history("minute", 0.0)) == 1
    assert remembered(spool) == Known()


def test_a_queue_without_a_spool_keeps_its_own(primary: SQLiteStore, now: list[float]) -> None:
    primary.put(messages("a"))
    Bookkeeper(primary, None, clock=lambda: now[0]).turn()
    assert primary.history("minute", 0.0)[0].rows["q"] == {"put": 1, "ready": 1}
    assert balance(primary, None).total.waiting == 1


@pytest.mark.parametrize("text", ["", "null", "[]", "{", '{"a":1}', '{"birth":"b","newer":1}'])
def test_what_cant_be_read_is_as_if_nothing_were_known(spool: Spool, text: str) -> None:
    spool.set_meta(REMEMBERED, text)
    assert remembered(spool) == Known()


def test_a_loss_is_in_the_journal_once(tmp_path: Path, spool: Spool, now: list[float]) -> None:
    def again(name: str) -> SQLiteStore:
        return SQLiteStore(tmp_path / name, clock=lambda: now[0], min_free=0, timeout=20.0)

    with closing(again("one.db")) as first, closing(again("two.db")) as second:
        first.put(messages("a", "b"))
        for store in (first, second, second, second):
            Bookkeeper(store, spool, clock=lambda: now[0]).turn()
            now[0] += 60
        events = spool.events.page(kinds=["jobs_lost"])
        assert [event.detail["jobs"] for event in events] == [2]
        assert "2 jobs" in events[0].text


@pytest.mark.parametrize(
    "text", ["[1]", '{"lost":"x"}', '{"lost":null}', '{"birth":5}', '{"birth":"b","there":"9"}', '{"new":1}']
)
def test_what_cannot_be_what_was_remembered_is_nothing(primary: SQLiteStore, spool: Spool, text: str) -> None:
    spool.set_meta(REMEMBERED, text)
    assert remembered(spool) == Known()
    assert balance(primary, spool).total.missing == 0
    Bookkeeper(primary, spool).turn()
    assert remembered(spool).birth
