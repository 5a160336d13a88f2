"""Workers of both kinds on the same queues: they share the work, and either cleans up after dead ones without doubling a job."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolq import wire
from tests.contract.hands import SHORT, Hand
from tests.faults.working import Place, at
from tests.interop.conftest import Node
from tests.interop.remote import Resque
from tests.interop.test_node_queue import EVERYTHING, Open, open_app, ran
from tests.interop.test_resque_jobs import work
from tests.servers import Server
from tests.waiting import eventually

__all__ = ["open_app"]  # a fixture
pytestmark = pytest.mark.node


@pytest.fixture
def place(server: Server, tmp_path: Path) -> Iterator[Place]:
    """Worker processes of spoolq, on the server that node-resque has too."""
    with at(tmp_path, server.url) as found:
        yield found


def shown(resque: Resque) -> str:
    """The name of the worker that node shows at work, once it does."""

    def look() -> list[str]:
        return [name for name, record in resque.queue("allWorkingOn").items() if isinstance(record, dict)]

    [name] = eventually(look, what="a record of what a worker works on")
    return name


def test_a_multiworker_of_node_and_a_worker_of_spoolq_share_the_queues_each_job_once(resque: Resque, open_app: Open) -> None:
    app = open_app(lease=30.0)
    ours = ran(app)
    ran(app, "Other", "low")
    worker = app.worker(queues=("mail",), threads=2)
    running = threading.Thread(target=worker.run)
    running.start()
    options = {"minTaskProcessors": 2, "maxTaskProcessors": 4, "checkTimeout": 20, "maxEventLoopDelay": 10_000}
    try:
        resque.begin("MultiWorker", queues=["mail", "low"], jobs={"sleepMs": 1}, **options)
        resque.wait_for("start", 2)
        # each says that it starts before it is among the workers
        eventually(lambda: {"+1", "+2"} <= {name[-2:] for name in resque.queue("workers")}, what="node's, each with its number")
        sent = 0

        def both() -> bool:
            nonlocal sent
            for _ in range(10):
                app.remote("SendMail", "mail").enqueue(sent, EVERYTHING)
                resque.queue("enqueue", "mail", "SendMail", [sent + 1, EVERYTHING])
                sent += 2
            return len(ours) >= 20 and len(resque.heard("success")) >= 20

        eventually(both, within=60, what="that both have worked")
        eventually(lambda: len(ours) + len(resque.heard("success")) >= sent, what="that all was worked on")
        eventually(lambda: resque.queue("stats").get("processed") == str(sent), what="that all was counted")
        counts = Counter(args[0] for args in ours)
        counts.update(event["job"]["args"][0] for event in resque.heard("success"))
        assert counts == dict.fromkeys(range(sent), 1)
        assert all(args[1] == EVERYTHING for args in ours)
        assert (resque.queue("length", "mail"), resque.queue("failedCount")) == (0, 0)
    finally:
        worker.stop()
        running.join(60)


@pytest.mark.parametrize("how", ["forceCleanWorker", "cleanOldWorkers"])
def test_a_killed_worker_of_spoolq_cleaned_by_node_and_rescued_by_us_doubles_nothing(
    resque: Resque, place: Place, how: str
) -> None:
    id = place.enqueue("hold", "x")
    first = place.worker(LEASE="1s", threads=1)
    place.begun()
    name = shown(resque)
    first.kill()
    if how == "forceCleanWorker":
        assert resque.queue(how, name)["payload"]["args"] == ["x"]
    else:
        assert list(resque.queue(how, -1_000_000)) == [name]  # however young, and whichever clock
    assert resque.queue("workers") == {}
    place.open_gate()
    second = place.worker(LEASE="1s")
    place.done()
    second.end()
    assert place.runs() == {id: 1}
    assert resque.queue("failed", 0, -1) == [], "node's copy of it was taken back: retried, it would have run twice"


def test_a_live_worker_of_spoolq_cleaned_by_node_keeps_its_job_and_doubles_nothing(resque: Resque, place: Place) -> None:
    id = place.enqueue("hold", "x")
    worker = place.worker(LEASE="1s", threads=1)
    place.begun()
    name = shown(resque)
    assert resque.queue("forceCleanWorker", name)["payload"]["id"] == id
    eventually(lambda: name in resque.queue("workers"), what="its next heartbeat, which registers it again")
    assert resque.queue("failed", 0, -1) == [], "node's copy of it was taken back"
    place.open_gate()
    place.done()
    worker.end()
    assert place.runs() == {id: 1}
    assert resque.queue("workers") == {}


def test_a_scheduler_of_node_that_looks_for_stuck_workers_leaves_ours_alone(resque: Resque, node: Node, place: Place) -> None:
    """Ours write no ping, by which node would judge them. A worker of node that was killed is cleaned all the same: by node's
    scheduler where it leads, so it is begun before a worker of spoolq that would lead."""
    resque.begin("Scheduler", name="node")
    resque.wait_for("leader")
    id = place.enqueue("hold", "x")
    worker = place.worker(LEASE="30s", threads=1)
    place.begun()
    name = shown(resque)
    stock = node.start("worker", "--queues", "stock", "--sleep-ms", "60000", "--idle-ms", "0", "--name", "peer:1")
    stock.wait_for("ready")
    resque.queue("enqueue", "stock", "SendMail", [1])
    stock.wait_for("started")
    stock.process.kill()
    # not before: one that gets no core for two seconds would be stuck. Of the same name, it leads beside the first
    resque.begin("Scheduler", name="node", stuckWorkerTimeout=1000)
    assert [event["name"] for event in resque.wait_for("cleanStuckWorker")] == ["peer:1"]
    assert list(resque.queue("workers")) == [name]
    assert [entry["worker"] for entry in resque.queue("failed", 0, -1)] == ["peer:1"]
    place.open_gate()
    place.done()
    worker.end()
    assert place.runs() == {id: 1}
    assert len(resque.heard("cleanStuckWorker")) == 1


def test_the_job_of_a_killed_worker_of_node_is_put_back_by_spoolq_once_node_has_cleaned_it(
    resque: Resque, node: Node, open_app: Open
) -> None:
    app = open_app()
    stock = node.start("worker", "--queues", "mail", "--sleep-ms", "60000", "--idle-ms", "0", "--name", "peer:1")
    stock.wait_for("ready")
    resque.queue("enqueue", "mail", "SendMail", ["a/b", {"é": [1, None]}])
    stock.wait_for("started")
    stock.process.kill()
    found = ran(app)
    work(app)
    assert (found, list(resque.queue("workers"))) == ([], ["peer:1"]), "spoolq takes nothing from a worker that isn't its own"
    resque.queue("forceCleanWorker", "peer:1")
    [failure] = app.primary.failures.page()
    assert failure.exception == "Worker Timeout (killed manually)"
    assert app.primary.failures.retry([failure.id]) == 1
    work(app)
    assert (found, resque.queue("failedCount")) == ([["a/b", {"é": [1, None]}]], 0)


def test_a_killed_worker_of_spoolq_hands_on_its_arguments_exactly(resque: Resque, open_app: Open) -> None:
    """Where node's own record goes through Lua's JSON, in which [] becomes {}."""
    store = open_app().primary
    resque.queue("enqueue", "mail", "SendMail", EVERYTHING)
    [claim] = Hand(store, "silent", lease=SHORT, queues=("mail",)).claim()
    [rescued] = eventually(lambda: store.rescue(Hand(store, "rescuer").info, 10))
    assert rescued.payload == claim.payload
    assert wire.decode(rescued.payload, "mail").args == tuple(EVERYTHING)
