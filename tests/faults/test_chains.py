"""Chains and batches through outages of a real server and the deaths of workers: what follows comes once, not before its time.

A job may run twice, as ever; a second copy of it would be a second run that knows of no earlier one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from spoolq import chains
from spoolq.job import Job
from tests.faults.working import Place, at
from tests.servers import Server
from tests.waiting import eventually, pass_time

pytestmark = pytest.mark.one_server


@pytest.fixture
def server(durable: Server) -> Server:
    return durable


def jobs(place: Place, count: int, task: str = "note") -> list[Job]:
    return [place.q.remote(task, "work").job(n) for n in range(count)]


def ids(several: Sequence[Job]) -> list[str]:
    return [job.id for job in several]


def came_once(place: Place, then: str, *before: str) -> None:
    """It ran, as one job, after all of those had run."""
    trace = place.trace()
    runs = [index for index, line in enumerate(trace) if line.id == then]
    assert runs, "it never came"
    assert sum(line.fresh for line in trace if line.id == then) <= 1, [line for line in trace if line.id == then]
    assert {line.id for line in trace[: runs[0]]}.issuperset(before)


def written(place: Place) -> int:
    assert place.q.spool is not None
    return place.q.spool.info().settlements


def nothing_is_left(place: Place) -> None:
    """Neither here nor there."""
    place.done()
    eventually(lambda: place.q.spool is None or not place.q.spool.waiting(), what="an empty spool")
    place.done()


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_what_follows_a_job_that_ended_in_an_outage_comes_when_its_worker_is_dead_and_redis_is_back(
    place: Place, durable: Server, how: str
) -> None:
    """The outcome is in the journal, with all that follows from it."""
    child, [then] = place.q.remote("note", "work").job("child"), jobs(place, 1)
    parent = place.enqueue("hold", after=[child])
    members = jobs(place, 2, "hold")
    place.q.batch(members, then=then)
    worker = place.worker("--grace", "1s", threads=3)
    place.begun(3)
    durable.kill()
    place.open_gate()
    eventually(lambda: written(place) == 3, what="a journal of three outcomes")
    if how == "killed":
        worker.kill()
    else:
        worker.end()
    assert place.runs() == dict.fromkeys([parent, *ids(members)], 1)
    durable.start()
    place.worker()
    eventually(lambda: place.runs()[child.id] and place.runs()[then.id])
    nothing_is_left(place)
    pass_time(1.0)
    assert place.runs() == dict.fromkeys([parent, child.id, *ids(members), then.id], 1)
    came_once(place, child.id, parent)
    came_once(place, then.id, *ids(members))


def test_a_worker_killed_in_the_middle_of_a_job_launches_nothing_and_the_next_one_does(place: Place) -> None:
    child = place.q.remote("note", "work").job("child")
    parent = place.enqueue("hold", after=[child])
    killed = place.worker(LEASE="1s")
    place.begun()
    killed.kill()
    place.open_gate()
    place.worker()
    eventually(lambda: place.runs()[child.id])
    place.done()
    assert place.runs() == {parent: 1, child.id: 1}


def test_a_chain_that_was_spooled_runs_on_here_while_redis_is_gone(place: Place, durable: Server) -> None:
    durable.kill()
    remote = place.q.remote("note", "work")
    last = remote.job("last")
    middle = remote.using(after=[last]).job("middle")
    first = remote.using(after=[middle]).enqueue("first").id
    worker = place.worker().ready()
    eventually(lambda: place.runs()[last.id], what="local work")
    assert {line.store for line in place.trace()} == {"spool"}
    durable.start()
    nothing_is_left(place)
    worker.end()
    assert place.runs() == dict.fromkeys([first, middle.id, last.id], 1)


def test_what_was_put_into_the_spool_by_a_job_that_ran_here_is_drained_with_the_rest(place: Place, durable: Server) -> None:
    durable.kill()
    child = place.q.remote("note", "other").job("child")  # nobody here works on that queue
    parent = place.enqueue("note", after=[child])
    local = place.worker("--queues", "work").ready()
    eventually(lambda: place.runs()[parent], what="local work")
    spool = place.q.spool
    assert spool is not None
    eventually(lambda: [depth.queue for depth in spool.depths()] == ["other"], what="the child alone in the spool")
    local.kill()
    durable.start()
    place.worker("--queues", "work,other")
    eventually(lambda: place.runs()[child.id])
    nothing_is_left(place)
    assert place.runs() == {parent: 1, child.id: 1}
    assert [line.store for line in place.trace() if line.id == child.id] == ["primary"]


def test_a_batch_that_ends_in_the_outage_calls_back_in_it(place: Place, durable: Server) -> None:
    durable.kill()
    members, [then] = jobs(place, 20), jobs(place, 1)
    batch = place.q.batch(members, then=then)
    assert {receipt.route for receipt in batch.receipts} == {"spool"}
    worker = place.worker().ready()
    eventually(lambda: place.runs()[then.id], what="the callback")
    assert {line.store for line in place.trace()} == {"spool"}
    durable.start()
    nothing_is_left(place)
    pass_time(1.0)
    worker.end()
    assert place.runs() == dict.fromkeys([*ids(members), then.id], 1)
    came_once(place, then.id, *ids(members))


@pytest.mark.parametrize("kills", [False, True])
def test_a_batch_of_which_some_end_here_and_some_in_redis_calls_back_once_when_all_have(
    place: Place, durable: Server, kills: bool
) -> None:
    """Three are in Redis, six in the spool: of those some run here, and the others where they were drained to."""
    members, [then] = [*jobs(place, 3, "hold"), *jobs(place, 3), *jobs(place, 3, "hold")], jobs(place, 1)
    parts = chains.members(members, then, "success")
    assert {receipt.route for receipt in place.q.submit(parts[:3])} == {"primary"}
    durable.kill()
    assert {receipt.route for receipt in place.q.submit(parts[3:])} == {"spool"}
    local = place.worker(threads=4, **({"LEASE": "1s"} if kills else {})).ready()  # who lives on has time for its own
    eventually(lambda: len(place.runs()) == 3, what="local work")
    place.begun(3)
    if kills:
        local.kill()
    durable.start()
    worker = place.worker(threads=4).ready()
    pass_time(1.5)
    assert place.runs()[then.id] == 0
    place.open_gate()
    eventually(lambda: place.runs()[then.id], what="the callback")
    nothing_is_left(place)
    pass_time(1.0)
    worker.end()
    if not kills:
        local.end()
    assert set(place.runs()) == {*ids(members), then.id}
    came_once(place, then.id, *ids(members))
    assert place.runs()[then.id] == 1


def test_a_drainer_that_died_between_its_two_steps_tells_again_and_it_counts_once(
    place: Place, durable: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable.kill()
    members, [then] = jobs(place, 3), jobs(place, 1)
    parts = chains.members(members, then, "success")
    place.q.submit(parts[:2])
    local = place.worker("--no-drain").ready()
    spool = place.q.spool
    assert spool is not None
    eventually(lambda: (spool.depths(), spool.waiting()) == ([], 2), what="two rows that tell of what ran here")
    local.end()
    durable.start()

    def dies(*given: object, **more: object) -> None:
        raise MemoryError

    dead = place.q.drainer()
    with monkeypatch.context() as patched:
        patched.setattr(spool, "handed_over", dies)
        with pytest.raises(MemoryError):
            dead.run_once(20.0)
    dead.leave()
    assert spool.waiting() == 2
    worker = place.worker().ready()
    eventually(lambda: not spool.waiting(), what="an empty spool")
    pass_time(0.5)
    assert place.runs()[then.id] == 0
    place.q.submit(parts[2:])
    eventually(lambda: place.runs()[then.id], what="the callback")
    nothing_is_left(place)
    worker.end()
    assert place.runs() == dict.fromkeys([*ids(members), then.id], 1)


def upset(place: Place, server: Server | None) -> None:
    """Batches and chains while workers are killed at random, and the server under them is killed and started."""
    rng = random.Random(1)
    remote = place.q.remote("labour", "work")
    batches: list[tuple[list[str], str]] = []
    pairs: list[tuple[str, str]] = []
    workers = [place.worker(threads=3, LEASE="1s").ready() for _ in range(2)]
    for turn in range(6):
        members = [remote.job(rng.uniform(0, 0.05)) for _ in range(15)]
        then = remote.job(0.0)
        place.q.batch(members, then=then)
        batches.append((ids(members), then.id))
        for _ in range(5):
            child = remote.job(0.0)
            pairs.append((remote.using(after=[child]).enqueue(rng.uniform(0, 0.05)).id, child.id))
        pass_time(rng.uniform(0.1, 0.4))
        down = server if turn % 2 else None
        if down is not None:
            down.kill()
            pass_time(rng.uniform(0.0, 1.5))
        victim = rng.randrange(2)
        workers[victim].kill()
        if down is not None:
            down.start()
        workers[victim] = place.worker(threads=3, LEASE="1s")
    expected = {id for members, then in batches for id in (*members, then)} | {id for pair in pairs for id in pair}
    eventually(lambda: expected == set(place.runs()), within=60, what="every job, and what follows it")
    nothing_is_left(place)
    pass_time(1.0)
    for parent, child in pairs:
        came_once(place, child, parent)
    for members, then in batches:
        came_once(place, then, *members)
    assert set(place.runs()) == expected


def test_workers_killed_at_random_and_redis_restarted_under_them(place: Place, durable: Server) -> None:
    upset(place, durable)


def test_workers_of_a_file_killed_at_random(tmp_path: Path) -> None:
    with at(tmp_path, f"sqlite:///{tmp_path}/jobs.db") as place:
        upset(place, None)
