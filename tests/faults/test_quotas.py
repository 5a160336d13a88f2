"""Limits of queues with real workers: over threads, processes, deaths and outages, and nobody asks for what must wait."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from spoolq import SpoolQ
from tests.faults.app import application
from tests.faults.test_exclusive import Count
from tests.faults.working import Place, at
from tests.servers import Server
from tests.waiting import eventually


@pytest.fixture(params=["sqlite", "redis"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Opens an application with settings, on a file and on a server of its own."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path}/jobs.db"
        else:
            url = stack.enter_context(Server(request.getfixturevalue("one_binary"))).url

        def one(**settings: Any) -> SpoolQ:
            own = {} if url.startswith("sqlite:") else {"spool": tmp_path / "spool.db", "deadline": 5.0}
            return stack.enter_context(SpoolQ(url, spool_min_free=0, **own, **settings))

        yield one


def run(several: list[SpoolQ], over: Any, queues: tuple[str, ...] = ("work",), threads: int = 4) -> None:
    """A worker of each of these applications, until it is over."""
    workers = [q.worker(queues=queues, threads=threads) for q in several]
    running = [threading.Thread(target=worker.run) for worker in workers]
    for thread in running:
        thread.start()
    try:
        eventually(over, within=60, what="the end of it")
    finally:
        for worker in workers:
            worker.stop()
        for thread in running:
            thread.join(30)


def calls(q: SpoolQ, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts what the primary of this application is asked."""
    counts: Counter[str] = Counter()
    for verb in ("claim", "wait"):
        real = getattr(q.primary, verb)

        def counted(*args: Any, verb: str = verb, real: Any = real, **options: Any) -> Any:
            counts[verb] += 1
            return real(*args, **options)

        monkeypatch.setattr(q.primary, verb, counted)
    return counts


def test_so_many_jobs_of_a_queue_run_at_a_time_over_all_workers(opened: Any) -> None:
    count, several = Count(), [opened(concurrency={"work": 3}) for _ in range(2)]
    for q in several:
        q.task(name="t", queue="work")(count.run)
    several[0].enqueue_many([several[0].tasks.get("t").job(n) for n in range(60)])
    run(several, lambda: count.ran == 60)
    assert count.most == 3, "and no fewer"


def test_a_queue_at_its_limit_holds_up_no_other(opened: Any) -> None:
    q = opened(concurrency={"work": 1})
    gate, ran = threading.Event(), list[Any]()
    q.task(name="slow", queue="work")(lambda: gate.wait(60))
    q.task(name="quick", queue="other")(ran.append)
    q.enqueue_many([q.tasks.get("slow").job() for _ in range(5)])

    def over() -> bool:
        q.tasks.get("quick").enqueue(len(ran))
        return len(ran) > 20

    def over_and_open() -> bool:
        if over():
            gate.set()  # or the worker's end would wait for it
        return gate.is_set()

    try:
        run([q], over_and_open, ("work", "other"))
    finally:
        gate.set()


@pytest.mark.parametrize("workers", [1, 2])
def test_jobs_of_a_queue_begin_at_its_rate_in_order_over_all_workers(opened: Any, workers: int) -> None:
    several = [opened(rate_limits={"work": "20/s"}) for _ in range(workers)]
    began: list[tuple[float, int]] = []
    for q in several:
        q.task(name="t", queue="work")(lambda n: began.append((time.monotonic(), n)))
    several[0].enqueue_many([several[0].tasks.get("t").job(n) for n in range(40)])
    before = time.monotonic()  # the first one may be claimed well before its thread gets a core
    run(several, lambda: len(began) == 40, threads=1 if workers == 1 else 4)  # of several threads one may come late
    times = [at for at, _ in began]
    assert times[-1] - before >= 0.99 * 39 * 0.05, "40 jobs are 39 twentieths of a second"
    if workers == 1:
        assert [n for _, n in began] == list(range(40))


def test_a_worker_waits_for_the_next_job_of_ten_thousand_and_asks_for_none_meanwhile(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    q = opened(rate_limits={"work": "1/s"})
    ran: list[float] = []
    q.task(name="t", queue="work")(lambda n: ran.append(time.monotonic()))
    q.enqueue_many([q.tasks.get("t").job(n) for n in range(10_000)])
    asked, before = calls(q, monkeypatch), time.monotonic()
    run([q], lambda: len(ran) >= 4)
    assert ran[-1] - before > 0.99 * (len(ran) - 1)
    assert asked["claim"] <= 5 * len(ran), f"{len(ran)} jobs: {asked}"
    assert asked["wait"] <= 10 * len(ran), f"{len(ran)} jobs: {asked}"
    assert sum(depth.scheduled for depth in q.primary.depths()) == 0, "they wait where they were"


def test_a_burst_waits_for_what_a_limit_puts_off(opened: Any) -> None:
    q = opened(rate_limits={"work": "5/s"}, concurrency={"work": 1})
    ran: list[int] = []
    q.task(name="t", queue="work")(ran.append)
    q.enqueue_many([q.tasks.get("t").job(n) for n in range(5)])
    assert q.worker(burst=True).run() == 0
    assert ran == [0, 1, 2, 3, 4]


def test_a_burst_ends_with_the_last_job_and_not_when_another_one_might_begin(opened: Any) -> None:
    q = opened(rate_limits={"work": "1/h"})
    ran: list[int] = []
    task = q.task(name="t", queue="work")(ran.append)
    task.enqueue(1)
    worker = q.worker(burst=True)
    running = threading.Thread(target=worker.run, daemon=True)
    running.start()
    running.join(30)
    assert (ran, running.is_alive()) == ([1], False)


def test_a_killed_workers_job_counts_until_it_is_rescued_and_no_longer(either: Place) -> None:
    either.environment["SPOOLQ_CONCURRENCY"] = "work=1"
    first, second = either.enqueue("hold", "a"), either.enqueue("hold", "b")
    worker = either.worker(LEASE="1s", threads=2)
    either.begun()
    worker.kill()
    either.open_gate()
    either.worker(LEASE="1s", threads=2)
    either.done()
    assert either.runs() == {first: 1, second: 1}


def test_local_workers_keep_to_the_limits_within_their_host(fresh_server: Server, tmp_path: Path) -> None:
    with application(fresh_server.url, tmp_path, concurrency={"work": 2}, rate_limits={"slow": "10/s"}) as q:
        fresh_server.kill()
        count, began = Count(), list[float]()
        t = q.task(name="t", queue="work")(count.run)
        s = q.task(name="s", queue="slow")(lambda n: began.append(time.monotonic()))
        q.enqueue_many([*(t.job(n) for n in range(20)), *(s.job(n) for n in range(10))])
        before = time.monotonic()
        run([q], lambda: count.ran == 20 and len(began) == 10, ("work", "slow"), 6)
        assert count.most == 2
        assert began[-1] - before >= 0.99 * 9 * 0.1


def test_a_rate_holds_through_the_death_of_its_redis(durable: Server, tmp_path: Path) -> None:
    with at(tmp_path, durable.url) as place:
        place.environment["SPOOLQ_RATE_LIMITS"] = "work=2/s"
        for n in range(5):
            place.enqueue("note", n)
        place.worker("--no-local", threads=2)
        eventually(lambda: place.trace(), what="the first one")
        durable.restart()
        place.done()
        assert sum(place.runs().values()) == 5
