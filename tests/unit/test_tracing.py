"""Spans of enqueue, drain and run: how they hang together, what they say, and that they say nothing of a job's arguments."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from spoolq import Discard, Retry, SpoolQ, wire
from spoolq.errors import PayloadError
from spoolq.job import Job, Trace
from spoolq.tracing import LONG, draining, read
from tests import spans
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
SECRET = "a-secret-argument"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Set up for one test: the API can't be told to forget a provider, and other tests want none."""
    provider, exporter = spans.kept()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return exporter


@pytest.fixture
def q(tmp_path: Path) -> Iterator[SpoolQ]:
    with SpoolQ(f"sqlite:///{tmp_path}/jobs.db") as q:
        yield q


def finished(exporter: InMemorySpanExporter) -> list[dict[str, Any]]:
    return [spans.written(span) for span in exporter.get_finished_spans()]


def one(found: list[dict[str, Any]], name: str) -> dict[str, Any]:
    [span] = [span for span in found if span["name"] == name]
    return span


def work(q: SpoolQ, **options: Any) -> None:
    assert q.worker(burst=True, **options).run() == 0


def test_a_run_is_a_child_of_the_enqueue_which_is_a_child_of_the_request(q: SpoolQ, exporter: InMemorySpanExporter) -> None:
    @q.task(queue="mail")
    def send(to: str) -> None: ...

    with trace.get_tracer("app").start_as_current_span("GET /signup"):
        receipt = send.enqueue(SECRET)
    work(q)
    found = finished(exporter)
    request, sent, ran = one(found, "GET /signup"), one(found, "send mail"), one(found, "process mail")
    assert request["trace"] == sent["trace"] == ran["trace"]
    assert (sent["parent"], ran["parent"]) == (request["id"], sent["id"])
    assert (sent["kind"], ran["kind"]) == ("PRODUCER", "CONSUMER")
    common = {"messaging.system": "spoolq", "messaging.destination.name": "mail", "messaging.message.id": receipt.id}
    assert sent["attributes"] == common | {
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "spoolq.route": "primary",
    }
    assert ran["attributes"] == common | {
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "spoolq.task": "send",
        "spoolq.attempt": 1,
    }
    assert SECRET not in json.dumps(found)


def test_what_a_task_does_is_within_its_span_and_nothing_after_it_is(q: SpoolQ, exporter: InMemorySpanExporter) -> None:
    @q.task(queue="second")
    def second() -> None: ...

    @q.task(queue="first")
    def first() -> None:
        with trace.get_tracer("app").start_as_current_span("SELECT"):
            second.enqueue()

    first.enqueue()
    work(q, threads=1)
    found = finished(exporter)
    assert one(found, "SELECT")["parent"] == one(found, "process first")["id"]
    assert one(found, "send second")["parent"] == one(found, "SELECT")["id"]
    assert one(found, "process second")["parent"] == one(found, "send second")["id"]
    assert not trace.get_current_span().get_span_context().is_valid


def test_an_async_task_has_its_span_in_its_own_context(q: SpoolQ, exporter: InMemorySpanExporter) -> None:
    @q.task(queue="mail")
    async def send(n: int) -> None:
        await asyncio.sleep(0)
        with trace.get_tracer("app").start_as_current_span(f"inside {n}"):
            await asyncio.sleep(0.01)

    ids = [send.enqueue(n).id for n in range(5)]
    work(q, threads=1)
    found = finished(exporter)
    runs = {span["attributes"]["messaging.message.id"]: span for span in found if span["name"] == "process mail"}
    assert set(runs) == set(ids)
    for n, id in enumerate(ids):
        inside = one(found, f"inside {n}")
        assert inside["parent"] == runs[id]["id"]
        assert runs[id]["end"] >= inside["end"]


def test_aenqueue_is_a_child_of_its_request_and_ends_with_the_call(q: SpoolQ, exporter: InMemorySpanExporter) -> None:
    @q.task(queue="mail")
    def send() -> None: ...

    async def request(n: int) -> None:
        with trace.get_tracer("app").start_as_current_span(f"request {n}"):
            await asyncio.sleep(0)
            await send.aenqueue()

    async def both() -> None:
        await asyncio.gather(request(1), request(2))

    asyncio.run(both())
    eventually(lambda: len(exporter.get_finished_spans()) == 4)
    found = finished(exporter)
    assert {span["parent"] for span in found if span["name"] == "send mail"} == {
        one(found, "request 1")["id"],
        one(found, "request 2")["id"],
    }


def test_a_retry_is_linked_and_in_a_trace_of_its_own(q: SpoolQ, exporter: InMemorySpanExporter) -> None:
    @q.task(queue="mail", retries=1, backoff=lambda state: 0.0)
    def send(to: str) -> None:
        raise ValueError(f"no {to}")

    send.enqueue(SECRET)
    work(q)
    found = finished(exporter)
    sent = one(found, "send mail")
    first, second = (span for span in found if span["name"] == "process mail")
    assert (first["trace"], first["parent"], first["links"]) == (sent["trace"], sent["id"], [])
    assert second["trace"] != sent["trace"]
    assert (second["parent"], second["links"]) == (None, [f"{sent['trace']}-{sent['id']}"])
    assert [span["attributes"]["spoolq.attempt"] for span in (first, second)] == [1, 2]


def test_an_error_is_told_by_its_class_and_place_and_not_by_its_text(q: SpoolQ, exporter: InMemorySpanExporter) -> None:
    @q.task(queue="mail", retries=0)
    def send(to: str) -> None:
        raise ValueError(f"no {to}")

    send.enqueue(SECRET)
    work(q)
    ran = one(finished(exporter), "process mail")
    assert (ran["status"], ran["attributes"]["error.type"]) == ("ERROR", "ValueError")
    [event] = ran["events"]
    assert (event["name"], event["exception.type"]) == ("exception", "ValueError")
    assert __file__ in event["exception.stacktrace"]
    assert SECRET not in json.dumps(ran)


@pytest.mark.parametrize("word", [Discard(), Retry(0)])
def test_what_a_task_asks_for_is_no_error(q: SpoolQ, exporter: InMemorySpanExporter, word: Exception) -> None:
    @q.task(queue="mail", retries=1)
    def send() -> None:
        raise word

    send.enqueue()
    work(q)
    assert {span["status"] for span in finished(exporter)} == {"UNSET"}


def test_an_enqueue_that_fails_is_an_error(q: SpoolQ, exporter: InMemorySpanExporter) -> None:
    @q.task(queue="mail")
    def send(what: object) -> None: ...

    with pytest.raises(PayloadError):
        send.enqueue(object())
    assert one(finished(exporter), "send mail")["status"] == "ERROR"


def test_one_call_of_many_jobs_is_one_span(q: SpoolQ, exporter: InMemorySpanExporter) -> None:
    @q.task(queue="mail")
    def send(n: int) -> None: ...

    q.enqueue_many([send.job(1), send.job(2), send.using(queue="bulk").job(3)])
    work(q, queues="mail,bulk")
    found = finished(exporter)
    sent = one(found, "send")
    assert sent["attributes"]["messaging.batch.message_count"] == 3
    assert "messaging.destination.name" not in sent["attributes"]
    runs = [span for span in found if span["name"].startswith("process")]
    assert {span["parent"] for span in runs} == {sent["id"]}
    assert len(runs) == 3


def test_a_chain_and_a_batch_are_one_trace(q: SpoolQ, exporter: InMemorySpanExporter) -> None:
    @q.task(queue="mail")
    def step(n: int) -> None: ...

    step.using(after=[step.using(after=[step.job(3)]).job(2)]).enqueue(1)
    q.batch([step.job(4), step.job(5)], then=step.job(6))
    work(q)
    found = finished(exporter)
    chain, batch = (span["id"] for span in found if span["name"] == "send mail")
    assert Counter(span["parent"] for span in found if span["name"] == "process mail") == {chain: 3, batch: 3}


def test_a_job_that_waited_for_long_begins_a_trace_and_is_linked(q: SpoolQ, exporter: InMemorySpanExporter) -> None:
    @q.task(queue="mail")
    def send() -> None: ...

    for ago in (LONG / 2, LONG + 5):
        q.submit([replace(send.job(), enqueued_at=time.time() - ago)])
    work(q)
    found = finished(exporter)
    runs = [span for span in found if span["name"] == "process mail"]
    assert sorted((span["parent"] is None, len(span["links"])) for span in runs) == [(False, 0), (True, 1)]


@pytest.mark.parametrize("mode", ["python", "resque"])
def test_the_context_lies_beside_class_and_args(mode: Any) -> None:
    job = Job("1", "send", "mail", ("a",), trace=Trace(PARENT, "vendor=x"))
    fields = json.loads(wire.encode(job, mode))
    assert (fields["traceparent"], fields["tracestate"], fields["args"]) == (PARENT, "vendor=x", ["a"])
    again = wire.decode(wire.encode(job, mode), "mail")
    assert (again.trace, again.extra) == (job.trace, {})
    assert wire.decode(wire.attempted(wire.encode(job, mode), job), "mail").trace == job.trace
    assert wire.trace_of(wire.encode(job, mode)) == job.trace


@pytest.mark.parametrize("wrong", [None, 5, "", "00-0-0-0", PARENT.upper(), PARENT + "\n", PARENT + "-" + "x" * 1000, [PARENT]])
def test_a_context_that_is_none_counts_as_absent(wrong: Any) -> None:
    assert read({"traceparent": wrong}) is None
    payload = json.dumps({"class": "send", "args": [], "traceparent": wrong}).encode()
    assert wire.decode(payload, "mail").trace is None
    assert wire.trace_of(payload) is None


@pytest.mark.parametrize("wrong", [7, "x" * 513, "a\nb"])
def test_a_state_that_is_none_is_left_out(wrong: Any) -> None:
    assert read({"traceparent": PARENT, "tracestate": wrong}) == Trace(PARENT)


def test_where_nobody_has_set_it_up_nothing_is_made_of_it(tmp_path: Path) -> None:
    program = f"""
import sys
from opentelemetry import trace
from spoolq import SpoolQ
class None_:
    def __getattr__(self, name): raise AssertionError(name)
trace.get_tracer = None_()
q = SpoolQ("sqlite:///{tmp_path}/jobs.db")
@q.task
def send(): ...
send.enqueue()
assert b"traceparent" not in q.primary.claim(q.worker_info(["default"], 1), 1, ["default"], 1).claims[0].payload
q.close()
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)


COUNT = """
import sys
HOW
from spoolq import SpoolQ
q = SpoolQ("sqlite:///" + sys.argv[1])
@q.task
def send(n): ...
for n in range(20): send.enqueue(n)
calls = []
def note(frame, event, arg):
    if event in ("call", "c_call"): calls.append(frame.f_code.co_filename)
counts = []
for n in range(20):
    calls.clear()
    sys.setprofile(note)
    send.enqueue(n)
    sys.setprofile(None)
    counts.append(len(calls))
    assert not any("tracing" in each or "opentelemetry" in each for each in calls)
print(min(counts), "opentelemetry" in sys.modules)
q.close()
"""


HALF_LOADED = """
import sys, threading, time
sys.path.insert(0, sys.argv[1])
from spoolq import SpoolQ

q = SpoolQ(f"sqlite:///{sys.argv[1]}/jobs.db", spool_min_free=0)
q.remote("t").enqueue()
threading.begun, threading.go_on = threading.Event(), threading.Event()
loading = threading.Thread(target=__import__, args=("opentelemetry.trace",))
loading.start()
threading.begun.wait()
began = time.monotonic()
q.remote("t").enqueue()
took = time.monotonic() - began
threading.go_on.set()
loading.join()
sys.exit(took > 10 and f"waited for {took:.1f} s")
"""


def test_an_enqueue_does_not_wait_for_a_thread_that_loads_it(tmp_path: Path) -> None:
    """As the thread does that connects: redis-py 8 loads what it finds installed."""
    package = tmp_path / "opentelemetry"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "trace.py").write_text(
        "import threading\nthreading.begun.set()\nthreading.go_on.wait(20)\n_TRACER_PROVIDER = None\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", HALF_LOADED, str(tmp_path)], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr


def test_an_enqueue_costs_nothing_more_where_the_package_is_installed_and_not_used(tmp_path: Path) -> None:
    """Function calls of one enqueue, counted: without the package, and with it beside. `import spoolq` loads none of it."""

    def calls(how: str, file: str) -> list[str]:
        program = COUNT.replace("HOW", how)
        ran = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / file)],
            cwd=ROOT,
            check=True,
            timeout=60,
            capture_output=True,
            text=True,
        )
        return ran.stdout.split()

    hidden = "class Hide:\n    def find_spec(self, name, *_):\n        if name.split('.')[0] == 'opentelemetry':\n"
    without = calls(hidden + "            raise ModuleNotFoundError(name, name=name)\nsys.meta_path.insert(0, Hide())", "a.db")
    beside = calls("", "b.db")
    assert without == beside
    assert beside[1] == "False"


def stored(q: SpoolQ, id: str) -> Job:
    """As it waits."""
    [found] = q.primary.waiting_jobs.find(id)
    return wire.decode(found.payload, found.queue)


@pytest.mark.parametrize("mode", ["python", "resque"])
def test_no_job_is_too_large_for_its_trace(tmp_path: Path, exporter: InMemorySpanExporter, mode: str) -> None:
    with SpoolQ(f"sqlite:///{tmp_path}/jobs.db", max_payload=2048, wire=mode) as q:

        @q.task
        def keep(text: str) -> None: ...

        field = len(f',"traceparent":"{PARENT}"')
        for room in (0, 1, field - 1, field, 200):
            job = keep.job("")
            job = replace(job, args=("x" * (2048 - room - len(wire.encode(job))),))
            q.enqueue_many([job])
            assert (stored(q, job.id).trace is not None) == (room >= field)
        with pytest.raises(PayloadError, match="more than max_payload 2 KiB"):
            keep.enqueue("x" * 2048)


def test_no_chain_is_too_large_for_the_traces_of_those_after_it(tmp_path: Path, exporter: InMemorySpanExporter) -> None:
    with SpoolQ(f"sqlite:///{tmp_path}/jobs.db", max_payload=2048) as q:

        @q.task
        def keep(text: str) -> None: ...

        job = replace(keep.job(""), after=(keep.job("y"), keep.job("z")))
        job = replace(job, args=("x" * (2048 - 200 - len(wire.encode(job))),))
        q.enqueue_many([job])
        seen = stored(q, job.id)
        assert [one.trace for one in (seen, *seen.after)] == [None] * 3


class Faulty(SpanProcessor):
    """Raises where a span begins, or ends."""

    def __init__(self, where: str) -> None:
        self.where = where

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        if self.where == "start":
            raise ValueError(self.where)

    def on_end(self, span: Any) -> None:
        if self.where == "end":
            raise ValueError(self.where)


@pytest.mark.parametrize("where", ["start", "end"])
def test_tracing_that_fails_keeps_no_job_from_being_stored_run_or_drained(
    q: SpoolQ, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    provider = TracerProvider()
    provider.add_span_processor(Faulty(where))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    ran = []

    @q.task
    def add(n: int) -> None:
        ran.append(n)

    @q.task
    async def later(n: int) -> None:
        ran.append(n)

    assert add.enqueue(1).new
    assert asyncio.run(add.aenqueue(2)).new
    assert later.enqueue(3).new
    work(q)
    assert sorted(ran) == [1, 2, 3]
    assert draining([Trace(PARENT, "")], {"default"}, 1, lambda: "put") == "put"
    with pytest.raises(KeyError):
        draining([None], {"default"}, 1, lambda: {}["not there"])
