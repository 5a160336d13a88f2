"""The journal of a spool: outcomes that wait to be told to the primary, each with one who tells it."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from spoolq.job import Claim
from spoolq.store.journal import Settlement
from spoolq.store.sqlite import SQLiteStore
from tests.clock import Clock

HERE = "redis://here:6379/0#resque"


@pytest.fixture
def open_spool(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., SQLiteStore]]:
    """Open the file once more, for that destination."""
    with ExitStack() as opened:

        def one(destination: str = HERE) -> SQLiteStore:
            path = tmp_path / "spool.db"
            store = SQLiteStore(path, role="spool", destination=destination, min_free=0, timeout=20.0, clock=clock)
            return opened.enter_context(closing(store))

        yield one


@pytest.fixture
def spool(open_spool: Callable[..., SQLiteStore]) -> SQLiteStore:
    return open_spool()


def ack(token: str) -> Settlement:
    return Settlement(Claim(token, "w", "q", b""), "ack", word="processed")


def tokens(found: list[Settlement]) -> list[str]:
    return [one.claim.token for one in found]


def test_what_is_taken_is_what_was_kept_in_its_order(spool: SQLiteStore) -> None:
    claim = Claim("t2", "w", "ü", b"")
    several = [
        ack("t9"),
        Settlement(claim, "retry", b"\x00\xff", 1_700_000_000.25, "it raised"),
        Settlement(claim._replace(token="t1"), "fail", b"{}"),
        Settlement(claim._replace(token="t0"), "release"),
    ]
    spool.settlements.keep("w", several, (), 0.0)
    assert spool.info().settlements == 4
    assert spool.settlements.take("x", 3, 5.0) == several[:3]
    assert spool.settlements.take("x", 3, 5.0) == several[3:]
    assert spool.settlements.take("x", 3, 5.0) == []


def test_no_hold_outlasts_a_clock_that_was_set_back(spool: SQLiteStore, clock: Clock) -> None:
    spool.settlements.keep("dead", [ack("a")], (), 8.0)
    clock.now -= 7200.0
    assert spool.settlements.held() is False
    assert tokens(spool.settlements.take("x", 10, 8.0)) == ["a"]
    assert (spool.settlements.held(), spool.settlements.take("y", 10, 8.0)) == (True, [])


def test_nobody_takes_what_somebody_holds(spool: SQLiteStore, clock: Clock) -> None:
    spool.settlements.keep("w", [ack("a"), ack("b")], (), 3.0)
    assert (spool.settlements.held(), spool.settlements.take("x", 10, 3.0)) == (True, [])
    clock.now += 2.0
    spool.settlements.keep("w", (), (), 3.0)
    clock.now += 2.0
    assert spool.settlements.take("x", 10, 3.0) == []
    clock.now += 2.0
    assert spool.settlements.held() is False
    assert tokens(spool.settlements.take("x", 1, 3.0)) == ["a"]
    assert tokens(spool.settlements.take("y", 10, 3.0)) == ["b"]
    clock.now += 4.0
    assert tokens(spool.settlements.take("y", 10, 3.0)) == ["a", "b"], "x has not come to it"


def test_what_was_told_is_struck_out_whoever_holds_it(spool: SQLiteStore) -> None:
    spool.settlements.keep("w", [ack("a"), ack("b")], (), 0.0)
    spool.settlements.take("x", 10, 60.0)
    spool.settlements.keep("w", [ack("c")], ["a", "unknown"], 0.0)
    assert spool.info().settlements == 2
    assert tokens(spool.settlements.take("y", 10, 1.0)) == ["c"]


def test_the_same_claim_is_there_once_with_its_last_outcome(spool: SQLiteStore) -> None:
    spool.settlements.keep("w", [ack("a")], (), 0.0)
    spool.settlements.keep("v", [ack("a")._replace(word="expired")], (), 0.0)
    assert spool.settlements.take("x", 10, 1.0) == [ack("a")._replace(word="expired")]


def test_entries_are_seen_by_those_only_who_are_for_the_same_primary(open_spool: Callable[..., SQLiteStore]) -> None:
    open_spool().settlements.keep("w", [ack("a")], (), 0.0)
    anywhere = open_spool("")  # as a drain of it into another Redis opens the file
    assert (anywhere.settlements.take("x", 10, 1.0), anywhere.settlements.held()) == ([], False)
    assert anywhere.info().settlements == 1


def test_they_are_no_jobs(spool: SQLiteStore) -> None:
    spool.settlements.keep("w", [ack("a")], (), 0.0)
    assert (spool.waiting(), spool.depths(), spool.info().rows, spool.upkeep.page("job")) == (0, [], 0, [])
    assert [one for one in spool.upkeep.check() if one.level == "problem"] == []


@pytest.mark.parametrize(
    "change",
    [
        "token = 'c'",
        "worker = 'x'",
        "queue = 'r'",
        "verb = CAST(x'e163' AS TEXT)",
        "argument = x'00'",
        "at = 7",
        "word = 'failed'",
    ],
)
def test_one_that_the_disk_has_changed_is_dropped(spool: SQLiteStore, change: str, caplog: pytest.LogCaptureFixture) -> None:
    """Also where it is no text any more, which nothing could read past."""
    spool.settlements.keep("w", [ack("a"), ack("b")], (), 0.0)
    with sqlite3.connect(spool.path) as foreign:
        foreign.execute(f"UPDATE settlements SET {change} WHERE token = 'a'")
    foreign.close()
    with caplog.at_level(logging.ERROR):
        assert tokens(spool.settlements.take("x", 10, 1.0)) == ["b"]
    assert "changed by the disk" in caplog.text
    assert spool.info().settlements == 1


def test_they_outlive_a_restart(spool: SQLiteStore, open_spool: Callable[..., SQLiteStore]) -> None:
    spool.settlements.keep("w", [ack("a")], (), 0.0)
    spool.close()
    assert tokens(open_spool().settlements.take("x", 10, 1.0)) == ["a"]
