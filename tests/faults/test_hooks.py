"""Middleware in processes of its own, through an outage of a real server and the death of a worker."""

from __future__ import annotations

import pytest

from spoolq.middleware import Middleware
from tests.faults.working import Place
from tests.servers import Server
from tests.waiting import eventually

pytestmark = pytest.mark.one_server

HOOKS = """
from spoolq import Middleware

class Told(Middleware):
    def tell(self, what, *more):
        with open(here / "told", "a") as file:
            print(what, *more, file=file)

    def before_run(self, job):
        self.tell("before", job.id, current_job().store)

    def after_run(self, job, result, error):
        self.tell("after", job.id, current_job().store)

    def on_failure(self, job, error, will_retry):
        self.tell("failed", job.id, type(error).__name__, will_retry, current_job().id == job.id)

    def on_drained(self, job):
        self.tell("drained", job.id)

    def on_quarantined(self, job, reason):
        self.tell("quarantined", job.id)

q.middleware(Told())
"""


@pytest.fixture
def server(durable: Server) -> Server:
    return durable


@pytest.fixture
def hooked(place: Place) -> Place:
    module = place.folder / "app_under_test.py"
    module.write_text(module.read_text() + HOOKS)
    return place


def told(place: Place, id: str) -> list[str]:
    path = place.folder / "told"
    lines = [line.split(" ") for line in path.read_text().splitlines()] if path.exists() else []
    return [" ".join([what, *rest]) for what, of, *rest in lines if of == id]


def test_what_is_spooled_is_told_here_and_what_is_drained_or_set_aside_by_the_worker(hooked: Place, durable: Server) -> None:
    spooled: list[str] = []

    class Here(Middleware):
        def on_spooled(self, job: object) -> None:
            spooled.append(job.id)  # type: ignore[attr-defined]

    hooked.q.middleware(Here())
    with durable.client() as control:
        control.set("resque:queue:bad", "no list")
    durable.kill()
    here, there = hooked.enqueue("note", 1), hooked.enqueue("note", 2, queue="other")
    bad = hooked.enqueue("note", 3, queue="bad")
    worker = hooked.worker("--queues", "work").ready()
    eventually(lambda: told(hooked, here) == ["before spool", "after spool"])
    durable.start()
    eventually(lambda: told(hooked, there) == ["drained"])
    eventually(lambda: told(hooked, bad) == ["quarantined"])
    worker.end()
    assert spooled == [here, there, bad]
    assert told(hooked, here) == ["before spool", "after spool"]


def test_the_death_of_a_worker_is_told_by_who_settles_its_jobs(hooked: Place) -> None:
    id = hooked.enqueue("hold")
    killed = hooked.worker()
    hooked.begun()
    killed.kill()
    hooked.open_gate()
    worker = hooked.worker()
    hooked.done()
    worker.end()
    assert told(hooked, id) == ["before primary", "failed WorkerDied True True", "before primary", "after primary"]


def test_each_process_of_a_pool_has_them(hooked: Place) -> None:
    ids = [hooked.enqueue("note", n) for n in range(20)]
    pool = hooked.worker("--processes", "2:2")
    hooked.done()
    pool.end_pool()
    assert [told(hooked, id) for id in ids] == [["before primary", "after primary"]] * 20
