"""Idle workers are woken by whoever makes a row ready, in any process of the host, and cost next to nothing while idle."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from spoolq.store.sqlite import SQLiteStore
from spoolq.store.sqlite.wake import Bell
from tests.faults.app import Control
from tests.unit.sqlite.helpers import ROOT, claim, message, worker
from tests.waiting import eventually, pass_time

Open = Callable[..., SQLiteStore]
WOKEN = 15.0  # seconds, on a busy machine: who isn't woken looks again after a minute here, and gives up after 20 seconds


@pytest.fixture(autouse=True)
def _long_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who isn't woken doesn't find out by itself after a second."""
    monkeypatch.setattr("spoolq.store.sqlite.store._SLOW_POLL", 60.0)


class Waiting:
    """A thread in `wait`; how long it took and what it got."""

    def __init__(
        self, store: SQLiteStore, *, queues: tuple[str, ...] = ("q",), timeout: float = 20.0, kind: str = "worker"
    ) -> None:
        self.got: bool | None = None
        self.at = 0.0

        def work() -> None:
            self.got = store.wait(worker(f"w{id(self)}", kind=kind), queues, timeout)
            self.at = time.monotonic()

        before = store._bell
        self.thread = threading.Thread(target=work)
        self.thread.start()
        eventually(lambda: before._idle == [] and self.thread.is_alive())

    def within(self, since: float) -> float:
        self.thread.join(60)
        assert not self.thread.is_alive()
        return self.at - since


def asleep(store: SQLiteStore) -> None:
    """Until the waiters have looked and found nothing: their one read was answered."""
    store._run(lambda session: None, writes=False)
    pass_time(0.02)


def test_it_returns_at_once_when_there_is_something(store: SQLiteStore) -> None:
    store.put([message("1")])
    began = time.monotonic()
    assert store.wait(worker(), ["a", "q"], 60)
    assert time.monotonic() - began < 30


def test_it_ends_with_its_time(store: SQLiteStore) -> None:
    store.put([message("1", "other")])
    began = time.monotonic()
    assert not store.wait(worker(), ["q"], 0.1)
    assert 0.09 < time.monotonic() - began < 30
    assert not store.wait(worker(), ["q"], 0)


def test_each_waiter_of_a_process_is_woken_for_its_own_queue(store: SQLiteStore) -> None:
    """One byte wakes them all, so none takes another's wake-up; those of other queues sleep on."""
    waiters = {queue: Waiting(store, queues=(queue,)) for queue in "abc"}
    asleep(store)
    for queue in "cab":
        since = time.monotonic()
        store.put([message(f"1{queue}", queue)])
        assert waiters.pop(queue).within(since) < WOKEN
        assert all(waiter.thread.is_alive() for waiter in waiters.values())


WAITER = """
import sys, time
from spoolq.store.base import WorkerInfo
from spoolq.store.sqlite import SQLiteStore, store
store._SLOW_POLL = 60.0  # who isn't woken sleeps on
store = SQLiteStore(sys.argv[1], timeout=20.0)
info = WorkerInfo(sys.argv[2], "host", 1, (sys.argv[3],))
store.wait(info, [sys.argv[3]], 0)
for turn in range(int(sys.argv[4])):
    print("waiting", flush=True)
    assert store.wait(info, [sys.argv[3]], 40)
    at = time.time()
    print(at, len(store.claim(info, turn, [sys.argv[3]], 10).claims), flush=True)
"""


def test_other_processes_are_woken_within_50_ms(path: Path, store: SQLiteStore) -> None:
    """Two processes on different queues; the median of several, and a third of them however busy this machine is. All are woken:
    none looks alone."""
    store.put([message("0", "none")])
    turns = 9
    others = {
        queue: subprocess.Popen(
            [sys.executable, "-c", WAITER, str(path), f"w-{queue}", queue, str(turns)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for queue in ("a", "b")
    }
    took = []
    try:
        with Control() as control:
            for turn in range(turns):
                for other in others.values():
                    assert other.stdout is not None
                    assert other.stdout.readline() == "waiting\n"
                pass_time(0.03)  # so that they sleep in their wait
                for queue, other in others.items():
                    since = time.time()
                    store.put([message(f"{turn}{queue}", queue)])
                    at, count = other.stdout.readline().split()  # type: ignore[union-attr]
                    took.append(float(at) - since)
                    assert count == "1"
        assert [other.wait(40) for other in others.values()] == [0, 0]
    finally:
        for other in others.values():
            other.kill()
            other.wait()
            other.stdout.close()  # type: ignore[union-attr]
    assert sorted(took)[len(took) // 3] < 0.05, took
    assert sorted(took)[len(took) // 2] < 0.05 + control.unscheduled, (took, control.unscheduled)
    assert max(took) < WOKEN, took


@pytest.mark.parametrize("how", ["retry", "release", "rescue", "give_back"])
def test_whatever_makes_a_row_ready_wakes(spool: SQLiteStore, how: str) -> None:
    spool.spool([message("1")])
    if how == "give_back":
        taken = spool.take(worker("d", kind="drainer"), 1, 100, 0.0)
    else:
        claims = claim(spool, 1)
    waiter = Waiting(spool)
    asleep(spool)
    since = time.monotonic()
    if how == "retry":
        spool.retry(claims[0], b"{}", 0.0)
    elif how == "release":
        spool.release(claims)
    elif how == "rescue":
        spool.unregister(worker())
        spool.release(spool.rescue(worker("r"), 1))
    else:
        spool.give_back(taken, applied="no")
    assert waiter.within(since) < WOKEN
    assert waiter.got


def test_a_scheduled_row_wakes_when_it_is_due(store: SQLiteStore) -> None:
    waiter = Waiting(store)
    asleep(store)
    since = time.monotonic()
    store.put([message("1", run_at=store.now() + 0.2)])
    assert 0.15 < waiter.within(since) < WOKEN
    assert waiter.got
    assert len(claim(store, 1)) == 1


def test_a_drainer_waits_for_any_row(spool: SQLiteStore) -> None:
    waiter = Waiting(spool, queues=(), kind="drainer")
    asleep(spool)
    since = time.monotonic()
    spool.spool([message("1", "any", run_at=spool.now() + 1000)], not_after=spool.now() + 1)
    assert waiter.within(since) < WOKEN
    assert waiter.got


def test_a_row_in_doubt_wakes_no_worker(spool: SQLiteStore) -> None:
    spool.spool([message("1")], not_after=spool.now() + 1)
    assert not spool.wait(worker(), ["q"], 0.05)


def test_closing_wakes(store: SQLiteStore) -> None:
    waiter = Waiting(store)
    asleep(store)
    since = time.monotonic()
    store.close()
    assert waiter.within(since) < WOKEN
    assert waiter.got is False


def test_a_removed_fifo_costs_a_second_at_most(path: Path, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoolq.store.sqlite.store._SLOW_POLL", 1.0)
    waiter = Waiting(store, timeout=50)
    asleep(store)
    path.with_name("jobs.db-wake").unlink()
    since = time.monotonic()
    store.put([message("1")])
    assert waiter.within(since) < 20
    assert waiter.got


def test_where_there_can_be_no_fifo_it_polls(path: Path, store: SQLiteStore) -> None:
    path.with_name("jobs.db-wake").write_text("in the way")
    waiter = Waiting(store)
    asleep(store)
    since = time.monotonic()
    store.put([message("1")])
    assert waiter.within(since) < WOKEN
    assert waiter.got
    assert path.with_name("jobs.db-wake").read_text() == "in the way"


def test_a_bell_never_fills(tmp_path: Path) -> None:
    bell = Bell(str(tmp_path / "wake"))
    listener = bell.listener()
    listener.ready()
    for _ in range(70_000):
        bell.ring()
    listener.wait(0)
    began = time.monotonic()
    bell.ring()
    listener.wait(60)
    assert time.monotonic() - began < 30
    listener.wait(0.05)
    assert time.monotonic() - began > 0.05
    listener.close()
    bell.close()


def test_closing_opens_nothing(tmp_path: Path) -> None:
    Bell(str(tmp_path / "bell")).close()
    assert list(tmp_path.iterdir()) == []


def test_closing_waits_for_none_who_rings_and_hangs(tmp_path: Path) -> None:
    bell = Bell(str(tmp_path / "bell"))
    bell.ring()
    with bell._lock:
        began = time.monotonic()
        bell.close()
        assert time.monotonic() - began < 30
    assert bell._fd is not None
    bell.ring()  # how that one ends
    assert bell._fd is None


def test_waiting_costs_next_to_nothing(store: SQLiteStore) -> None:
    store.put([message("1", "other")])
    store.wait(worker(), ["q"], 0)

    def spent() -> float:
        before = resource.getrusage(resource.RUSAGE_SELF)
        store.wait(worker(), ["q"], 1.5)
        after = resource.getrusage(resource.RUSAGE_SELF)
        return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)

    assert any(spent() < 0.03 for _ in range(4))  # threads of this process that other tests left may have something to do


def test_waiting_leaves_no_descriptors_behind(store: SQLiteStore) -> None:
    store.wait(worker(), ["q"], 0)

    def left() -> int:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            store.wait(worker(), ["q"], 0)
        return len(os.listdir("/proc/self/fd")) - before

    assert any(left() == 0 for _ in range(4))  # threads of this process that other tests left may open something
