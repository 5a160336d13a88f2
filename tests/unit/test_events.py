"""What goes into a host's journal without holding anybody up: what was noted, and what a breaker says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spoolq.breaker import Breaker
from spoolq.errors import StoreUnavailable
from spoolq.events import Recorder, Witness, record
from spoolq.store.events import CONFIRM, STALE, EventLog
from spoolq.store.sqlite import SQLiteStore
from tests.clock import Clock
from tests.unit.sqlite.helpers import message
from tests.waiting import eventually


@pytest.fixture
def mono() -> Clock:
    return Clock(100.0)


@pytest.fixture
def spool(tmp_path: Path, clock: Clock, mono: Clock) -> Iterator[SQLiteStore]:
    spool = SQLiteStore(tmp_path / "spool.db", role="spool", clock=clock, ticks=lambda: ("boot", mono.now), timeout=20.0)
    yield spool
    spool.close()


@pytest.fixture
def breaker(clock: Clock, mono: Clock) -> Breaker:
    return Breaker(clock=clock, monotonic=mono)


@pytest.fixture
def witness(breaker: Breaker, spool: SQLiteStore, mono: Clock) -> Witness:
    return Witness(breaker, lambda: spool.events, monotonic=mono)


class Sick:
    """A journal that can't be written as long as `ill`."""

    def __init__(self, log: EventLog) -> None:
        self.log, self.ill, self.asked = log, True, 0

    def __call__(self) -> EventLog:
        self.asked += 1
        if self.ill:
            raise StoreUnavailable("the disk is full", reason="disk")
        return self.log


def test_a_note_is_written_soon_and_by_another_thread(spool: SQLiteStore) -> None:
    recorder = Recorder(lambda: spool.events)
    for n in range(3):
        recorder.note("config_fault", f"fault {n}", setting="url")
    assert eventually(lambda: len(spool.events.page()) == 3)
    assert [event.text for event in spool.events.page()] == ["fault 2", "fault 1", "fault 0"]
    recorder.close(1.0)


def test_a_note_waits_for_a_journal_that_can_be_written_and_holds_up_nobody(spool: SQLiteStore) -> None:
    sick = Sick(spool.events)
    recorder = Recorder(sick)
    for n in range(500):
        recorder.note("action", str(n))
    assert eventually(lambda: sick.asked)
    assert spool.events.page() == []
    sick.ill = False
    assert eventually(lambda: len(spool.events.page(limit=500)) == 200)  # the oldest were left out
    assert spool.events.page(limit=1)[0].text == "499"
    recorder.close(1.0)


def test_a_close_writes_what_is_left(spool: SQLiteStore) -> None:
    recorder = Recorder(lambda: spool.events)
    recorder.note("action", "last words")
    recorder.close(10.0)
    assert [event.text for event in spool.events.page()] == ["last words"]


def test_a_command_is_told_whether_it_was_written(spool: SQLiteStore) -> None:
    assert record(lambda: spool.events, "action", "paused mail", who="ann")
    assert not record(Sick(spool.events), "action", "paused mail")
    assert not record(lambda: None, "action", "paused mail")


def test_an_outage_goes_into_the_journal_and_so_does_its_end(spool, breaker, witness, mono, clock) -> None:
    assert witness.look()
    assert spool.events.outages() == []
    breaker.failed("refused", "Redis refused at h:6379")
    mono.later(3), clock.later(3)
    assert witness.look()
    [outage] = spool.events.outages()
    assert (outage.cause, outage.started_at) == ("refused", pytest.approx(clock.now - 3))
    breaker.succeeded()
    assert witness.look()
    assert spool.events.outage() is None
    assert [event.text for event in spool.events.page(kinds=["breaker_opened"])] == ["Redis refused at h:6379"]


def test_an_end_before_the_first_look_is_told_where_one_was_expected(spool, breaker, witness, mono) -> None:
    breaker.failed("refused")
    spool.spool([message("a")], outage=breaker.away())
    witness.expect()
    breaker.succeeded()
    witness.look()
    assert spool.events.outage() is None


def test_it_is_confirmed_now_and_then_and_no_more_often(spool, breaker, witness, mono, clock) -> None:
    breaker.failed("refused")
    seen = set()
    for _ in range(30):
        witness.look()
        seen.add(spool.events.outages()[0].seen_at)
        mono.later(1), clock.later(1)
    assert 2 <= len(seen) <= 30 / CONFIRM + 1


def test_an_end_that_cannot_be_told_is_told_later_and_not_for_ever(spool, breaker, mono) -> None:
    sick = Sick(spool.events)
    sick.ill = False
    witness = Witness(breaker, sick, monotonic=mono)
    breaker.failed("refused")
    witness.look()
    sick.ill = True
    breaker.succeeded()
    assert not witness.look()
    assert spool.events.outage() is not None
    sick.ill = False
    assert witness.look()
    assert spool.events.outage() is None
    breaker.failed("refused")
    witness.look()
    sick.ill = True
    breaker.succeeded()
    assert [witness.look() for _ in range(12)] == [False] * 11 + [True]


def test_a_drainer_ends_what_all_who_saw_it_are_gone_from(spool, witness, mono, clock) -> None:
    """The webheads were killed in the outage, and this one was never away from Redis."""
    asked: list[float] = []

    def ready() -> None:
        asked.append(mono.now)

    spool.spool([message("a")], outage=seen_away(mono.now))
    witness.answers()
    assert spool.events.outage() is not None  # somebody may live who finds it away
    mono.later(STALE), clock.later(STALE)
    witness.answers()
    assert spool.events.outage() is None
    assert [event.kind for event in spool.events.page()] == ["breaker_closed", "drain_begun", "breaker_opened"]
    assert asked == []


def test_with_an_empty_spool_the_primary_is_asked_while_an_outage_lasts(spool, breaker, witness, mono, clock) -> None:
    answers: list[StoreUnavailable | None] = []
    asked: list[float] = []

    def ready() -> None:
        asked.append(mono.now)
        if (error := answers.pop(0)) is not None:
            raise error

    witness.empty(ready)
    assert asked == []
    spool.events.away(seen_away(mono.now))
    mono.later(2), clock.later(2)
    answers += [StoreUnavailable("refused", reason="refused"), None, None]
    witness.empty(ready)
    assert not breaker.allows()
    mono.later(2), clock.later(2)
    witness.empty(ready)
    assert breaker.allows()
    assert spool.events.outage() is None


def seen_away(tick: float) -> Any:
    from spoolq.store.events import Away

    return Away(tick, "refused", "Redis refused")


class Broken:
    """A journal of which every verb fails as no store should."""

    def __getattr__(self, name: str) -> Any:
        raise TypeError(f"{name}: an error of our own")


def test_whatever_ails_the_journal_a_drainer_and_a_prober_go_on(breaker: Breaker) -> None:
    journal: Any = Broken
    witness = Witness(breaker, journal)
    breaker.failed("refused")
    assert witness.look()
    witness.answers()
    witness.empty(lambda: None)
    breaker.succeeded()
    assert not witness.look()


def test_a_note_that_cannot_be_written_is_left_out_and_the_next_ones_follow(spool: SQLiteStore) -> None:
    recorder = Recorder(lambda: spool.events)
    unknown: Any = "no such kind"
    recorder.note(unknown, "one")
    recorder.note("config_fault", "two")
    recorder.close(10.0)
    assert [event.text for event in spool.events.page()] == ["two"]
