"""Workers through outages of a real server: frozen, killed and restarted, gone, full."""

from __future__ import annotations

import time

import pytest

from tests.faults.working import Place
from tests.servers import Server
from tests.waiting import eventually, pass_time

pytestmark = pytest.mark.one_server


@pytest.fixture
def server(durable: Server) -> Server:
    return durable


def test_a_server_frozen_in_the_middle_of_a_job_gets_the_acknowledgement_once(place: Place, durable: Server) -> None:
    id = place.enqueue("hold")
    worker = place.worker(threads=1)
    place.begun()
    durable.stop()
    place.open_gate()
    eventually(lambda: worker.said("it is asked again"), what="the acknowledgement's time-out")
    durable.cont()
    place.done()
    worker.end()
    assert place.runs() == {id: 1}
    assert place.store.counters()["processed"] == 1
    assert not worker.said("taken over")


def test_a_server_killed_and_restarted_under_load_loses_and_repeats_nothing(place: Place, durable: Server) -> None:
    worker = place.worker(threads=2).ready()
    ids = []
    for turn in range(3):
        ids += [place.enqueue("note", n) for n in range(100)]
        eventually(lambda t=turn: len(place.trace()) >= 100 * t + 20)
        durable.restart()
    place.done()
    eventually(lambda: place.q.spool is None or not place.q.spool.waiting(), what="an empty spool")
    place.done()
    worker.end()
    assert place.runs() == dict.fromkeys(ids, 1)


def test_in_an_outage_this_host_s_jobs_run_and_those_in_doubt_do_not(place: Place, durable: Server) -> None:
    running = place.worker(threads=2).ready()
    first = place.enqueue("note", "before")
    eventually(lambda: place.runs()[first])
    place.done()
    durable.stop()
    doubtful = place.enqueue("note", "doubtful")
    sure = [place.enqueue("note", n) for n in range(5)]
    eventually(lambda: all(place.runs()[id] for id in sure), what="local work")
    assert {line.store for line in place.trace() if line.id in sure} == {"spool"}
    assert place.runs()[doubtful] == 0
    durable.cont()
    eventually(lambda: place.runs()[doubtful], what="the job in doubt, after the outage")
    assert {line.store for line in place.trace() if line.id == doubtful} == {"primary"}
    last = place.enqueue("note", "after")
    eventually(lambda: place.runs()[last])
    running.end()
    assert place.runs() == dict.fromkeys([first, doubtful, *sure, last], 1)


@pytest.mark.parametrize("drains", [True, False])
def test_what_a_local_worker_held_when_it_was_killed_runs_after_the_outage(place: Place, durable: Server, drains: bool) -> None:
    """The control, a worker that drains nothing: once Redis is back nobody else looks after the spool's claims."""
    durable.kill()
    id = place.enqueue("hold")
    killed = place.worker(LEASE="1s")
    place.begun()
    killed.kill()
    durable.start()
    place.open_gate()
    worker = place.worker(*([] if drains else ["--no-drain"]), LEASE="1s").ready()
    if drains:
        eventually(lambda: place.runs()[id])
        assert [(line.store, line.attempt) for line in place.trace() if line.id == id] == [("primary", 1)]
    else:
        pass_time(4.0)
    worker.end()
    assert (place.runs()[id], place.q.spool.waiting()) == ((1, 0) if drains else (0, 1))


def test_started_in_an_outage_it_works_as_soon_as_there_is_something_to_reach(place: Place, durable: Server) -> None:
    durable.kill()
    worker = place.worker().ready()
    eventually(lambda: worker.said("it is asked again"))
    durable.start()
    id = place.enqueue("note")
    eventually(lambda: place.runs()[id])
    worker.end()
    assert place.runs() == {id: 1}


def test_a_job_longer_than_the_outage_and_the_lease_is_run_once(place: Place, durable: Server) -> None:
    """Nobody could be heard while the server was away: the other worker waits a lease's time before it rescues."""
    id = place.enqueue("hold")
    one = place.worker(threads=1, LEASE="4s")  # longer than it may get no core while the other one does
    place.begun()
    two = place.worker(threads=1, LEASE="4s").ready()
    eventually(lambda: len(place.store.workers()) == 2)
    durable.kill()
    for worker in (one, two):
        eventually(lambda w=worker: w.said("it is asked again"))
    pass_time(4.5)
    durable.start()
    for worker in (one, two):
        eventually(lambda w=worker: w.said("answers again"))
    pass_time(6.0)
    place.open_gate()
    place.done()
    for worker in (one, two):
        worker.end()
    assert place.runs() == {id: 1}
    assert len(place.trace("BEGIN")) == 1


def test_a_full_server_is_drained_by_a_worker_started_on_it(place: Place, durable: Server) -> None:
    ids = [place.enqueue("note", n) for n in range(50)]
    failing = place.enqueue("broken")
    with durable.full():
        worker = place.worker()
        place.done()
        eventually(place.store.failures.count)
        worker.end()
    assert place.runs() == {**dict.fromkeys(ids, 1), failing: 2}


def test_a_damaged_spool_keeps_nobody_from_redis(place: Place) -> None:
    place.spool.write_bytes(b"no database" * 1000)
    worker = place.worker()
    id = place.enqueue("note")
    place.done()
    worker.end()
    assert place.runs() == {id: 1}
    assert place.spool.read_bytes() == b"no database" * 1000


def test_an_idle_worker_costs_next_to_nothing(place: Place, durable: Server) -> None:
    """In one of five spans: on a busy machine it comes late to what its start leaves to do, and its work takes more of a core."""
    worker = place.worker().ready()
    with durable.client() as control:
        eventually(lambda: control.exists("resque:spoolq:idle:work"))

        def sent() -> int:
            names = ("cmdstat_evalsha", "cmdstat_blpop", "cmdstat_eval", "cmdstat_hget", "cmdstat_ping")
            stats = control.info("commandstats")
            return sum(stats[name]["calls"] for name in names if name in stats)

        def span() -> tuple[float, float]:
            before, spent, began = sent(), worker.cpu, time.monotonic()
            pass_time(4.0)
            took = time.monotonic() - began
            return (sent() - before) / took, (worker.cpu - spent) / took

        seen: list[tuple[float, float]] = []
        while not seen or (len(seen) < 5 and not (seen[-1][0] < 10 and seen[-1][1] < 0.03)):
            seen.append(span())
        assert seen[-1][0] < 10, seen
        assert seen[-1][1] < 0.03, seen  # 0.3 % on an idle machine; clock ticks are 10 ms
    worker.end()
