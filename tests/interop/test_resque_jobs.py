"""Jobs cross between spoolq and stock node-resque, both ways, at once and delayed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from spoolq import PayloadError, SpoolQ
from tests.interop.conftest import Node
from tests.servers import Server
from tests.waiting import eventually

pytestmark = pytest.mark.node

ODD = ["é\u2028💥", "", 'quo"te\\/', -1, 0, 1.5, 2**53 - 1, 1e21, 1e-7, True, None, [], {}, {"a": [{}], "é": None}]


@pytest.fixture
def open_app(server: Server, tmp_path: Any) -> Iterator[Callable[..., SpoolQ]]:
    with ExitStack() as opened:

        def one(**settings: Any) -> SpoolQ:
            return opened.enter_context(SpoolQ(server.url, spool=str(tmp_path / "spool.db"), deadline=20.0, **settings))

        yield one


def work(app: SpoolQ, *queues: str) -> None:
    """Run a worker until nothing is left."""
    app.worker(queues=queues or ("mail",), threads=2, burst=True).run()


def test_a_stock_worker_runs_what_spoolq_enqueued(node: Node, open_app: Callable[..., SpoolQ]) -> None:
    app = open_app()
    mail = app.remote("SendMail", queue="mail")
    receipts = [mail.enqueue(n, {"to": "a@b"}) for n in range(3)]
    assert {receipt.route for receipt in receipts} == {"primary"}
    performed = node.work("--idle-ms", "2000").of("performed")
    assert [event["job"]["args"] for event in performed] == [[n, {"to": "a@b"}] for n in range(3)]
    assert [event["job"]["id"] for event in performed] == [receipt.id for receipt in receipts]
    assert {event["job"]["class"] for event in performed} == {"SendMail"}


def test_keyword_arguments_of_a_known_task_reach_a_stock_worker_as_positions(node: Node, open_app: Callable[..., SpoolQ]) -> None:
    app = open_app(wire="resque")

    @app.task(queue="mail")
    def add(a: int, b: int = 2, c: int = 3) -> None: ...

    add.enqueue(1, b=5)
    [performed] = node.work("--idle-ms", "2000").of("performed")
    assert performed["job"]["args"] == [1, 5]


@pytest.mark.parametrize("wire", ["python", "resque"])
def test_odd_arguments_arrive_unchanged(node: Node, open_app: Callable[..., SpoolQ], wire: str) -> None:
    open_app(wire=wire).remote("SendMail", queue="mail").enqueue(*ODD)
    [performed] = node.work("--idle-ms", "2000").of("performed")
    assert performed["job"]["args"] == ODD
    assert performed["result"] == ODD


def test_many_at_once_reach_a_stock_worker_in_order(node: Node, open_app: Callable[..., SpoolQ]) -> None:
    app = open_app()
    mail = app.remote("SendMail", queue="mail")
    app.enqueue_many([mail.job(n) for n in range(50)])
    performed = node.work("--idle-ms", "2000", "--timeout-ms", "20").of("performed")
    assert [event["job"]["args"] for event in performed] == [[n] for n in range(50)]


def test_what_stock_workers_would_ignore_is_refused_on_their_wire(node: Node, open_app: Callable[..., SpoolQ]) -> None:
    mail = open_app(wire="resque").remote("SendMail", queue="mail")
    with pytest.raises(PayloadError):
        mail.enqueue(to="a@b")
    with pytest.raises(PayloadError):
        mail.enqueue(2**53)
    assert node.inspect()["queues"] == {}


def test_spoolq_runs_what_a_stock_producer_enqueued(node: Node, open_app: Callable[..., SpoolQ]) -> None:
    app, ran = open_app(), []

    @app.task(name="SendMail", queue="mail")
    def send(n: int, options: dict[str, str]) -> None:
        ran.append((n, options))

    assert node.run("producer", "--queue", "mail", "--class", "SendMail", "--count", "5", "--args", '["%i",{"to":"a@b"}]')
    work(app)
    assert sorted(ran) == [(n, {"to": "a@b"}) for n in range(5)]
    assert node.inspect()["queues"]["mail"]["length"] == 0
    assert node.inspect()["stats"]["processed"] == "5"


def test_spoolq_runs_what_a_stock_producer_delayed(node: Node, open_app: Callable[..., SpoolQ]) -> None:
    app, ran = open_app(), dict[int, float]()

    @app.task(name="SendMail", queue="mail")
    def send(n: int) -> None:
        assert n not in ran
        ran[n] = time.time()

    due = int(time.time()) + 3
    node.run("producer", "--queue", "mail", "--class", "SendMail", "--count", "3", "--at-ms", str(due * 1000))
    assert sum(len(jobs) for jobs in node.inspect()["delayed"].values()) == 3

    def all_ran() -> bool:
        work(app)
        return len(ran) >= 3

    eventually(all_ran)
    assert sorted(ran) == [0, 1, 2]
    assert min(ran.values()) >= due, "however often a worker looked before"
    assert app.primary.failures.count() == 0
    report = node.inspect()
    assert (report["delayed"], report["timestamps"]) == ({}, [])
    scheduled = node.inspect("--scheduled-at", '["mail","SendMail",[0]]')["actions"]["scheduledAt"]
    assert scheduled == {"ok": True, "value": []}


def test_a_stock_worker_runs_what_spoolq_delayed(node: Node, open_app: Callable[..., SpoolQ]) -> None:
    """Ours waits in a set of our own, so that it keeps its id: a stock scheduler would rebuild it from three fields."""
    app = open_app()
    receipt = app.remote("SendMail", queue="mail").enqueue_in(1.0, 7)
    scheduler = node.start("scheduler", "--seconds", "60")
    scheduler.wait_for("ready")

    def promoted() -> bool:
        app.primary.promote(10)
        return node.inspect()["queues"].get("mail", {}).get("length") == 1

    eventually(promoted, within=60)
    [performed] = node.work("--idle-ms", "2000").of("performed")
    assert (performed["job"]["args"], performed["job"]["id"]) == ([7], receipt.id)


def test_a_stock_scheduler_promotes_what_spoolq_wrote_for_it(node: Node, open_app: Callable[..., SpoolQ]) -> None:
    app = open_app(delayed="resque", wire="resque")
    app.remote("SendMail", queue="mail").enqueue_in(5.0, 7)
    found = node.inspect("--scheduled-at", '["mail","SendMail",[7]]')
    assert len(found["actions"]["scheduledAt"]["value"]) == 1
    assert [job["args"] for jobs in found["delayed"].values() for job in jobs] == [[7]]
    scheduler = node.start("scheduler", "--seconds", "60")
    scheduler.wait_for("transferred")
    [performed] = node.work("--idle-ms", "2000").of("performed")
    assert performed["job"]["args"] == [7]


def test_a_stock_producer_deletes_what_spoolq_delayed_for_it(node: Node, open_app: Callable[..., SpoolQ]) -> None:
    app = open_app(delayed="resque", wire="resque")
    app.remote("SendMail", queue="mail").enqueue_in(3600, "a")
    report = node.inspect("--delete-delayed", '["mail","SendMail",["a"]]')
    assert len(report["actions"]["deleteDelayed"]["value"]) == 1
    assert sum(map(len, report["delayed"].values())) == 0


def test_two_kinds_of_schedulers_side_by_side_promote_each_job_once(node: Node, open_app: Callable[..., SpoolQ]) -> None:
    app, ran = open_app(), []

    @app.task(name="SendMail", queue="mail")
    def send(whose: str, n: int) -> None:
        ran.append((whose, n))

    schedulers = [node.start("scheduler", "--seconds", "60", "--leader-seconds", "2") for _ in range(2)]
    for scheduler in schedulers:
        scheduler.wait_for("ready")
    node.run(
        "producer", "--queue", "mail", "--class", "SendMail", "--count", "20", "--delay-ms", "1000", "--args", '["node","%i"]'
    )
    for n in range(20):
        send.enqueue_in(1.0, "ours", n)
    due = time.time() + 3.0

    def all_ran() -> bool:
        app.primary.promote(7)
        work(app)
        return len(ran) >= 40 and time.time() > due

    eventually(all_ran, within=60)
    assert sorted(ran) == sorted([("node", n) for n in range(20)] + [("ours", n) for n in range(20)])


def test_spoolq_promotes_stock_delayed_jobs_once_the_stock_leader_is_gone(node: Node, open_app: Callable[..., SpoolQ]) -> None:
    app = open_app()
    scheduler = node.start("scheduler", "--seconds", "60", "--leader-seconds", "1")
    scheduler.wait_for("leader")
    scheduler.process.kill()  # its lock ends by itself
    node.run("producer", "--queue", "mail", "--class", "SendMail", "--delay-ms", "500")

    def promoted() -> bool:
        app.primary.promote(10)
        return any(depth.ready for depth in app.primary.depths())

    eventually(promoted, within=60)


def test_a_stock_scheduler_takes_over_when_spoolq_ends(node: Node, open_app: Callable[..., SpoolQ]) -> None:
    app = open_app()
    app.primary.promote(1)
    assert node.inspect()["leader"]
    app.close()
    scheduler = node.start("scheduler", "--seconds", "30")
    scheduler.wait_for("leader")
