"""`spoolq worker --queues` with weights and patterns: on Redis, on the spool in an outage, in a pool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.faults.working import Place, raw
from tests.servers import Binary, Server
from tests.waiting import eventually

QUEUES = "critical,default:3,low:1"
JOB = 0.01  # seconds that a job takes at least: with them, a thread is given 6 at a time at most
MOST = 6
THREADS = 1  # of two the machine may let one wait, and the other one's jobs end before


@pytest.fixture
def server(one_binary: Binary) -> Iterator[Server]:
    """One of the module's own; what a store does with the order of queues, each server has shown to tests/contract."""
    with Server(one_binary) as one:
        yield one


def fill(place: Place, **jobs: int) -> dict[str, str]:
    """So many slow jobs in each queue; the queue of each by its id."""
    tasks = {queue: place.q.remote("labour", queue) for queue in jobs}
    made = [tasks[queue].job(JOB) for queue, count in jobs.items() for _ in range(count)]
    place.q.enqueue_many(made, deadline=20.0)
    return {job.id: job.queue for job in made}


def first(place: Place, queues: dict[str, str], count: int, store: str) -> list[str]:
    """The queues of the first jobs that ran there, in order."""
    lines = eventually(lambda: found if len(found := [line for line in place.trace() if line.store == store]) >= count else [])
    return [queues[line.id] for line in lines[:count]]


def shared(ran: list[str]) -> None:
    """Strictly first what is first; and of the rest a share that is not below the bound, but for what still runs."""
    strict = [at for at, queue in enumerate(ran) if queue == "critical"]
    assert strict == list(range(20))
    rest = [queue for queue in ran if queue != "critical"]
    least = (len(rest) - MOST) / 4 - MOST - THREADS
    assert Counter(rest)["low"] >= least > 20, Counter(rest)
    assert Counter(rest)["default"] >= 3 * (len(rest) - MOST) / 4 - MOST - THREADS


def test_a_low_queue_beside_a_deep_one_does_not_starve(place: Place) -> None:
    queues = fill(place, default=200, low=200, critical=20)
    place.worker("--queues", QUEUES, threads=THREADS)
    shared(first(place, queues, 160, "primary"))


def test_the_control_without_weights_it_does(place: Place) -> None:
    queues = fill(place, default=100, low=100, critical=20)
    place.worker("--queues", "critical,default,low", threads=THREADS)
    assert "low" not in first(place, queues, 100, "primary")


def test_in_an_outage_the_spool_s_own_jobs_are_shared_too(place: Place, server: Server) -> None:
    server.kill()
    queues = fill(place, default=200, low=200, critical=20)
    place.worker("--queues", QUEUES, threads=THREADS)
    shared(first(place, queues, 160, "spool"))


def test_queues_that_appear_are_worked_on_by_who_takes_all_but_one(place: Place, server: Server) -> None:
    worker = place.worker("--queues", "!slow").ready()
    slow = place.enqueue("note", deadline=20.0, queue="slow")
    ids = []
    for number in range(5):
        ids.append(place.enqueue("note", deadline=20.0, queue=f"new-{number}"))
        eventually(lambda n=number: len(place.trace()) == n + 1)
    raw(server, "stock", '{"class":"note","queue":"stock","args":["theirs"]}')
    eventually(lambda: [line.value for line in place.trace()][-1] == "theirs")
    worker.end()
    assert [line.id for line in place.trace()][:5] == ids
    assert place.runs()[slow] == 0
    assert place.left() == {"ready": 1}
    with server.client() as control:
        assert control.smembers("resque:workers") == set()
        assert not [key for key in control.keys("resque:spoolq:idle:*") if control.scard(key)]


def test_the_processes_of_a_pool_take_the_same(place: Place) -> None:
    slow = place.enqueue("note", deadline=20.0, queue="slow")
    ids = [place.enqueue("note", deadline=20.0, queue=queue) for queue in ("a", "b", "c") for _ in range(5)]
    pool = place.worker("--queues", "a:2,*:1,!slow", "--processes", "2", "--start", "spawn", "--burst")
    assert pool.ended() == 0
    assert place.runs() == dict.fromkeys(ids, 1)
    assert slow not in place.runs()
