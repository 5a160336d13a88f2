"""What a housekeeper sees of the store for its pool."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spoolq.autoscale.board import Board
from spoolq.autoscale.gauge import SLOW, Gauge, published
from spoolq.autoscale.words import EVERY_POOL, Ear, parse, say
from spoolq.counts import Counts
from spoolq.errors import StoreUnavailable
from spoolq.runtime import Folder
from spoolq.selection import parse as selected
from spoolq.store.base import EVERY_QUEUE
from spoolq.store.looking import Load
from spoolq.store.sqlite import SQLiteStore
from tests.unit.autoscale.test_board import STATE
from tests.unit.hands import file, info, job

HOUSE = info("house", threads=0)


class Around:
    """A store whose answers may be late or fail: `wait` seconds that a request takes, `fails` by the name of the verb."""

    def __init__(self, store: SQLiteStore) -> None:
        self.store, self.wait, self.fails = store, 0.001, dict[str, StoreUnavailable]()
        self.puts = 0

    def load(self, timeout: float, *, memory: bool = False) -> Load:
        if "load" in self.fails:
            raise self.fails["load"]
        return Load(self.wait)

    def put(self, *args: Any, **options: Any) -> Any:
        self.puts += 1
        if "put" in self.fails:
            raise self.fails["put"]
        return self.store.put(*args, **options)

    def __getattr__(self, name: str) -> Any:
        if name in self.fails:
            raise self.fails[name]
        return getattr(self.store, name)


@pytest.fixture
def around(tmp_path: Path) -> Iterator[Around]:
    with closing(file(tmp_path / "jobs.db")) as store:
        yield Around(store)


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(Folder(lambda: [str(tmp_path)], "pools-0a"), "k1")


def gauge(around: Any, board: Board, queues: str = "q", **options: Any) -> Gauge:
    return Gauge(around, HOUSE, selected(queues), board, Ear("web1/default", [lambda: around.store]), **options)


def seen(made: Gauge, board: Board) -> Any:
    made.turn()
    return board.told()[0]


def test_the_backlog_is_of_the_pools_queues_and_not_of_those_that_are_paused(around: Around, board: Board) -> None:
    for queue, count in [("q", 3), ("bulk_a", 5), ("other", 7)]:
        around.store.put([job(f"{queue}{number}", queue=queue) for number in range(count)])
    made = gauge(around, board, "q,bulk_*")
    assert seen(made, board).backlog == 8
    assert seen(made, board).oldest >= 0.0
    around.store.pause("q")
    assert seen(made, board).backlog == 5
    around.store.pause(EVERY_QUEUE)
    assert (seen(made, board).backlog, seen(made, board).oldest) == (0, None)
    assert seen(gauge(around, board, "nothing"), board).broker == "well"


def test_each_change_of_the_size_is_counted_and_what_it_was_for(around: Around, board: Board) -> None:
    counts = Counts()
    made = gauge(around, board, counts=counts)
    for wanted, cause in [(2, "enough"), (4, "backlog"), (4, "enough"), (3, "idle"), (1, "memory")]:
        board.show(replace(STATE, wanted=wanted, cause=cause))
        made.turn()
    name = "spoolq_autoscale_decisions_total"
    assert counts.totals() == {f"{name}\tup\tbacklog": 1, f"{name}\tdown\tidle": 1, f"{name}\tdown\tmemory": 1}


def test_a_store_that_does_not_answer_is_away_and_one_that_is_late_is_slow(around: Around, board: Board) -> None:
    made = gauge(around, board)
    assert seen(made, board).broker == "well"
    around.wait = 10 * SLOW
    assert seen(made, board).broker == "slow"
    around.fails["load"] = StoreUnavailable("no", reason="timeout")
    assert seen(made, board)[1:] == ("away", None, None, None, None)
    around.fails.clear()
    around.wait = 0.001
    assert seen(made, board).broker == "well"


def test_what_waits_in_the_spool_is_asked_now_and_then(around: Around, board: Board) -> None:
    now, asked = [100.0], iter([3, 4])
    made = gauge(around, board, spooled=lambda: next(asked), clock=lambda: now[0])
    told = []
    for _ in range(3):
        told.append(seen(made, board).spooled)
        now[0] += 4.0
    assert told == [None, 3, 3], "told with the next look, and asked again later"
    assert seen(made, board).spooled == 4


def test_one_late_answer_is_nothing(around: Around, board: Board) -> None:
    made = gauge(around, board)
    seen(made, board)
    around.wait = 1.5 * SLOW
    assert seen(made, board).broker == "well"


def test_what_the_producers_tell_each_other_of_a_slow_store_counts(around: Around, board: Board) -> None:
    assert seen(gauge(around, board, outage=lambda: "slow"), board).broker == "slow"
    assert seen(gauge(around, board, outage=lambda: "refused"), board).broker == "well"  # an answer is the newer word


def test_what_may_not_be_looked_at_is_not_known_and_the_store_is_there(around: Around, board: Board) -> None:
    around.fails["depths"] = StoreUnavailable("no", reason="noperm", server_wide=False)
    found = seen(gauge(around, board), board)
    assert (found.broker, found.backlog) == ("well", None)


def test_a_store_that_takes_nothing_refuses(around: Around, board: Board) -> None:
    board.show(STATE)
    around.fails["put"] = StoreUnavailable("no", reason="readonly")
    made = gauge(around, board)
    seen(made, board)
    assert seen(made, board).broker == "refusing"
    around.fails.clear()
    seen(made, board)
    assert seen(made, board).broker == "well"


def test_it_tells_the_pool_what_an_operator_said(around: Around, board: Board) -> None:
    say([around.store], EVERY_POOL, parse("2"), 100.0)
    gauge(around, board).turn()
    assert str(board.told()[1]) == "2"


def test_others_are_told_of_the_pool_when_it_changes_and_not_all_the_time(around: Around, board: Board) -> None:
    around.store.heartbeat(HOUSE)
    now = [100.0]
    made = gauge(around, board, clock=lambda: now[0])
    made.turn()
    assert published(around.store) == []
    board.show(STATE)
    made.turn()
    assert published(around.store) == [STATE]
    puts = around.puts
    for _ in range(5):
        now[0] += 1.0
        board.show(replace(STATE, at=now[0], why=f"{now[0]} jobs wait"))
        made.turn()
    assert around.puts == puts
    board.show(replace(STATE, wanted=4))
    made.turn()
    assert [state.wanted for state in published(around.store)] == [4]
    now[0] += 20.0
    made.turn()
    assert around.puts == puts + 2


def test_it_takes_little_of_a_store_that_is_slow_to_look_at(around: Around, board: Board) -> None:
    times = iter([0.0, 0.075, 0.0, 5.0])
    made = gauge(around, board, clock=lambda: next(times))
    assert [made.turn(), made.turn()] == [pytest.approx(1.5), 2.0]
