"""node-resque's QueueLock, DelayQueueLock and JobLock beside unique and exclusive tasks: each keeps the other's jobs out."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from spoolq.job import Receipt
from tests.interop.conftest import Node
from tests.interop.remote import Resque
from tests.interop.test_node_queue import EVERYTHING, Open, open_app, ran
from tests.interop.test_resque_jobs import work
from tests.servers import Server
from tests.waiting import eventually

__all__ = ["open_app"]  # a fixture
pytestmark = pytest.mark.node

ARGUMENTS: list[list[Any]] = [[], [1, "é/", {"b": 1, "a": [1.0, -0.0, 1e21, 1e-7]}], EVERYTHING]


def enqueue(node: Node, args: str, plugins: str = "QueueLock", *more: str) -> bool:
    """Whether node queued one."""
    said = node.run("producer", "--queue", "mail", "--class", "SendMail", "--args", args, "--plugins", plugins, *more)
    assert said["accepted"] + said["duplicates"] == 1
    return said["accepted"] == 1


def text(args: list[Any]) -> str:
    return json.dumps(args)


@pytest.mark.parametrize("until", ["until_start", "until_done"])
@pytest.mark.parametrize("args", ARGUMENTS, ids=["none", "some", "everything"])
def test_a_unique_job_of_spoolq_keeps_one_of_nodes_queue_lock_out_until_it_has_run(
    node: Node, resque: Resque, open_app: Open, until: Any, args: list[Any]
) -> None:
    app = open_app(wire="resque")
    found = ran(app, unique=until)
    task = app.tasks.get("SendMail")
    assert task.enqueue(*args).new
    assert not enqueue(node, text(args))
    assert resque.queue("length", "mail") == 1
    [lock] = resque.queue("locks").items()
    assert lock[0].startswith("lock:SendMail:mail:[")
    work(app)
    assert found == [args]
    assert resque.queue("locks") == {}
    assert enqueue(node, text(args))


@pytest.mark.parametrize("until", ["until_start", "until_done"])
@pytest.mark.parametrize("args", ARGUMENTS, ids=["none", "some", "everything"])
def test_a_job_of_nodes_queue_lock_keeps_a_unique_one_of_spoolq_out_until_it_has_run(
    node: Node, resque: Resque, open_app: Open, until: Any, args: list[Any]
) -> None:
    app = open_app(wire="resque")
    found = ran(app, unique=until)
    task = app.tasks.get("SendMail")
    assert enqueue(node, text(args))
    assert task.enqueue(*args) == Receipt("", "primary", new=False), "node's jobs have no id"
    assert [guard.holder for guard in app.primary.guards()] == ["node-resque"]
    work(app)
    assert found == [args], "spoolq's worker ran it, and freed node's lock"
    assert app.primary.guards() == []
    assert task.enqueue(*args).new


@pytest.mark.parametrize("side", ["node", "spoolq"])
def test_a_worker_of_node_with_the_plugin_frees_the_lock_whoever_wrote_it(node: Node, open_app: Open, side: str) -> None:
    app = open_app()
    task = app.remote("SendMail", "mail").using(unique="until_start")
    assert enqueue(node, "[1]") if side == "node" else task.enqueue(1).new
    assert not task.enqueue(1).new
    peer = node.work("--plugins", "QueueLock")
    assert [event["args"] for event in peer.of("started")] == [[1]]
    assert task.enqueue(1).new


def test_a_lock_of_node_whose_time_is_over_is_taken_over_as_node_does(server: Server, node: Node, open_app: Open) -> None:
    """It sets the time to live in a command of its own, and may die before."""
    app = open_app()
    with server.client() as control:
        control.set("resque:lock:SendMail:mail:[1]", "1000000000")
        assert app.remote("SendMail", "mail").using(unique="until_done").enqueue(1).new
        assert 3500 < control.ttl("resque:lock:SendMail:mail:[1]") <= 3600
        assert not enqueue(node, "[1]"), "its value is one that node reads"
        control.delete("resque:queue:mail", "resque:lock:SendMail:mail:[1]")
        control.set("resque:lock:SendMail:mail:[1]", "1000000000")
        assert enqueue(node, "[1]"), "and so would node have done"


def test_nodes_delay_queue_lock_sees_what_spoolq_delays_and_the_other_way_round(node: Node, open_app: Open) -> None:
    app = open_app(delayed="resque")
    task = app.remote("SendMail", "mail").using(unique="until_start")
    assert task.enqueue_in(60, 1).new
    assert not enqueue(node, "[1]", "DelayQueueLock")
    assert enqueue(node, "[2]", "DelayQueueLock", "--delay-ms", "60000")
    assert not task.enqueue(2).new
    assert not enqueue(node, "[2]", "DelayQueueLock")
    assert task.enqueue(3).new


def test_a_lock_can_be_removed_by_nodes_del_lock(resque: Resque, open_app: Open) -> None:
    task = open_app().remote("SendMail", "mail").using(unique="until_done")
    assert task.enqueue(1).new
    assert resque.queue("delLock", "lock:SendMail:mail:[1]") == 1
    assert task.enqueue(1).new


# JobLock


def test_a_job_that_runs_on_spoolq_keeps_an_equal_one_from_a_worker_of_nodes_job_lock(node: Node, open_app: Open) -> None:
    app, began, gate = open_app(), threading.Event(), threading.Event()

    def hold(*args: Any) -> None:
        began.set()
        gate.wait(90)

    app.task(name="SendMail", queue="mail", exclusive=True)(hold)
    app.remote("SendMail", "mail").enqueue(1)
    worker = app.worker(queues=("mail",), threads=1)
    running = threading.Thread(target=worker.run)
    running.start()
    try:
        assert began.wait(60)
        [guard] = app.primary.guards()
        assert guard.key == "workerslock:SendMail:mail:[1]"
        worker.stop()
        app.remote("SendMail", "mail").enqueue(1)
        peer = node.work("--plugins", "JobLock", "--idle-ms", "2000")
        assert peer.of("started") == [], "node put it back, to be tried again after a second"
    finally:
        gate.set()
        running.join(60)
    assert app.primary.guards() == []


def test_a_job_that_runs_on_node_keeps_an_equal_one_from_running_on_spoolq(node: Node, open_app: Open) -> None:
    app = open_app()
    found = ran(app, exclusive=True)
    stock = node.start("worker", "--queues", "stock", "--plugins", "JobLock", "--sleep-ms", "6000", "--idle-ms", "4000")
    stock.wait_for("ready")
    app.remote("SendMail", "stock").enqueue(1)
    stock.wait_for("started")
    job = app.remote("SendMail", "stock").enqueue(1)
    other = app.remote("SendMail", "stock").enqueue(2)
    worker = app.worker(queues=("stock",), threads=1)
    running = threading.Thread(target=worker.run)
    running.start()
    try:
        eventually(lambda: found == [[2]], what="the one that is equal to none")
        stock.process.terminate()  # it ends with its job, and takes none of those that come to the queue again
        stock.wait_for("performed")
        eventually(lambda: found == [[2], [1]], what="the one that had to wait")
    finally:
        worker.stop()
        running.join(60)
    assert job.new
    assert other.new
    stock.finish()
