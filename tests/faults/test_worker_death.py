"""Workers that die, or seem to: their jobs run again, once, and a late one settles nothing."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolq.errors import StoreUnavailable
from tests.faults.working import Place, Worker, at
from tests.servers import Server
from tests.waiting import eventually

pytestmark = pytest.mark.one_server

LASTS = "8s"  # the lease of who takes over: the one that was stopped goes on beside it, and would take over what it keeps waiting


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Place]:
    """One box without Redis."""
    with at(tmp_path, f"sqlite:///{tmp_path}/jobs.db") as place:
        yield place


@pytest.fixture
def redis(tmp_path: Path, server: Server) -> Iterator[Place]:
    with at(tmp_path, server.url) as place:
        yield place


def killed_in_the_middle(place: Place) -> None:
    ids = [place.enqueue("hold", n) for n in range(2)]
    first = place.worker(LEASE="1s")
    place.begun(2)
    first.kill()
    assert place.left() == {"claimed": 2}
    place.open_gate()
    second = place.worker(LEASE="1s")
    place.done()
    assert place.runs() == dict.fromkeys(ids, 1)
    assert {line.attempt for line in place.trace()} == {1}, "the death is counted"
    assert {line.pid for line in place.trace()} == {second.pid}
    second.end()


def test_on_one_box_the_jobs_of_a_killed_worker_run_again_once(box: Place) -> None:
    killed_in_the_middle(box)


def test_with_redis_the_jobs_of_a_killed_worker_run_again_once(redis: Place) -> None:
    killed_in_the_middle(redis)


def kills_its_worker(place: Place) -> None:
    innocent = [place.enqueue("note", n) for n in range(20)]
    id = place.enqueue("killer")
    innocent += [place.enqueue("note", n) for n in range(20)]
    for death in range(3):
        worker = place.worker()
        assert worker.ended() == -signal.SIGKILL
        assert place.runs()[id] == death + 1
    last = place.worker()
    eventually(place.store.failures.count)
    place.done()
    [failure] = place.store.failures.page()
    assert (failure.id, failure.exception, failure.attempts) == (id, "WorkerDied", 3)
    assert failure.backtrace[-1] == "this job's worker died 3 times while it ran it; it isn't tried again: max_crashes=3"
    assert [(one.number, one.exception) for one in failure.history] == [(n, "WorkerDied") for n in (1, 2, 3)]
    assert last.process.poll() is None
    runs = place.runs()
    assert runs.pop(id) == 3
    assert runs.keys() == set(innocent)


def test_on_one_box_a_job_that_keeps_killing_its_worker_and_no_other_ends_in_the_failure_log(box: Place) -> None:
    kills_its_worker(box)


def test_in_redis_a_job_that_keeps_killing_its_worker_and_no_other_ends_in_the_failure_log(redis: Place) -> None:
    kills_its_worker(redis)


def stop(worker: Worker, place: Place) -> None:
    """SIGSTOP, not in the middle of a commit on one box: whoever is stopped there keeps everybody from the file."""

    def stopped_outside() -> bool:
        worker.send(signal.SIGSTOP)
        try:
            place.store.ready(0.5)
        except StoreUnavailable:
            worker.send(signal.SIGCONT)
            return False
        return True

    eventually(stopped_outside)


def lease_lost(place: Place) -> None:
    id = place.enqueue("hold", 1)
    late = place.worker("--queues", "work", threads=1, LEASE="1s")
    place.begun()
    stop(late, place)
    other = place.worker(threads=1, LEASE=LASTS)
    place.begun(2)
    late.send(signal.SIGCONT)
    place.open_gate()
    place.done()
    eventually(lambda: len(place.trace()) == 2)
    eventually(lambda: late.said("taken over"))
    for worker in (late, other):
        worker.end()
    assert len(late.said("taken over")) == 1, late.log.read_text()
    assert place.runs()[id] == 2  # both ran to their end; that is what a lease can't prevent
    assert place.store.counters().get("processed") == 1, "only one of them counts"
    assert place.store.failures.count() == 0


def test_a_worker_stopped_for_longer_than_its_lease_settles_nothing_on_one_box(box: Place) -> None:
    lease_lost(box)


def test_a_worker_stopped_for_longer_than_its_lease_settles_nothing_in_redis(redis: Place) -> None:
    lease_lost(redis)


def test_what_it_had_not_begun_when_it_was_stopped_is_not_run_by_it_afterwards(box: Place) -> None:
    """Claims beyond one for each thread: taken over while it slept, and not begun when it wakes."""
    for number in range(200):  # so that it claims ahead
        box.enqueue("note", number)
    slow = box.enqueue("hold", "slow")
    rest = [box.enqueue("note", 1000 + n) for n in range(200)]
    late = box.worker(threads=1, LEASE="1s")
    box.begun()
    stop(late, box)
    other = box.worker(threads=2, LEASE=LASTS)
    eventually(lambda: sum(line.id in rest for line in box.trace()) == 200 and len(box.trace("BEGIN")) == 2)
    late.send(signal.SIGCONT)
    box.open_gate()
    box.done()
    eventually(lambda: box.runs()[slow] == 2)  # the end of a worker doesn't wait for what is no longer its own
    for worker in (late, other):
        worker.end()
    runs = box.runs()
    assert {id: runs[id] for id in rest if runs[id] != 1} == {}
    assert runs[slow] == 2
