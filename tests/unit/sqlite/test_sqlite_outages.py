"""One outage is one row: whoever begins it, whoever is left to end it, and whatever the clock does meanwhile."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from spoolq.store.events import CONFIRM, LAPSE, STALE, Away, Outage
from spoolq.store.sqlite import SQLiteStore
from tests.unit.sqlite.helpers import claim, message, worker

Open = Callable[..., SQLiteStore]


@dataclass
class Host:
    """Its clock, which may be set, and the one that begins with each boot."""

    wall: float = 1_700_000_000.0
    mono: float = 500.0
    boot: str = "first"

    def later(self, seconds: float) -> None:
        self.wall += seconds
        self.mono += seconds

    def reboots(self, seconds: float) -> None:
        self.wall += seconds
        self.boot, self.mono = self.boot + "'", 3.0


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def spool(open_store: Open, host: Host) -> SQLiteStore:
    return open_store(role="spool", clock=lambda: host.wall, ticks=lambda: (host.boot, host.mono))


@pytest.fixture
def away(host: Host) -> Callable[..., Away]:
    return lambda ago=0.0, cause="refused": Away(host.mono - ago, cause, f"Redis {cause} at h:6379")


def only(spool: SQLiteStore) -> Outage:
    [outage] = spool.events.outages()
    return outage


def kinds(spool: SQLiteStore) -> list[str]:
    return [event.kind for event in reversed(spool.events.page())]


def spooled(spool: SQLiteStore, seen: Away, *ids: str) -> None:
    spool.spool([message(id) for id in ids], outage=seen)


def drain(spool: SQLiteStore) -> None:
    spool.handed_over(spool.take(worker("d", kind="drainer"), 500, 1 << 20, 0.0))


def test_eight_processes_have_one_outage(spool: SQLiteStore, host: Host, away: Callable[..., Away]) -> None:
    seen = [away() for _ in range(8)]
    for n, one in enumerate(seen):
        spooled(spool, one, f"a{n}")
        host.later(0.5)
        spool.events.away(one)
    host.later(5)
    assert [spool.events.back() for _ in seen] == [True] + [False] * 7
    outage = only(spool)
    assert (outage.spooled, outage.peak, outage.cause) == (8, 8, "refused")
    assert outage.ended_at == pytest.approx(outage.started_at + 9)
    assert kinds(spool) == ["breaker_opened", "breaker_closed"]


def test_it_began_when_the_first_call_failed_not_when_it_was_written(spool, host, away):
    spool.events.away(away(ago=42.0))
    assert only(spool).started_at == pytest.approx(host.wall - 42.0)


def test_two_in_a_row_are_two(spool, host, away):
    for n in range(2):
        spooled(spool, away(), str(n))
        host.later(3)
        spool.events.back()
        host.later(1)
        drain(spool)
        spool.events.drained()
        host.later(1)
    later, first = spool.events.outages()
    assert (later.spooled, first.spooled) == (1, 1)
    assert later.started_at == pytest.approx(first.ended_at + 2)
    assert (first.to_drain(), later.to_drain()) == (pytest.approx(1.0), pytest.approx(1.0))
    assert spool.events.outages(1, before=later.number) == [first]


def test_what_is_spooled_late_belongs_to_the_outage_that_ended(spool, host, away):
    """Another process heard of the end before this one did."""
    mine = away()
    spooled(spool, mine, "a")
    host.later(3)
    spool.events.back()
    host.later(0.01)
    spooled(spool, mine, "b")
    outage = only(spool)
    assert outage.spooled == 2
    assert outage.ended_at is not None


def test_one_for_whom_it_goes_on_takes_it_up_again(spool, host, away):
    """Its password is wrong: Redis has come back for everybody else."""
    mine = away(cause="auth")
    spooled(spool, mine, "a")
    host.later(3)
    spool.events.back()
    host.later(3)
    spool.events.away(mine)
    assert only(spool).ended_at is None
    host.later(3)
    spool.events.back()
    assert only(spool).seconds(host.wall) == pytest.approx(9)
    assert kinds(spool) == ["breaker_opened", "breaker_closed"] * 2


def test_its_word_holds_for_a_while_and_then_who_is_answered_ends_it(spool, host, away):
    spooled(spool, away(), "a")
    host.later(STALE - 1)
    assert not spool.events.back(silent=STALE)
    host.later(1)
    assert spool.events.back(silent=STALE)


def test_whoever_saw_it_is_gone_it_is_over_since_it_was_last_seen(spool, host, away):
    """Killed in the outage, and nobody is there to see the end: it doesn't stay open for ever, nor until the next one."""
    began = host.wall
    spooled(spool, away(), "a")
    host.later(CONFIRM + 1)
    spooled(spool, away(), "b")
    last = host.wall
    host.later(LAPSE - 1)
    assert spool.events.outage() is not None
    host.later(2)
    assert spool.events.outage() is None
    assert (only(spool).started_at, only(spool).ended_at) == (pytest.approx(began), pytest.approx(last))
    host.later(3600)
    spooled(spool, away(), "c")
    newer, older = spool.events.outages()
    assert (newer.ended_at, newer.spooled) == (None, 1)
    assert (older.ended_at, older.spooled) == (pytest.approx(last), 2)
    assert "Nobody here looked any more" in spool.events.page(kinds=["breaker_closed"])[0].text


def test_all_processes_are_started_anew_in_the_middle_of_it(spool, host, away):
    spooled(spool, away(), "a")
    host.later(120)
    spooled(spool, away(), "b")
    spool.events.back()
    assert only(spool).seconds(host.wall) == pytest.approx(120)
    assert only(spool).spooled == 2


def test_so_is_the_host(spool, host, away):
    spooled(spool, away(), "a")
    host.later(30)
    spool.events.away(away(30))
    host.reboots(90)
    spooled(spool, away(), "b")
    host.later(10)
    spool.events.back()
    assert only(spool).seconds(host.wall) == pytest.approx(130)
    assert (only(spool).spooled, kinds(spool)) == (2, ["breaker_opened", "breaker_closed"])


def test_another_boot_knows_nothing_of_an_outage_that_ended_before_it(spool, host, away):
    spooled(spool, away(), "a")
    spool.events.back()
    host.reboots(90)
    spooled(spool, away(ago=1.0), "b")
    assert len(spool.events.outages()) == 2


@pytest.mark.parametrize("jump", [7200.0, -7200.0])
def test_a_clock_that_jumps_makes_neither_two_of_one_nor_hours_of_minutes(spool, host, away, jump):
    mine = away()
    spooled(spool, mine, "a")
    host.later(60)
    host.wall += jump
    assert spool.events.outage().seconds(host.wall) == pytest.approx(60)
    spooled(spool, mine, "b")
    host.later(60)
    host.wall -= jump / 2
    spool.events.away(mine)
    host.later(5)
    spool.events.back()
    outage = only(spool)
    assert (outage.spooled, outage.ended_at) == (2, pytest.approx(host.wall))
    assert outage.seconds(host.wall) == pytest.approx(125)


def test_set_back_after_one_has_ended_the_next_is_another(spool, host, away):
    spooled(spool, away(), "a")
    host.later(5)
    spool.events.back()
    host.wall -= 7200
    host.later(60)
    spooled(spool, away(), "b")
    newer, older = spool.events.outages()
    assert (newer.spooled, older.spooled) == (1, 1)


def test_how_it_was_drained_is_told_once(spool, host, away):
    spooled(spool, away(), "a", "b", "c")
    host.later(4)
    spool.events.draining()
    spool.events.back()
    assert only(spool).drained_at is None
    host.later(2)
    spool.events.draining()
    drain(spool)
    for _ in range(2):
        spool.events.drained()
    assert only(spool).to_drain() == pytest.approx(2)
    assert kinds(spool) == ["breaker_opened", "drain_begun", "breaker_closed", "drain_ended"]
    begun, ended = spool.events.page(kinds=["drain_begun", "drain_ended"])[::-1]
    assert (begun.detail["rows"], ended.detail["spooled"]) == (3, 3)


def test_it_is_not_drained_while_a_row_is_left(spool, host, away):
    spooled(spool, away(), "a", "b")
    spool.events.back()
    spool.handed_over(spool.take(worker("d", kind="drainer"), 1, 1 << 20, 0.0))
    spool.events.drained()
    assert only(spool).drained_at is None


def test_workers_here_may_leave_nothing_to_drain(spool, host, away):
    spooled(spool, away(), "a", "b")
    spool.ack(claim(spool, 1))
    host.later(5)
    spool.events.back()
    outage = only(spool)
    assert outage.drained_at == outage.ended_at


def test_duplicates_are_those_of_its_own_drain(spool, host, away):

    def moved(twice: int) -> None:
        taken = spool.take(worker("d", kind="drainer"), 500, 1 << 20, 0.0)
        spool.handed_over(taken, known=[one.claim.token for one in taken[:twice]])

    spooled(spool, away(), "a")
    spool.events.back()
    moved(1)
    assert only(spool).duplicates == 1
    host.later(60)
    spooled(spool, away(), "b", "c")
    spool.events.back()
    assert [one.duplicates for one in spool.events.outages()] == [0, 1]
    moved(2)
    assert [one.duplicates for one in spool.events.outages()] == [2, 1]
    spool.events.drained()
    assert [one.duplicates for one in spool.events.outages()] == [2, 1]
    assert spool.events.page(kinds=["drain_ended"]) == []  # nobody said that it had begun


def test_the_peak_is_sampled_where_workers_take_from_it_too(spool, host, away):
    spooled(spool, away(), *map(str, range(10)))
    spool.events.sample()
    spool.ack(claim(spool, 1))
    host.later(5)
    spooled(spool, away(), "late")
    spool.events.back()
    assert (only(spool).peak, only(spool).spooled) == (10, 11)


def test_they_are_bounded(spool, host, away, monkeypatch):
    monkeypatch.setattr("spoolq.store.sqlite.outages.MOST", 5)
    for n in range(8):
        spooled(spool, away(), str(n))
        host.later(1)
        spool.events.back()
        host.later(1)
    assert len(spool.events.outages()) == 5


def test_a_journal_that_cannot_be_written_is_told_to_who_asked_for_it_alone(spool, away, path):
    """The disk is full: what is noted is refused, and takes nothing from the reserve."""
    from spoolq.errors import StoreUnavailable

    spool.spool([message("a")])
    session = spool._writer._transactions._session
    assert session is not None
    session.execute(f"PRAGMA max_page_count = {session.scalar('PRAGMA page_count')}")

    def fill() -> None:
        for n in range(1000):
            spool.events.record("action", f"{n} {'x' * 400}")

    with pytest.raises(StoreUnavailable):
        fill()
    assert spool.waiting() == 1
    assert session.reserve.held() == 8 << 20


# a journal that can't be written


NO_OUTAGES = "DROP TABLE outages"
NO_EVENTS = "DROP TABLE events"
BAD_ROW = "UPDATE outages SET tick = NULL"
HUGE_ROW = "UPDATE outages SET spooled = 9223372036854775807"
BAD_MARK = "INSERT OR REPLACE INTO about VALUES ('marks', 'none')"
REFUSED = "CREATE TRIGGER no BEFORE UPDATE ON outages BEGIN SELECT raise(ABORT, 'no'); END"


@pytest.mark.parametrize("harm", [NO_OUTAGES, NO_EVENTS, BAD_ROW, HUGE_ROW, BAD_MARK, REFUSED])
def test_a_journal_that_cannot_be_written_keeps_no_job_out(
    spool: SQLiteStore, open_store: Open, host: Host, away: Callable[..., Away], harm: str
) -> None:
    seen = away()
    spooled(spool, seen, "a")
    with sqlite3.connect(spool.path) as file:
        file.execute(harm)
    other = open_store(spool.path, role="spool", clock=lambda: host.wall, ticks=lambda: (host.boot, host.mono))
    assert other.spool([message("b")], outage=seen) == [True]
    assert other.ready(1.0) == host.wall
    assert spool.spool([message("b"), message("c")], outage=seen) == [False, True]
    handoffs = spool.take(worker("drainer"), 10, 1 << 20, host.wall + 1)
    spool.quarantine(handoffs[0], "for its own sake")
    spool.handed_over(handoffs[1:])
    assert spool.waiting() == 0
    assert spool.info().quarantined == 1


def test_a_count_at_the_end_of_numbers_keeps_no_job_out(spool: SQLiteStore, away: Callable[..., Away]) -> None:
    spooled(spool, away(), "a")
    with sqlite3.connect(spool.path) as file:
        file.execute("UPDATE counters SET n = 9223372036854775807")
    spooled(spool, away(), "b", "c")
    assert spool.waiting() == 3


def test_an_outage_that_begins_before_the_last_one_is_drained_has_a_peak_of_its_own(
    spool: SQLiteStore, host: Host, away: Callable[..., Away]
) -> None:
    spooled(spool, away(), "a")
    spool.events.back()
    spool.events.draining()
    host.later(10)
    spooled(spool, away(), "b", "c")
    spool.events.draining()
    spool.handed_over(spool.take(worker("d", kind="drainer"), 10, 1 << 20, host.wall + 1))
    host.later(STALE)
    spool.events.back()
    spool.events.drained()
    assert [(outage.spooled, outage.peak) for outage in spool.events.outages()] == [(2, 3), (1, 1)]
    assert kinds(spool).count("drain_begun") == 1
