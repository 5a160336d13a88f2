"""A pool of processes through an outage: what is done isn't run again, and this host's spooled jobs run as others do."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.faults.test_pool import pool, started
from tests.faults.working import Place, at, failures
from tests.servers import Server
from tests.waiting import eventually

pytestmark = pytest.mark.one_server


@pytest.fixture
def place(tmp_path: Path, durable: Server) -> Place:  # type: ignore[misc]
    with at(tmp_path, durable.url) as one:
        yield one


def written(place: Place) -> int:
    assert place.q.spool is not None
    return place.q.spool.info().settlements


def test_of_200_jobs_that_run_as_redis_dies_none_runs_again_though_a_process_is_killed_in_the_outage(
    place: Place, durable: Server
) -> None:
    ids = [place.enqueue("hold", number) for number in range(200)]
    worker = pool(place, "4", threads=50)
    place.begun(200)
    durable.kill()
    place.open_gate()
    eventually(lambda: len(place.trace()) == 200, what="the end of all jobs")
    eventually(lambda: written(place) == 200, what="a journal of all outcomes")
    os.kill(started(worker)[0], signal.SIGKILL)
    eventually(lambda: worker.said("ended by SIGKILL"))
    durable.start()
    place.done()
    assert place.runs() == dict.fromkeys(ids, 1)
    assert place.store.counters()["processed"] == 200
    eventually(lambda: written(place) == 0)
    worker.end_pool()


def test_in_an_outage_the_pool_runs_this_hosts_spooled_jobs_in_their_order_with_retries_and_failures(
    place: Place, durable: Server
) -> None:
    # one job at a time: who holds more and isn't run for a while has them passed by those of the other
    worker = pool(place, "2", "--queues", "high,work", threads=1, MAX_PREFETCH="0")
    place.q.primary.ready(20.0)
    assert place.q.remote("note", "work").enqueue("warm").route == "primary"
    eventually(lambda: len(place.trace()) == 1)
    worker.send(signal.SIGTSTP)
    eventually(lambda: len(worker.said("paused")) == 3)
    durable.kill()
    low = [place.enqueue("note", "low") for _ in range(5)]
    high = [place.enqueue("note", "high", queue="high") for _ in range(5)]
    retried, failed = place.enqueue("second"), place.enqueue("broken", retries=0)
    worker.send(signal.SIGCONT)
    eventually(lambda: set(place.runs()) >= {*low, *high, retried, failed})
    eventually(lambda: place.runs()[retried] == 2)
    order = [line.value for line in place.trace() if line.value in ("low", "high")]
    assert order[:4] == ["high"] * 4, "two processes: the last of them may be passed by a first of the others"
    assert {line.store for line in place.trace() if line.id in low + high} == {"spool"}
    assert place.q.spool is not None
    eventually(lambda: [failure.id for failure in place.q.spool.failures.page()] == [failed])  # type: ignore[union-attr]
    durable.start()
    worker.end_pool()
    assert failures(durable) == []


def test_what_a_process_killed_in_an_outage_held_of_the_spool_goes_on_in_the_outage(place: Place, durable: Server) -> None:
    worker = pool(place, "1", threads=2, LEASE="10m")
    eventually(lambda: place.q.remote("note", "work").enqueue("warm").route == "primary")
    durable.kill()
    ids = [place.enqueue("hold", number) for number in range(2)]
    [victim] = {line.pid for line in place.begun(2)}
    os.kill(victim, signal.SIGKILL)
    place.open_gate()
    eventually(lambda: set(place.runs()) >= set(ids), what="both, elsewhere")
    eventually(lambda: len(started(worker)) == 2)  # it says so when its threads are at work already
    assert {line.pid for line in place.trace() if line.id in ids} == {started(worker)[1]}
