"""Failures of either side shown, removed and put back by the other; retries of either side beside the other."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from spoolq import Discard, SpoolQ, __version__, wire
from spoolq.job import Job
from tests.contract.hands import Hand, ids
from tests.interop.remote import Refused, Resque
from tests.interop.test_node_queue import EVERYTHING, Open, open_app, ran
from tests.interop.test_resque_jobs import work
from tests.servers import Server
from tests.waiting import eventually

__all__ = ["open_app"]  # a fixture
pytestmark = pytest.mark.node


class Strange(Exception):
    def __str__(self) -> str:
        return 'böse \u2028💥\x00\x1f\ud800 "quoted" \\ and 1.0, 12345678901234567890'


def chained() -> None:
    try:
        raise KeyError("é")
    except KeyError as error:
        error.add_note("a note\nof two lines")
        raise Strange from error


def deep() -> None:
    limit = sys.getrecursionlimit()
    raise RecursionError(f"{'x' * 70_000}{limit * 0}")


FAILING: dict[str, Callable[..., Any]] = {"chained": chained, "deep": deep}


def failed(app: SpoolQ, *, retries: int = 0, queue: str = "mail") -> list[str]:
    """Real failures by a real worker, of jobs with all kinds of arguments. Returns their ids."""

    @app.task(name="Fails", queue=queue, retries=retries, backoff=lambda state: 0)
    def fails(how: str, *args: Any, **more: Any) -> None:
        FAILING[how]()

    launches = [fails.job(how, *args) for how in FAILING for args in ((), EVERYTHING, ([1.5, [], {}],))]
    if app.settings.wire == "python":
        launches += [fails.job("chained", 1.0, 2**70, {"b": 1, "2": 2, "1": 3}, key={"é": 1e16})]
    receipts = app.enqueue_many(launches)
    work(app, queue)
    return [receipt.id for receipt in receipts]


@pytest.mark.parametrize("mode", ["python", "resque"])
def test_failures_with_a_history_are_seen_and_removed_by_node_byte_for_byte(
    resque: Resque, open_app: Open, server: Server, mode: str
) -> None:
    app = open_app(wire=mode)
    expected = failed(app, retries=3)
    with server.client() as control:
        raw = control.lrange("resque:failed", 0, -1)
    seen = resque.queue("failed", 0, -1)
    assert len(seen) == len(raw) == resque.queue("failedCount") == len(expected)
    assert sorted(entry.get("id") or entry["payload"]["id"] for entry in seen) == sorted(expected)
    for entry in seen:
        assert set(entry) >= {"worker", "queue", "payload", "exception", "error", "backtrace", "failed_at"}
        assert entry["attempts"] == 4, "it was tried again three times"
        assert [one["n"] for one in entry["history"]] == [1, 2, 3, 4]
        assert (entry["pid"], entry["versions"]["spoolq"]) == (os.getpid(), __version__)
        assert entry["host"]
        assert entry["backtrace"]
    for _ in expected:
        assert resque.failure("removeFailed", 0) == 1
    assert (resque.queue("failedCount"), app.primary.failures.count()) == (0, 0)


@pytest.mark.parametrize("mode", ["python", "resque"])
def test_failures_put_back_by_node_run_anew_with_their_arguments(resque: Resque, open_app: Open, mode: str) -> None:
    app = open_app(wire=mode)
    before = failed(app)
    for _ in before:
        assert resque.failure("retryAndRemoveFailed", 0) is True
    assert resque.queue("failedCount") == 0
    assert resque.queue("length", "mail") == len(before)
    jobs = [wire.decode(claim.payload, "mail") for claim in Hand(app.primary, queues=("mail",)).claim(100)]
    assert all(job.id not in before for job in jobs), "node builds a new job of class, queue and args"
    arguments = [job.args[1:] for job in jobs]
    for each in ((), tuple(EVERYTHING), ([1.5, [], {}],)):
        assert arguments.count(each) == len(FAILING)


def test_one_that_both_put_back_is_refused_the_second_time(resque: Resque, open_app: Open) -> None:
    app = open_app()
    ids = failed(app)
    entry = resque.queue("failed", 0, 0)[0]
    assert app.primary.failures.retry(ids) == len(ids)
    with pytest.raises(Refused, match="not in failed queue"):
        resque.queue("retryAndRemoveFailed", entry)
    assert resque.queue("length", "mail") == len(ids)


def test_failures_of_node_are_shown_put_back_and_removed_by_spoolq(resque: Resque, open_app: Open) -> None:
    app = open_app()
    found = ran(app)
    for number in range(3):
        resque.queue("enqueue", "mail", "SendMail", [number, *EVERYTHING])
    resque.begin("Worker", queues=["mail"], jobs={"fail": ["SendMail"], "message": "böse \u2028💥"})
    resque.wait_for("failure", 3)
    eventually(lambda: resque.queue("failedCount") == 3)
    resque.end()
    failures = app.primary.failures.page()
    assert {(one.exception, one.error, one.queue) for one in failures} == {("TypeError", "böse \u2028💥", "mail")}
    assert all(one.backtrace and abs(one.failed_at - time.time()) < 120 for one in failures)
    assert app.primary.failures.remove([failures[0].id]) == 1
    assert app.primary.failures.retry([one.id for one in failures]) == 2
    assert resque.queue("failed", 0, -1) == []
    work(app)
    assert sorted(found, key=lambda args: args[0]) == [[0, *EVERYTHING], [1, *EVERYTHING]]


def test_a_job_of_spoolq_that_node_fails_keeps_its_id_when_spoolq_puts_it_back(resque: Resque, open_app: Open) -> None:
    app = open_app()
    receipt = app.remote("SendMail", "mail").enqueue(*EVERYTHING)
    resque.begin("Worker", queues=["mail"], jobs={"classes": ["Another"]})
    resque.wait_for("failure")
    eventually(lambda: resque.queue("failedCount") == 1)
    resque.end()
    [failure] = app.primary.failures.page()
    assert failure.error == 'No job defined for class "SendMail"'
    assert failure.id == receipt.id
    assert app.primary.failures.retry([failure.id]) == 1
    [claim] = Hand(app.primary, queues=("mail",)).claim()
    job = wire.decode(claim.payload, "mail")
    assert (job.id, job.run, list(job.args)) == (receipt.id, 1, EVERYTHING)


# retries


def test_a_retry_of_spoolq_waits_unseen_and_is_run_by_node_with_its_id(resque: Resque, open_app: Open) -> None:
    app = open_app()
    app.primary.put([wire.message(Job("a", "SendMail", "mail", tuple(EVERYTHING)))])
    hand = Hand(app.primary, queues=("mail",))
    [claim] = hand.claim()
    again = wire.attempted(claim.payload, wire.decode(claim.payload, "mail"))
    app.primary.retry(claim, again, app.primary.ready(5.0) + 3600)
    assert (resque.queue("length", "mail"), resque.queue("timestamps")) == (0, [])
    app.primary.put([wire.message(Job("b", "SendMail", "mail", tuple(EVERYTHING)))])
    [claim] = hand.claim()
    app.primary.retry(claim, wire.attempted(claim.payload, wire.decode(claim.payload, "mail")), 1.0)
    app.primary.promote(10)
    resque.begin("Worker", queues=["mail"])
    [said] = resque.wait_for("success")
    assert (said["job"]["id"], said["job"]["attempt"], said["job"]["args"]) == ("b", 1, EVERYTHING)


def test_a_job_that_nodes_retry_plugin_put_off_is_promoted_and_run_by_spoolq(resque: Resque, open_app: Open) -> None:
    app = open_app()
    resque.queue("enqueue", "mail", "SendMail", EVERYTHING)
    retry = {"Retry": {"retryLimit": 3, "retryDelay": 1000}}
    resque.begin("Worker", queues=["mail"], jobs={"fail": ["SendMail"], "plugins": ["Retry"], "pluginOptions": retry})
    resque.wait_for("reEnqueue")
    resque.end()
    assert resque.queue("failedCount") == 0
    found = ran(app)

    def run() -> bool:
        work(app)
        return bool(found)

    eventually(run)
    assert found == [EVERYTHING]


def test_nodes_retry_plugin_runs_a_job_of_spoolq_again_and_spoolq_promotes_it(resque: Resque, open_app: Open) -> None:
    """It comes back without its id: node's plugin enqueues class, queue and args anew."""
    app = open_app()
    app.remote("SendMail", "mail").enqueue(*EVERYTHING)
    retry = {"Retry": {"retryLimit": 3, "retryDelay": 1000}}
    resque.begin("Worker", queues=["mail"], jobs={"failures": {"SendMail": 1}, "plugins": ["Retry"], "pluginOptions": retry})
    resque.wait_for("reEnqueue")

    def promoted() -> bool:
        app.primary.promote(10)
        return len(resque.heard("success")) == 2  # node counts a job that it puts off as one, too

    eventually(promoted)
    last = resque.heard("success")[-1]["job"]
    assert (last["args"], "id" in last) == (EVERYTHING, False)
    assert resque.queue("failedCount") == 0


def test_a_job_that_nodes_retry_plugin_gave_up_is_put_back_by_spoolq(resque: Resque, open_app: Open) -> None:
    app = open_app()
    resque.queue("enqueue", "mail", "SendMail", EVERYTHING)
    retry = {"Retry": {"retryLimit": 1, "retryDelay": 1000}}
    resque.begin("Worker", queues=["mail"], jobs={"fail": ["SendMail"], "plugins": ["Retry"], "pluginOptions": retry})
    eventually(lambda: resque.queue("failedCount") == 1)
    resque.end()
    [failure] = app.primary.failures.page()
    assert app.primary.failures.retry([failure.id]) == 1
    found = ran(app)
    work(app)
    assert found == [EVERYTHING]


def test_a_job_that_nodes_noop_plugin_forgives_leaves_no_failure_as_discard_does(resque: Resque, open_app: Open) -> None:
    app = open_app()
    resque.queue("enqueue", "mail", "SendMail", [1])
    resque.begin("Worker", queues=["mail"], jobs={"fail": ["SendMail"], "plugins": ["Noop"]})
    resque.wait_for("success")
    resque.end()

    @app.task(name="SendMail", queue="mail")
    def send(number: int) -> None:
        raise Discard("not worth it")

    send.enqueue(2)
    work(app)
    assert (resque.queue("failedCount"), resque.queue("length", "mail")) == (0, 0)
    assert ids(Hand(app.primary, queues=("mail",)).claim()) == []
