"""What a process has counted comes to the stores: to the primary, to the spool while that is away, once, and on nobody's time."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolq.counts import Counts
from spoolq.errors import ConfigError, StoreUnavailable
from spoolq.store.base import Store
from spoolq.store.sqlite import SQLiteStore
from spoolq.teller import Teller
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]


class Away:
    """A store that fails like this."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def add_series(self, numbers: object, *, timeout: float) -> None:
        raise self.error


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[Store]:
    store = SQLiteStore(tmp_path / "primary.db", timeout=20.0)
    yield store
    store.close()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Store]:
    store = SQLiteStore(tmp_path / "spool.db", timeout=20.0)
    yield store
    store.close()


def teller(counts: Counts, primary: object, spool: object = None, *, allows: bool = True, every: float = 0.01) -> Teller:
    return Teller(counts, lambda: primary, lambda: spool, lambda: allows, every=every)  # type: ignore[return-value,arg-type]


def test_the_primary_is_told_and_nothing_twice(primary: Store, spool: Store) -> None:
    counts = Counts()
    one = teller(counts, primary, spool)
    counts.add("n", by=3)
    assert one.tell()
    assert not one.tell()
    counts.add("n")
    one.tell()
    assert (primary.series(), spool.series()) == ({"n": 4}, {})


@pytest.mark.parametrize("error", [StoreUnavailable("gone", reason="refused"), ConfigError("wrong")])
def test_while_the_primary_is_away_the_spool_is_told(spool: Store, error: Exception) -> None:
    counts = Counts()
    counts.add("n")
    teller(counts, Away(error), spool).tell()
    assert spool.series() == {"n": 1}


def test_an_open_breaker_spares_the_primary(primary: Store, spool: Store) -> None:
    counts = Counts()
    counts.add("n")
    teller(counts, primary, spool, allows=False).tell()
    assert (primary.series(), spool.series()) == ({}, {"n": 1})


def test_what_nobody_could_be_told_is_kept(primary: Store) -> None:
    counts = Counts()
    counts.add("n", by=2)
    teller(counts, Away(StoreUnavailable("gone", reason="refused"))).tell()
    counts.add("n")
    teller(counts, primary).tell()
    assert primary.series() == {"n": 3}


def test_a_telling_whose_answer_was_lost_is_not_told_again(spool: Store) -> None:
    counts = Counts()
    counts.add("n")
    lost = teller(counts, Away(StoreUnavailable("cut", reason="cut", maybe_applied=True)), spool)
    lost.tell()
    assert (counts.take(), spool.series()) == ({}, {})


def test_a_thread_tells_and_ends_when_there_is_nothing_more(primary: Store) -> None:
    counts = Counts()
    one = teller(counts, primary)
    for n in (1, 2):
        counts.add("n")
        one.begin()
        assert not one.idle or primary.series() == {"n": n}
        eventually(lambda: one.idle)
        assert primary.series() == {"n": n}


def test_the_end_tells_what_is_left(primary: Store) -> None:
    counts = Counts()
    one = teller(counts, primary, every=60.0)
    counts.add("n")
    one.begin()
    one.stop(5.0)
    assert primary.series() == {"n": 1}
    assert one.idle


def test_a_forked_child_tells_nothing_of_its_parent(primary: Store) -> None:
    counts = Counts()
    one = teller(counts, primary)
    counts.add("n")
    one.after_fork()  # as in a child
    assert not one.tell()


def test_an_enqueue_while_the_interpreter_ends_does_not_hang(tmp_path: Path) -> None:
    """Python 3.11 starts a thread there, and waits for ever for it to run."""
    code = f"""
import builtins
from spoolq import SpoolQ
q = SpoolQ("sqlite:///{tmp_path}/jobs.db")
task = q.remote("send", "mail")
task.enqueue(1)
class Last:
    def __del__(self):
        try:
            task.enqueue(2)
        except Exception as error:
            print("refused", type(error).__name__)
        else:
            print("stored")
builtins.last = Last()
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
    assert said.stdout.split()[0] in ("refused", "stored"), said.stderr


class Slow:
    """A store that takes all the time that it is given."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    def add_series(self, numbers: object, *, timeout: float) -> None:
        self.asked.append(timeout)
        time.sleep(timeout)
        raise StoreUnavailable("the answer took too long", reason="timeout")


def test_stores_that_hang_take_no_more_than_the_time_there_is_at_the_end() -> None:
    primary, spool, counts = Slow(), Slow(), Counts()
    teller = Teller(counts, lambda: primary, lambda: spool, lambda: True)  # type: ignore[arg-type, return-value]
    counts.add("spoolq_redis_errors_total")
    teller.stop(0.2)
    assert sum(primary.asked + spool.asked) <= 0.2
    assert counts.take() == {"spoolq_redis_errors_total": 1}, "it was told to nobody"


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_where_no_thread_can_be_had_nobody_hears_of_it_and_a_later_call_tries_again(
    primary: Store, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def no_thread(thread: threading.Thread) -> None:
        raise error

    counts = Counts()
    teller = Teller(counts, lambda: primary, lambda: None, lambda: True)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        teller.begin()
        assert teller.idle
    counts.add("spoolq_redis_errors_total")
    teller.begin()
    assert not teller.idle
    teller.stop(20.0)
    assert primary.series() == {"spoolq_redis_errors_total": 1}
