"""Exclusive tasks and those with a concurrency: never more at a time than they say, over threads, processes and deaths."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from typing import Any

import pytest

from spoolq import SpoolQ, current_job
from spoolq.store.effects import Effects
from tests.faults.test_unique import q, work
from tests.faults.test_worker_death import stop
from tests.faults.working import Place
from tests.waiting import eventually, pass_time

__all__ = ["q"]  # a fixture


class Count:
    """How many run at a time, and the most that did."""

    def __init__(self) -> None:
        self.now = self.most = self.ran = 0
        self._lock = threading.Lock()

    def run(self, *args: Any) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.02)
        with self._lock:
            self.now -= 1
            self.ran += 1


def work_on(q: SpoolQ, count: Count, jobs: int, workers: int = 2) -> None:
    """Two workers of this process, with four threads each."""
    several = [q.worker(queues=("work",), threads=4) for _ in range(workers)]
    threads = [threading.Thread(target=worker.run) for worker in several]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: count.ran == jobs, within=60, what="all of them to have run")
    finally:
        for worker in several:
            worker.stop()
        for thread in threads:
            thread.join(60)


def test_a_burst_waits_for_what_it_has_put_back(q: SpoolQ) -> None:
    ran: list[int] = []

    def slow(number: int) -> None:
        time.sleep(0.4)  # longer than a thread waits for a place
        ran.append(number)

    task = q.task(name="t", queue="work", concurrency=1)(slow)
    q.enqueue_many([task.job(n) for n in range(4)])
    assert q.worker(queues=("work",), threads=4, burst=True).run() == 0
    assert sorted(ran) == list(range(4))


def test_equal_jobs_of_an_exclusive_task_run_one_after_the_other(q: SpoolQ) -> None:
    one, other = Count(), Count()
    task = q.task(name="t", queue="work", exclusive=True)(lambda which: (one if which else other).run())
    q.enqueue_many([task.job(n % 2) for n in range(12)])
    work_on(q, _Both(one, other), 12)
    assert (one.most, other.most) == (1, 1)
    assert q.primary.guards() == []
    assert q.primary.failures.count() == 0


class _Both(Count):
    def __init__(self, *counts: Count) -> None:
        self._counts = counts

    @property
    def ran(self) -> int:  # type: ignore[override]
        return sum(count.ran for count in self._counts)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_so_many_jobs_of_a_task_run_at_a_time(q: SpoolQ, asynchronous: bool) -> None:
    count = Count()

    async def arun(*args: Any) -> None:
        await asyncio.to_thread(count.run)

    task = q.task(name="t", queue="work", concurrency=2)(arun if asynchronous else count.run)
    q.enqueue_many([task.job(n) for n in range(20)])
    work_on(q, count, 20)
    assert count.most == 2, "and no fewer, where there are threads for more"
    assert q.primary.guards() == []


def test_waiting_counts_no_attempt_and_changes_nothing_of_the_job(q: SpoolQ) -> None:
    seen: list[Any] = []

    def look(value: int) -> None:
        seen.append(current_job())

    task = q.task(name="t", queue="work", exclusive=True)(look)
    first = task.enqueue(1)
    q.primary.put([], Effects(acquire=(("workerslock:t:work:[1]", "another", 4.0),)))
    work(q)
    assert q.primary.counters()["retried"] >= 1, "put back"
    assert [(job.id, job.attempt, job.fresh) for job in seen] == [(first.id, 0, True)]
    assert seen[0].job.history == ()


def test_a_killed_workers_lock_goes_with_the_rescue_of_its_job(either: Place) -> None:
    module = either.folder / "app_under_test.py"
    module.write_text(
        module.read_text()
        + "\n@q.task(queue='work', retries=5, exclusive=True, concurrency=1, backoff=lambda state: 0)\n"
        + "def guarded(value):\n    hold.function(value)\n"
    )
    first = either.enqueue("guarded", "x")
    worker = either.worker(LEASE="10m", threads=1)
    either.begun()
    assert sorted(guard.key for guard in either.store.guards()) == ["concurrency:guarded:0", 'workerslock:guarded:work:["x"]']
    worker.kill()
    second = either.enqueue("guarded", "x")
    either.open_gate()
    either.worker(LEASE="10m", threads=2)
    either.done()
    assert either.runs() == {first: 1, second: 1}
    assert either.store.guards() == []


def test_a_late_worker_takes_no_lock_again_of_a_job_that_another_has_done_meanwhile(either: Place) -> None:
    module = either.folder / "app_under_test.py"
    module.write_text(
        module.read_text()
        + "\n@q.task(queue='work', retries=5, exclusive=True, backoff=lambda state: 0)\n"
        + "def guarded(value):\n    hold.function(value)\n    eventually((here / 'late').exists, within=60)\n"
    )
    job = either.enqueue("guarded", "x")
    late = either.worker(LEASE="1s", threads=1)
    either.begun()
    stop(late, either)
    either.worker(LEASE="8s", threads=1)
    either.begun(2)
    either.open_gate()
    (either.folder / "late").touch()
    either.done()
    eventually(lambda: either.store.guards() == [], what="the lock to be free")
    (either.folder / "late").unlink()
    late.send(signal.SIGCONT)
    eventually(lambda: either.runs() == {job: 2}, what="the late worker to run to its end")
    pass_time(2.0)  # several of its heartbeats: that nothing comes of them shows in no other way
    (either.folder / "late").touch()
    assert either.store.guards() == []
