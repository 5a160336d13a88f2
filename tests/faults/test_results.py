"""Results and cancelling with real workers and servers: killed, cut, gone, and racing with each other."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolq import tracking, wire
from spoolq.errors import JobCancelled, JobFailed, ResultTimeout
from spoolq.job import Job
from spoolq.store.redis.scripts import script
from tests.faults.working import ROOT, Place, at
from tests.proxy import Action, Proxy
from tests.servers import Server
from tests.waiting import eventually

pytestmark = pytest.mark.one_server

TASKS = """

@q.task(queue="work", result_ttl=600, retries=5, backoff=lambda state: 0)
def answer(value, name="gate"):
    tell("BEGIN", value)
    current_job().progress(0.5, "half")
    eventually((here / name).exists, within=60)
    tell("RUN", value)
    return {"value": value, "pid": os.getpid()}

@q.task(queue="work", result_ttl=600, retries=5, backoff=lambda state: 0)
def until_cancelled(how):
    tell("BEGIN", how)
    eventually(lambda: current_job().cancelled, within=60)
    tell("RUN", how)
    if how == "raise":
        raise ValueError("stopped")

@q.task(queue="work", result_ttl=600, retries=5, backoff=lambda state: 0)
async def until_cancelled_on_the_loop():
    tell("BEGIN")
    while not current_job().cancelled:
        await asyncio.sleep(0.01)
    tell("RUN")

@q.task(queue="work", result_ttl=600, retries=0)
def wrong():
    raise ValueError("no luck")
"""


def prepare(place: Place) -> Place:
    module = place.folder / "app_under_test.py"
    module.write_text(module.read_text() + TASKS)
    place.store.ready(20.0)  # connected, or the first job might be spooled on a busy machine
    return place


@pytest.fixture
def ours(place: Place) -> Place:
    return prepare(place)


@pytest.fixture
def both(either: Place) -> Place:
    """On a file, and on a server of its own."""
    return prepare(either)


def ask(place: Place, task: str, *args: object, **options: object) -> str:
    return place.enqueue(task, *args, result_ttl=600, **options)


def waits(place: Place, id: str) -> str:
    """What is known of it when a wait for its result is over."""
    with pytest.raises(ResultTimeout) as late:
        place.q.result(id, timeout=0.2)
    return late.value.status


def test_a_job_says_how_far_it_is_and_its_result_is_there_when_it_is_settled(both: Place) -> None:
    id = ask(both, "answer", 7)
    eventually(lambda: both.q.status(id) == "queued")  # a store that had no core to answer is "unknown"
    worker = both.worker()
    half = eventually(lambda: status if (status := both.q.status(id)).progress else None, what="its progress")
    assert (half, half.progress, half.text) == ("running", 0.5, "half")
    eventually(lambda: waits(both, id) == "running", what="a wait that is told that it runs")
    both.open_gate()
    assert both.q.result(id, timeout=60)["value"] == 7
    eventually(lambda: both.q.status(id) == "done")
    with pytest.raises(JobFailed, match="no luck"):
        both.q.result(ask(both, "wrong"), timeout=60)
    worker.end()


def test_a_worker_killed_before_it_could_settle_leaves_no_result(both: Place) -> None:
    """The result is written in the step that settles the job, so the one that is read is that of the run which counts."""
    id = ask(both, "answer", 1)
    killed = both.worker(threads=1, LEASE="1s")
    both.begun()
    killed.kill()
    with pytest.raises(ResultTimeout):
        both.q.result(id, timeout=0.5)
    both.open_gate()
    worker = both.worker(threads=1, LEASE="1s")
    assert both.q.result(id, timeout=60)["pid"] == worker.pid
    assert both.runs()[id] == 1
    worker.end()


@pytest.mark.parametrize("action", ["cut_reply", "cut_before"])
def test_a_settling_whose_answer_is_lost_or_that_never_arrived_leaves_its_result(
    server: Server, tmp_path: Path, action: Action
) -> None:
    with Proxy(server.port) as proxy, at(tmp_path, server.url, deadline=20.0) as place:
        prepare(place).environment["SPOOLQ_URL"] = proxy.url
        place.environment["SPOOLQ_SPOOL"] = str(tmp_path / "workers-spool.db")
        rule = proxy.rule(script("ack").sha, action)
        id = ask(place, "answer", 3)
        worker = place.worker(threads=1)
        place.begun()
        place.open_gate()
        rule.wait()
        assert place.q.result(id, timeout=60)["value"] == 3
        place.done()
        worker.end()
        assert place.runs() == {id: 1}
        assert place.store.counters()["processed"] == 1


@pytest.fixture
def kept(tmp_path: Path, durable: Server) -> Iterator[Place]:
    with at(tmp_path, durable.url) as one:
        yield prepare(one)


def test_through_an_outage_a_job_is_spooled_then_queued_then_done(kept: Place, durable: Server) -> None:
    durable.kill()
    id = ask(kept, "answer", 5)
    eventually(lambda: kept.q.status(id) == "spooled")
    eventually(lambda: waits(kept, id) == "spooled", what="a wait that is told that it is spooled")
    durable.start()
    kept.q.drainer().run_once(timeout=60)
    eventually(lambda: kept.q.status(id) == "queued", what="queued, after the drain")
    kept.open_gate()
    worker = kept.worker()
    assert kept.q.result(id, timeout=60)["value"] == 5
    worker.end()


def test_who_only_asks_finds_redis_again_when_all_who_met_the_outage_are_gone(kept: Place, durable: Server) -> None:
    """Nobody of this host is left to say that it is over."""
    id = ask(kept, "answer", 5)
    durable.kill()
    meets = "import sys; from spoolq import SpoolQ; SpoolQ(sys.argv[1], spool=sys.argv[2]).remote('answer', 'work').enqueue(6)"
    subprocess.run([sys.executable, "-c", meets, kept.url, str(kept.spool)], cwd=ROOT, env=kept.environment, check=True)
    eventually(lambda: "is out of reach (" in kept.q.status(id).why, what="hearsay of the outage")
    durable.start()
    eventually(lambda: kept.q.status(id) == "queued", what="a look at Redis")


def test_what_this_host_runs_in_an_outage_has_its_result_there(kept: Place, durable: Server) -> None:
    worker = kept.worker().ready()
    durable.kill()
    ask(kept, "answer", 0, "never")  # the first call of an outage may be in doubt, and is no local work
    id = ask(kept, "answer", 5)
    eventually(lambda: kept.q.status(id).progress, what="local progress")
    kept.open_gate()
    assert kept.q.result(id, timeout=60)["value"] == 5
    unknown = kept.q.status("of another host")
    assert (unknown, bool(unknown.why)) == ("unknown", True)
    durable.start()
    (kept.folder / "never").touch()
    kept.done()
    worker.end()


def test_a_job_that_expires_in_the_spool_is_dropped_at_the_drain_and_said_to_be(kept: Place, durable: Server) -> None:
    durable.kill()
    id = ask(kept, "answer", 5, expires=0.01)
    later = ask(kept, "answer", 6, expires=3600)
    durable.start()
    done = kept.q.drainer().run_once(timeout=60)
    assert (done.expired, done.left) == (1, 0)
    eventually(lambda: kept.q.status(id) == "expired")
    assert tracking.read(kept.store.values(tracking.keys(id))) == "expired", "as other hosts see it"
    eventually(lambda: kept.q.status(later) == "queued")


def test_a_scheduled_job_that_has_expired_when_it_comes_due_is_dropped(both: Place) -> None:
    """Such as after an outage of hours: it is due, and nobody wants it any more."""
    past = both.store.ready(5.0) - 10
    job = Job("stale", "answer", "work", (1,), run_at=past + 12, expires_at=past, track=60.0, result=True)
    both.store.put([wire.message(job)])
    worker = both.worker()
    eventually(lambda: both.q.status("stale") == "expired", what="expired")
    both.done()
    worker.end()
    assert not both.trace("BEGIN")
    assert both.store.counters()["expired"] == 1


@pytest.mark.parametrize("how", ["return", "raise"])
def test_a_running_job_is_asked_to_stop_and_not_tried_again(both: Place, how: str) -> None:
    id = ask(both, "until_cancelled", how)
    worker = both.worker()
    both.begun()
    assert both.q.cancel(id).outcome == "asked"
    with pytest.raises(JobCancelled):
        both.q.result(id, timeout=60)
    both.done()
    worker.end()
    assert both.runs() == {id: 1}
    assert both.store.counters()["cancelled"] == 1
    assert both.store.failures.count() == 0


def test_a_coroutine_is_asked_to_stop(both: Place) -> None:
    id = ask(both, "until_cancelled_on_the_loop")
    worker = both.worker()
    both.begun()
    assert both.q.cancel(id).outcome == "asked"
    with pytest.raises(JobCancelled):
        both.q.result(id, timeout=60)
    worker.end()


def test_a_job_that_was_asked_to_stop_is_not_tried_again_when_its_worker_dies(both: Place) -> None:
    id = ask(both, "answer", 1)
    killed = both.worker(threads=1, LEASE="1s")
    both.begun()
    assert both.q.cancel(id).outcome == "asked"
    killed.kill()
    worker = both.worker(threads=1, LEASE="1s")
    eventually(lambda: both.q.status(id) == "cancelled", what="cancelled")
    both.done()
    worker.end()
    assert both.runs() == {}


DRAINING = """
import sys, time
from spoolq import SpoolQ
q = SpoolQ.from_env()
drainer = q.drainer(batch=7)
while True:
    time.sleep(min(drainer.turn(), 0.01))
"""


def test_what_is_reported_as_removed_never_runs_and_what_runs_was_never_reported_so(kept: Place) -> None:
    """Two workers, two drainers in other processes, and a spool with sure rows, rows in doubt, and some that were applied all the
    same; jobs are cancelled while all of it moves."""
    rng = random.Random(7)
    spool, store = kept.q.spool, kept.store
    assert spool is not None
    store.ready(10.0)
    drainers = [
        subprocess.Popen([sys.executable, "-c", DRAINING], env=kept.environment, cwd=kept.folder, stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    workers = [kept.worker(threads=2).ready() for _ in range(2)]
    said: dict[str, str] = {}
    ids: list[str] = []
    try:
        for turn in range(25):
            batch = [kept.q.remote("note", "work").using(track=n % 2 == 0).job(turn) for n in range(12)]
            messages = [kept.q.message(job) for job in batch]
            ids += [job.id for job in batch]
            spool.spool(messages[:4])
            spool.spool(messages[4:6], not_after=spool.now() + 1)
            store.put(messages[6:8], hold=True, timeout=10.0)
            spool.spool(messages[6:8], not_after=spool.now() + 1)
            store.put(messages[8:], timeout=10.0)
            for id in rng.sample([job.id for job in batch], 5):
                said[id] = kept.q.cancel(id).outcome
        eventually(lambda: not spool.waiting(1), what="an empty spool")
        kept.done()
        for worker in workers:
            worker.end()
        kept.done()
    finally:
        for process in drainers:
            process.kill()
            process.wait()
    runs, outcomes = kept.runs(), Counter(said.values())
    removed = {id for id, outcome in said.items() if outcome == "removed"}
    assert not removed & runs.keys(), outcomes
    assert runs.keys() | removed | {id for id, outcome in said.items() if outcome != "removed"} == set(ids)
    assert set(runs.values()) == {1}
    assert removed, outcomes
    late = {id for id, outcome in said.items() if outcome == "late"}

    def stopped(id: str) -> bool:
        """By a worker that took it and saw the wish."""
        return tracking.read(store.values(tracking.keys(id), timeout=20.0)) == "cancelled"

    assert [id for id in late - runs.keys() if not stopped(id)] == [], "what is said to have ended had run"


def test_a_job_that_asks_for_nothing_leaves_nothing_and_asks_nothing(ours: Place, server: Server) -> None:
    with server.client() as control:
        control.config_resetstat()  # other tests had it before
    ids = [ours.enqueue("note", n) for n in range(200)]
    worker = ours.worker()
    ours.done()
    worker.end()
    assert set(ours.runs()) == set(ids)
    with server.client() as control:
        kept = control.keys("resque:spoolq:value:*")
        assert [key for key in kept if b":value:spool:" not in key] == [], "but what the host tells of its spool"
        looks = control.info("commandstats").get("cmdstat_mget", {"calls": 0})["calls"]
        assert looks < len(ids) / 2, "now and then for a word to the worker, never for a job"
