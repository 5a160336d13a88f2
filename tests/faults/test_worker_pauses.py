"""`spoolq queues pause` beside workers: they take no more of that queue, whichever process asks, in an outage as well."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.faults.working import Place
from tests.servers import Binary, Server
from tests.waiting import eventually


@pytest.fixture
def server(one_binary: Binary) -> Iterator[Server]:
    """One of the module's own, which keeps what it answered; what a store does with a pause, each server has shown to
    tests/contract."""
    with Server(one_binary, appendonly=True, appendfsync="always") as one:
        yield one


def spoolq(place: Place, *args: str) -> str:
    command = [sys.executable, "-m", "spoolq", *args]
    done = subprocess.run(command, env=place.environment, cwd=place.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ran(place: Place, *ids: str) -> None:
    """Each ran once, and nothing else did."""
    eventually(lambda: place.runs() == dict.fromkeys(ids, 1))


def test_a_pool_obeys_a_pause_by_command_and_goes_on_after_it(either: Place) -> None:
    either.worker("--queues", "low,work", "--processes", "2")
    first = [either.enqueue("note", queue=queue) for queue in ("low", "work")]
    ran(either, *first)
    assert spoolq(either, "queues", "pause", "low").startswith("Paused low in ")
    held = [either.enqueue("note", queue="low") for _ in range(20)]
    more = [either.enqueue("note") for _ in range(20)]
    ran(either, *first, *more)
    eventually(lambda: either.left() == {"ready": 20}, what="all but the held ones settled")
    assert spoolq(either, "queues", "resume", "low").startswith("Resumed low in ")
    ran(either, *first, *more, *held)


def test_a_retry_of_a_paused_queue_waits(either: Place) -> None:
    either.worker("--queues", "work,other").ready()
    spoolq(either, "queues", "pause", "work")
    id, other = either.enqueue("second"), either.enqueue("second", queue="other")
    eventually(lambda: either.runs() == {other: 2})
    spoolq(either, "queues", "resume", "work")
    eventually(lambda: either.runs() == {other: 2, id: 2})


def test_a_burst_says_that_jobs_are_left_behind_a_pause(either: Place) -> None:
    id = either.enqueue("note")
    spoolq(either, "queues", "pause", "--all")
    worker = either.worker("--queues", "work", "--burst")
    assert worker.ended() == 75
    assert worker.said("ready jobs that are left in queues that are paused: 1 (`spoolq queues list`)")
    spoolq(either, "queues", "resume", "--all")
    assert either.worker("--queues", "work", "--burst").ended() == 0
    ran(either, id)


def test_the_word_that_pauses_ruby_s_workers_pauses_ours(place: Place, server: Server) -> None:
    with server.client() as control:
        control.set("resque:pause-all-workers", "true")
        worker = place.worker("--queues", "*").ready()
        id = place.enqueue("note")
        eventually(lambda: worker.said("paused: all queues"))
        assert "all queues are paused" in " ".join(spoolq(place, "status").split())
        assert place.left() == {"ready": 1}
        control.delete("resque:pause-all-workers")
        ran(place, id)
        spoolq(place, "queues", "pause", "--all")
        assert control.get("resque:pause-all-workers") == b"true"


def test_a_pause_in_redis_holds_in_an_outage_too(place: Place, server: Server) -> None:
    """What was paused when Redis was last heard is not run from the spool either; a queue that was not is."""
    place.worker("--queues", "low,work")
    spoolq(place, "queues", "pause", "low")
    first = place.enqueue("note", queue="low")
    other = place.enqueue("note")
    ran(place, other)
    server.kill()
    held = place.enqueue("note", deadline=5.0, queue="low")
    more = [place.enqueue("note", deadline=5.0) for _ in range(3)]
    ran(place, other, *more)
    server.start()
    eventually(lambda: place.left() == {"ready": 2})
    ran(place, other, *more)
    spoolq(place, "queues", "resume", "low")
    ran(place, other, *more, first, held)


def test_a_worker_that_starts_in_an_outage_knows_what_is_paused_in_the_spool(place: Place, server: Server) -> None:
    server.kill()
    held = place.enqueue("note", deadline=5.0, queue="low")
    spoolq(place, "queues", "pause", "low", "--in", "spool")
    place.worker("--queues", "low,work", "--no-drain")
    more = place.enqueue("note", deadline=5.0)
    ran(place, more)
    spoolq(place, "queues", "resume", "low", "--in", "spool")
    ran(place, more, held)
