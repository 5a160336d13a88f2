"""node-resque's Queue over what spoolq keeps in Redis: every method that looks at jobs and workers, or moves them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from spoolq import SpoolQ
from spoolq.store.base import Working
from tests.contract.hands import Hand
from tests.interop.remote import Resque
from tests.interop.test_resque_jobs import ODD, work
from tests.servers import Server
from tests.waiting import eventually

pytestmark = pytest.mark.node

NESTED = [[], {}, [[]], [{}], {"a": []}, {"a": {}}, [[[], {}], {"b": [[]]}], ""]
LARGE = [2**53 - 1, -(2**53 - 1), 1e21, 1.5e300, 5e-324, -0.5, 12345678901234]
UNICODE = ["é\u2028\u2029", "💥", "\u0000\u001f", "日本", "\u202eabc", "a/b\\c\"d'"]
EVERYTHING = [*ODD, NESTED, LARGE, UNICODE]

Open = Callable[..., SpoolQ]


@pytest.fixture
def open_app(server: Server, tmp_path: Any) -> Iterator[Open]:
    with ExitStack() as opened:

        def one(**settings: Any) -> SpoolQ:
            settings = {"spool_min_free": 0, **settings}
            return opened.enter_context(SpoolQ(server.url, spool=str(tmp_path / "spool.db"), deadline=20.0, **settings))

        yield one


def ran(app: SpoolQ, name: str = "SendMail", queue: str = "mail", **options: Any) -> list[list[Any]]:
    """A task that notes its arguments, and where it notes them."""
    found: list[list[Any]] = []

    def note(*args: Any) -> None:
        found.append(list(args))

    app.task(name=name, queue=queue, **options)(note)
    return found


def test_queues_length_and_queued(resque: Resque, open_app: Open) -> None:
    app = open_app(wire="resque")
    for queue, count in (("mail", 3), ("low", 1)):
        app.enqueue_many([app.remote("SendMail", queue).job(n, EVERYTHING) for n in range(count)])
    assert sorted(resque.queue("queues")) == ["low", "mail"]
    assert [resque.queue("length", queue) for queue in ("mail", "low", "none")] == [3, 1, 0]
    assert [job["args"] for job in resque.queue("queued", "mail", 1, 2)] == [[1, EVERYTHING], [2, EVERYTHING]]


def test_everything_that_json_holds_comes_back_from_a_worker_of_node(resque: Resque, open_app: Open) -> None:
    for wire in ("python", "resque"):
        open_app(wire=wire).remote("SendMail", "mail").enqueue(*EVERYTHING)
    resque.begin("Worker", queues=["mail"])
    said = resque.wait_for("success", 2)
    assert [event["job"]["args"] for event in said] == [EVERYTHING, EVERYTHING]
    assert [event["result"] for event in said] == [EVERYTHING, EVERYTHING]


def test_numbers_beyond_javascripts_are_exact_in_spoolq_and_rounded_in_node(resque: Resque, open_app: Open) -> None:
    """Which `wire="resque"` refuses."""
    app = open_app()
    found = ran(app)
    app.enqueue("SendMail", 2**53 + 1, -(2**70))
    assert resque.queue("queued", "mail", 0, -1)[0]["args"] == [2**53, -(2**70)]
    work(app)
    assert found == [[2**53 + 1, -(2**70)]]


def test_everything_that_json_holds_comes_from_a_queue_of_node(resque: Resque, open_app: Open) -> None:
    app = open_app()
    found = ran(app)
    assert resque.queue("enqueue", "mail", "SendMail", EVERYTHING) is True
    assert resque.queue("enqueue", "mail", "SendMail", []) is True
    assert resque.queue("enqueue", "mail", "SendMail") is True
    work(app)
    assert sorted(found, key=len) == [[], [], EVERYTHING]
    assert resque.queue("stats")["processed"] == "3"


def test_jobs_without_an_id_are_deleted_by_their_arguments_those_with_one_by_their_function(
    resque: Resque, open_app: Open
) -> None:
    app = open_app()
    resque.queue("enqueue", "mail", "SendMail", [1])
    app.remote("SendMail", "mail").enqueue(1)
    app.remote("Other", "mail").enqueue(1)
    assert resque.queue("del", "mail", "SendMail", [1]) == 1
    assert [job["class"] for job in resque.queue("queued", "mail", 0, -1)] == ["SendMail", "Other"]
    assert resque.queue("delByFunction", "mail", "SendMail") == 1
    assert [job["class"] for job in resque.queue("queued", "mail", 0, -1)] == ["Other"]


def test_a_deleted_queue_takes_along_what_waits_and_not_what_is_being_worked_on(resque: Resque, open_app: Open) -> None:
    app = open_app()
    mail = app.remote("SendMail", "mail")
    receipts = app.enqueue_many([mail.job(n) for n in range(2)])
    hand = Hand(app.primary, queues=("mail",))
    claims = hand.claim(1)
    resque.queue("delQueue", "mail")
    assert (resque.queue("queues"), resque.queue("length", "mail")) == ([], 0)
    app.primary.release(claims)
    assert [job["id"] for job in resque.queue("queued", "mail", 0, -1)] == [receipts[0].id]
    assert resque.queue("queues") == ["mail"]


def test_workers_and_what_they_work_on(resque: Resque, open_app: Open) -> None:
    app = open_app()
    receipt = app.remote("SendMail", "mail").enqueue(*EVERYTHING)
    info = app.worker_info(("mail", "low"), 2)
    [claim] = app.primary.claim(info, 1, ("mail",), 1).claims
    app.primary.register(info)
    app.primary.heartbeat(info, [Working(0, claim, time.time())])
    workers = resque.queue("workers")
    assert len(workers) == 2
    assert set(workers.values()) == {"mail,low"}
    working = {name: record for name, record in resque.queue("allWorkingOn").items() if isinstance(record, dict)}
    [(name, record)] = working.items()
    assert name in workers
    assert (record["worker"], record["queue"]) == (name, "mail")
    assert (record["payload"]["id"], record["payload"]["args"]) == (receipt.id, EVERYTHING), "[] has stayed []"
    assert '"args":[' in resque.queue("workingOn", name, "mail,low")
    app.primary.ack([claim])
    assert resque.queue("workingOn", name, "mail,low") is None
    app.primary.unregister(info)
    assert resque.queue("workers") == {}


def test_the_leader_is_a_name(resque: Resque, open_app: Open) -> None:
    app = open_app()
    assert resque.queue("leader") is None
    app.primary.promote(1)
    assert resque.queue("leader")
    assert resque.queue("leaderKey") == "resque:resque_scheduler_leader_lock"
    app.close()
    assert resque.queue("leader") is None


def test_enqueue_at_and_in_of_node_are_run_by_spoolq_when_due(resque: Resque, open_app: Open) -> None:
    app = open_app()
    found = ran(app)
    due = int(time.time() + 1)
    assert resque.queue("enqueueAt", due * 1000, "mail", "SendMail", ["at", *EVERYTHING])
    assert resque.queue("enqueueIn", 1000, "mail", "SendMail", ["in", *EVERYTHING])
    resque.queue("enqueueAt", (due + 3600) * 1000, "mail", "SendMail", ["later"])
    assert resque.queue("delayedAt", due * 1000)["tasks"][0]["args"] == ["at", *EVERYTHING]
    assert due * 1000 in resque.queue("timestamps")

    def both() -> bool:
        work(app)
        return len(found) == 2

    eventually(both, what="both jobs")
    assert time.time() >= due
    assert sorted(found) == [["at", *EVERYTHING], ["in", *EVERYTHING]]
    assert resque.queue("timestamps") == [(due + 3600) * 1000]
    assert resque.queue("scheduledAt", "mail", "SendMail", ["at", *EVERYTHING]) == []
    assert resque.queue("scheduledAt", "mail", "SendMail", ["later"]) == [due + 3600]


def test_enqueue_at_and_in_of_spoolq_for_node_are_seen_deleted_and_run_by_it(resque: Resque, open_app: Open) -> None:
    app = open_app(wire="resque", delayed="resque")
    mail = app.remote("SendMail", "mail")
    app.primary.ready(40.0)  # connected: what is enqueued now arrives before it is due
    due = int(time.time() + 7)  # later than all that is looked at before
    mail.enqueue_at(due, "at", *EVERYTHING)
    mail.enqueue_in(6, "in", *EVERYTHING)
    mail.enqueue_at(due + 3600, "later", *EVERYTHING)
    assert resque.queue("scheduledAt", "mail", "SendMail", ["at", *EVERYTHING]) == [due]
    due_then = resque.queue("delayedAt", due * 1000)["tasks"]
    assert {"class": "SendMail", "queue": "mail", "args": ["at", *EVERYTHING]} in due_then
    assert len([job for jobs in resque.queue("allDelayed").values() for job in jobs]) == 3
    with pytest.raises(Exception, match="already enqueued at this time"):
        resque.queue("enqueueAt", due * 1000, "mail", "SendMail", ["at", *EVERYTHING])
    assert resque.queue("delDelayed", "mail", "SendMail", ["later", *EVERYTHING]) == [due + 3600]
    resque.begin("Scheduler")
    resque.begin("Worker", queues=["mail"])
    said = resque.wait_for("success", 2)
    assert sorted(event["job"]["args"][0] for event in said) == ["at", "in"]
    assert all(event["job"]["args"][1:] == EVERYTHING for event in said)


def test_delayed_jobs_of_node_are_listed_and_cancelled_by_spoolq(resque: Resque, open_app: Open, server: Server) -> None:
    """And those of spoolq in node's keys; what is left node still knows, and both agree on what is gone."""
    from click.testing import CliRunner

    from spoolq.cli import main

    due = int(time.time() + 3600)
    resque.queue("enqueueAt", due * 1000, "mail", "SendMail", ["gone", *EVERYTHING])
    resque.queue("enqueueAt", (due + 1) * 1000, "mail", "SendMail", ["gone", *EVERYTHING])
    resque.queue("enqueueAt", (due + 2) * 1000, "low", "SendMail", ["left"])
    open_app(delayed="resque", wire="resque").remote("SendMail", "mail").enqueue_at(due + 3, "ours")

    def jobs(*args: str) -> Any:
        done = CliRunner().invoke(main, ["jobs", *args, "--json", "--in", "primary", "--url", server.url])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    listed = jobs("list", "--scheduled", "--arguments")["jobs"]
    assert [(job["queue"], job["arguments"].split('"')[1]) for job in listed] == [
        ("mail", "gone"),
        ("mail", "gone"),
        ("low", "left"),
        ("mail", "ours"),
    ]
    assert len(jobs("list", "mail", "--scheduled")["jobs"]) == 3
    arguments = json.dumps(["gone", *EVERYTHING])
    done = CliRunner().invoke(main, ["jobs", "cancel", "--task", "SendMail", "--args", arguments, "--json", "--url", server.url])
    assert json.loads(done.stdout)["cancelled"] == 2, done.output
    assert resque.queue("scheduledAt", "mail", "SendMail", ["gone", *EVERYTHING]) == []
    assert sorted(resque.queue("timestamps")) == [(due + 2) * 1000, (due + 3) * 1000]
    assert resque.queue("scheduledAt", "low", "SendMail", ["left"]) == [due + 2]
