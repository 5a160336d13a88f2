"""The journal of a host: what is written down in its own store, in order, and bounded."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from spoolq.store.base import Spool, Store
from spoolq.store.events import Away, Event, EventLog
from spoolq.store.sqlite import SQLiteStore
from tests.clock import Clock
from tests.contract.hands import message

DAY = 86_400.0


@pytest.fixture(params=["spool", "primary"])
def log(request: pytest.FixtureRequest, open_file: Callable[..., SQLiteStore]) -> EventLog:
    """Of a spool, and of a single-box queue."""
    return open_file(role=request.param).events


@pytest.fixture
def open_file(tmp_path: Path, clock: Clock, request: pytest.FixtureRequest) -> Callable[..., SQLiteStore]:
    def opened(**settings: object) -> SQLiteStore:
        store = SQLiteStore(tmp_path / "file.db", clock=clock, **settings)  # type: ignore[arg-type]
        request.addfinalizer(store.close)
        return store

    return opened


def test_a_hosts_own_journal_is_in_no_server(store: Store) -> None:
    assert (store.events is None) == (not isinstance(store, SQLiteStore))


def test_what_was_recorded_comes_back(log: EventLog, clock: Clock) -> None:
    log.record("config_fault", "the pässword was refused", setting="url", tries=[1, 2])
    [event] = log.page()
    assert event == Event(
        event.number, pytest.approx(clock.now), "config_fault", "the pässword was refused", {"setting": "url", "tries": [1, 2]},
        os.getpid(),
    )  # fmt: skip


def test_pages_go_back_from_the_newest_and_after_goes_on(log: EventLog, clock: Clock) -> None:
    for n in range(25):
        log.record("action" if n % 2 else "worker_died", f"event {n}")
        clock.now += 1
    newest = log.page(limit=10)
    assert [event.text for event in newest] == [f"event {n}" for n in range(24, 14, -1)]
    assert [event.text for event in log.page(newest[-1].number, 10)] == [f"event {n}" for n in range(14, 4, -1)]
    assert [event.text for event in log.after(newest[2].number)] == ["event 23", "event 24"]
    assert {event.kind for event in log.page(kinds=["action"])} == {"action"}
    assert len(log.page(kinds=["action", "worker_died"])) == 25
    assert [event.text for event in log.after(0, 2, kinds=["action"])] == ["event 1", "event 3"]
    assert [event.text for event in log.page(since=clock.now - 2.5)] == ["event 24", "event 23"]
    assert log.page(kinds=["watermark"]) == []


def test_a_kind_that_is_none_is_refused(log: EventLog) -> None:
    with pytest.raises(ValueError, match="no kind"):
        log.record("gossip", "x")  # type: ignore[arg-type]


def test_the_same_again_at_once_is_counted(log: EventLog, clock: Clock) -> None:
    for _ in range(5):
        log.record("quarantined", "its checksum does not fit", id="a")
    clock.now += 11
    log.record("quarantined", "its checksum does not fit", id="b")
    assert [(event.detail["id"], event.detail.get("times", 1)) for event in log.page()] == [("b", 1), ("a", 5)]


def test_numbers_rise_across_a_file_that_was_begun_anew(
    log: EventLog, clock: Clock, tmp_path: Path, open_file: Callable[..., SQLiteStore]
) -> None:
    for n in range(3):
        log.record("action", str(n))
    last = log.page(limit=1)[0].number
    clock.now += 60
    for part in tmp_path.glob("file.db*"):
        part.unlink()
    again = open_file().events
    again.record("action", "in the new one")
    assert [event.text for event in again.after(last)] == ["in the new one"]


def test_it_is_bounded_by_number_and_age_and_keeps_the_newest(log: EventLog, clock: Clock) -> None:
    for n in range(20):
        log.record("action", str(n))
        clock.now += 1
    assert log.prune(keep=15, before=0.0) == 5
    assert log.prune(keep=15, before=clock.now - 10) == 5
    assert [event.text for event in log.page()] == [str(n) for n in range(19, 9, -1)]
    number = log.page(limit=1)[0].number
    log.prune(keep=0, before=clock.now + DAY)
    assert [event.number for event in log.page()] == [number]
    log.record("action", "next")
    assert log.page(limit=1)[0].number == number + 1


def test_old_events_go_by_themselves(log: EventLog, clock: Clock) -> None:
    log.record("action", "old")
    clock.now += 91 * DAY
    log.record("action", "new")
    assert [event.text for event in log.page()] == ["new"]


def test_a_small_file_has_a_small_journal(open_file: Callable[..., SQLiteStore], clock: Clock) -> None:
    log = open_file(role="spool", max_bytes=2 << 20).events
    for n in range(150):
        log.record("action", str(n))
    assert [event.text for event in log.page(limit=1000)] == [str(n) for n in range(149, 21, -1)]


def test_a_text_or_a_detail_without_end_is_cut(log: EventLog) -> None:
    log.record("action", "x" * 10_000, what="y" * 10_000)
    [event] = log.page()
    assert len(event.text) == 500
    assert event.detail == {}


def test_a_row_that_is_set_aside_is_written_down_with_it(spool: Spool) -> None:
    from tests.unit.sqlite.helpers import worker

    spool.spool([message("bad")])
    [handoff] = spool.take(worker("drainer", kind="drainer"), 1, 1 << 20, 0.0)
    spool.quarantine(handoff, "refused for its own sake")
    [event] = spool.events.page()
    assert (event.kind, event.text, event.detail["id"]) == ("quarantined", "refused for its own sake", "bad")


def test_jobs_that_are_spooled_for_an_outage_begin_it_and_are_counted(spool: Spool) -> None:
    from time import monotonic

    seen = Away(monotonic(), "refused", "Redis refused at h:6379")
    spool.spool([message("a"), message("b")], outage=seen)
    spool.spool([message("b"), message("c")], outage=seen)  # one of them is there
    spool.spool([message("ahead")])  # not for it
    outage = spool.events.outage()
    assert outage is not None
    assert (outage.cause, outage.spooled, outage.peak, outage.ended_at) == ("refused", 3, 4, None)
    assert [(event.kind, event.text) for event in spool.events.page()] == [("breaker_opened", "Redis refused at h:6379")]
    assert spool.events.back()
    assert not spool.events.back()
    [over] = spool.events.outages()
    assert over.ended_at is not None
    assert over.peak == 4
    assert over.drained_at is None
    assert [event.kind for event in spool.events.page()] == ["breaker_closed", "breaker_opened"]
