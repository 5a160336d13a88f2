"""Time in whole workers: a long job isn't run twice because it is long, and one that can't be ended holds up nobody."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.working import Place, at
from tests.servers import Binary, Server
from tests.waiting import eventually

LEASE = "3s"  # longer than a busy machine keeps a worker from its core, beside one that takes over whatever can be
LONG = 15.2  # more than five of them


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with at(tmp_path, f"sqlite:///{tmp_path}/jobs.db") as one:
        yield one


@pytest.fixture
def one_server(one_binary: Binary, shared_servers: Callable[[Binary], Server]) -> Server:
    """One will do: what keeps a lease is the worker, not the server."""
    return shared_servers(one_binary)


def test_a_job_of_five_leases_runs_once_in_a_thread_that_sleeps_or_computes(tmp_path: Path, one_server: Server) -> None:
    """On Redis and on SQLite, beside a worker that takes over whatever can be: it looks for it all the time."""
    with one_server.client() as control:
        control.flushall()
    for name in ("redis", "sqlite"):
        (tmp_path / name).mkdir()
    with (
        at(tmp_path / "redis", one_server.url) as redis,
        at(tmp_path / "sqlite", f"sqlite:///{tmp_path}/sqlite/jobs.db") as sqlite,
    ):
        for place in (redis, sqlite):
            workers = [place.worker(threads=2, LEASE=LEASE).ready() for _ in range(2)]
            jobs = [place.enqueue("labour", LONG), place.enqueue("computing", LONG), place.enqueue("napping", LONG)]
            eventually(lambda place=place: place.left()["claimed"] == 3)  # type: ignore[misc]
            place.expected = jobs, workers  # type: ignore[attr-defined]
        for place in (redis, sqlite):
            place.done()
            jobs, workers = place.expected  # type: ignore[attr-defined]
            assert place.runs() == dict.fromkeys(jobs, 1)
            assert not [worker for worker in workers if worker.said("taken over") or worker.said("stopped answering")]
            assert {line.attempt for line in place.trace()} == {0}


def test_a_job_that_sleeps_past_its_limit_is_reported_and_holds_up_neither_work_nor_end(place: Place) -> None:
    stuck = place.enqueue("sleeping_too_long", 60)
    worker = place.worker(threads=1).ready()
    after = place.enqueue("note", "after")
    eventually(lambda: place.runs() == {after: 1})
    [failure] = eventually(place.store.failures.page)
    assert (failure.id, failure.exception, failure.error) == (
        stuck,
        "TimeLimit",
        "the task ran longer than its timeout of 3 s",
    )
    eventually(lambda: worker.said("can't be ended"))  # told when its slot is another's already
    eventually(lambda: worker.said("time.sleep(seconds)"), what="where it is")
    worker.send(signal.SIGTERM)
    assert worker.process.wait(60) == 0


def test_a_coroutine_whose_thread_sleeps_on_is_put_back_and_holds_up_no_end(place: Place) -> None:
    job = place.enqueue("napping", 60, True)
    worker = place.worker("--grace", "0.1").ready()
    place.begun()
    began = time.monotonic()
    worker.send(signal.SIGTERM)
    assert worker.ended() == 0
    assert time.monotonic() - began < 40, "and not the minute that it sleeps"
    assert place.left() == {"ready": 1}
    [claim] = place.store.claim(place.q.worker_info(("work",), 1), 1, ("work",), 1).claims
    assert job.encode() in claim.payload


def test_many_coroutines_at_once_in_one_thread_and_quit_waits_for_them(place: Place) -> None:
    jobs = [place.enqueue("napping", 1.5) for _ in range(30)]
    worker = place.worker("--async-concurrency", "30", threads=1).ready()
    place.begun(30)
    worker.send(signal.SIGQUIT)
    assert worker.ended() == 0
    assert place.runs() == dict.fromkeys(jobs, 1)
    assert place.left() == {}


def test_an_async_task_on_a_worker_without_a_loop_is_refused_at_its_start(place: Place) -> None:
    worker = place.worker("--async-concurrency", "0")
    assert worker.ended() == 78
    assert worker.said("`async def`, which a worker without an event loop can't run")
