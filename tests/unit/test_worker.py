"""A whole worker on real files, within this process: its end, its burst, its local work, its services."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spoolq import wishes
from spoolq.breaker import Breaker
from spoolq.current import current
from spoolq.drain import Drainer
from spoolq.errors import ConfigError
from spoolq.job import Job
from spoolq.membership import RECYCLED, Membership
from spoolq.retry import RetryPolicy
from spoolq.store.base import WorkerInfo
from spoolq.store.sqlite import SQLiteStore
from spoolq.tasks import Task, Tasks
from spoolq.wire import message
from spoolq.worker import Worker
from tests.faults.app import Control
from tests.unit.hands import Flaky, file, held, info, job, jobs, left
from tests.unit.test_consumer import Gate
from tests.waiting import eventually, pass_time

NEVER = -1


class Place:
    """A primary, a spool, tasks, and a worker on a thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.real = file(folder / "primary.db")
        self.primary = Flaky(self.real)
        self.spool_file = file(folder / "spool.db", role="spool")
        self.spool = Flaky(self.spool_file)
        self.breaker = Breaker()
        self.ran: list[tuple[str, Any]] = []
        self.tasks = Tasks()
        self.task("note", self.note)
        self.workers: list[tuple[Worker, threading.Thread]] = []
        self.codes: list[int] = []
        self.errors: list[BaseException] = []

    def note(self, number: Any) -> None:
        running = current()
        assert running is not None
        self.ran.append((running.store, number))

    def task(self, name: str, function: Callable[..., Any], **policy: Any) -> None:
        self.tasks.add(Task(function, name=name, queue="q", owner=None, policy=RetryPolicy(**policy)))  # type: ignore[arg-type]

    def drainer(self, **more: Any) -> Drainer:
        who = WorkerInfo("drainer", "host", 1, (), kind="drainer", lease=60.0)
        return Drainer(self.spool, self.primary, self.breaker, who, timeout=20.0, **more)  # type: ignore[arg-type]

    def worker(self, *, key: str = "w", threads: int = 2, lease: float = 60.0, spool: bool = False, **more: Any) -> Worker:
        made = Worker(
            self.primary,  # type: ignore[arg-type]
            self.tasks,
            info(key, threads=threads, lease=lease),
            spool=self.spool if spool else None,  # type: ignore[arg-type]
            **more,
        )
        thread = threading.Thread(target=self._run, args=(made,), daemon=True)
        self.workers.append((made, thread))
        return made

    def _run(self, worker: Worker) -> None:
        try:
            self.codes.append(worker.run())
        except BaseException as error:
            self.errors.append(error)

    def start(self, **more: Any) -> Worker:
        worker = self.worker(**more)
        self.workers[-1][1].start()
        return worker

    def ended(self, within: float = 60.0) -> int:
        """The exit code of the last one."""
        self.workers[-1][1].join(within)
        assert not self.workers[-1][1].is_alive(), "the worker does not end"
        assert not self.errors
        return self.codes[-1]

    def away(self) -> None:
        """The primary answers nobody any more."""
        self.primary.inject("refused", *VERBS, times=NEVER)

    def back(self) -> None:
        self.primary.inject("fit", *VERBS)

    def close(self) -> None:
        for worker, thread in self.workers:
            if thread.is_alive():
                worker.stop(now=True)
                thread.join(60)
        self.real.close()
        self.spool_file.close()


VERBS = (
    "claim",
    "wait",
    "heartbeat",
    "reconcile",
    "ack",
    "retry",
    "fail",
    "release",
    "rescue",
    "promote",
    "paused",
    "ready",
    "put",
    "forget",
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def said(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    return [r.getMessage() for r in caplog.records if text in r.getMessage()]


# its end


def test_an_idle_worker_ends_at_once_and_says_good_bye(place: Place) -> None:
    worker = place.start()
    eventually(lambda: place.real.workers())
    eventually(lambda: place.primary.calls["wait"])
    with Control() as control:
        began = time.monotonic()
        worker.stop()
        assert place.ended() == 0
        took = time.monotonic() - began
    assert took < 1.0 + control.unscheduled, "without waiting for its idle wait"
    eventually(lambda: place.real.workers() == [], what="its last word, on a thread that isn't waited for without end")


def test_running_jobs_end_within_the_grace(place: Place) -> None:
    gate = Gate()
    place.task("gate", gate)
    place.real.put([job("a", "gate"), *jobs(5)])
    worker = place.start(threads=1, grace=20.0)
    gate.entered()
    worker.stop()
    eventually(lambda: worker.primary._stopping and (place.primary.calls["release"] or held(place.real) == 1))
    assert place.workers[-1][1].is_alive()
    gate.open.set()
    assert place.ended() == 0
    assert left(place.real) == [f"j{n:04}" for n in range(5)]
    assert dict(place.real.counters())["processed"] == 1


def test_at_the_end_of_the_grace_the_rest_is_put_back_and_not_counted(place: Place) -> None:
    gate = Gate()
    place.task("gate", gate)
    place.real.put([job("a", "gate"), job("b", "gate")])
    worker = place.start(grace=0.1)
    gate.entered()
    gate.entered()
    worker.stop()
    assert place.ended() == 0
    assert left(place.real) == ["a", "b"]
    eventually(lambda: place.real.workers() == [], what="its last word, on a thread that isn't waited for without end")
    gate.open.set()
    claims = place.real.claim(info("next"), 1, ["q"], 9).claims
    assert b"attempt" not in b"".join(claim.payload for claim in claims)


def test_a_second_stop_is_at_once(place: Place) -> None:
    gate = Gate()
    place.task("gate", gate)
    place.real.put([job("a", "gate")])
    worker = place.start(grace=None)
    gate.entered()
    worker.stop()
    eventually(lambda: place.primary.calls["claim"] >= 1)
    assert place.workers[-1][1].is_alive()
    worker.stop(now=True)
    assert place.ended() == 0
    assert left(place.real) == ["a"]
    gate.open.set()


@pytest.mark.parametrize("told", [False, True])
def test_one_that_is_to_be_replaced_finishes_what_it_runs_unless_it_is_told_to_stop(place: Place, told: bool) -> None:
    gate = Gate()
    place.task("gate", gate)
    place.real.put([job("a", "gate"), job("b")])
    worker = place.start(grace=0.1, member=Membership(max_memory=1))
    gate.entered()
    eventually(lambda: worker.primary._stopping)
    pass_time(0.2)
    assert place.workers[-1][1].is_alive()
    if told:
        worker.stop()
    else:
        gate.open.set()
    assert place.ended() == RECYCLED
    assert [id for id in left(place.real) if id != "b"] == (["a"] if told else [])  # b may have been begun before
    gate.open.set()


def test_one_that_is_too_large_from_the_start_runs_a_job_all_the_same(place: Place) -> None:
    worker = place.start(threads=1, member=Membership(max_memory=1))
    pass_time(1.2)  # a look at its size
    assert place.workers[-1][1].is_alive()
    place.real.put([job("a")])
    assert place.ended() == RECYCLED
    assert worker.primary.ran == 1


def test_a_result_waits_for_the_primary_within_the_grace(place: Place) -> None:
    gate = Gate()
    place.task("gate", gate)
    place.real.put([job("a", "gate")])
    worker = place.start(grace=20.0)
    gate.entered()
    place.away()
    gate.open.set()
    eventually(lambda: worker.primary.reach.failures >= 2)
    worker.stop()
    eventually(lambda: worker.primary.reach.failures >= 4)
    assert place.workers[-1][1].is_alive()
    place.back()
    assert place.ended() == 0
    assert held(place.real) == 0
    assert left(place.real) == []


def test_a_result_that_can_not_be_told_is_left_to_the_lease(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    place.task("gate", gate)
    place.real.put([job("a", "gate")])
    worker = place.start(grace=0.3)
    gate.entered()
    place.away()
    gate.open.set()
    worker.stop()
    assert place.ended() == 0
    assert said(caplog, "1 claim(s) could not be settled")
    assert [d.claimed for d in place.real.depths()] == [1]
    # It said good-bye: nobody has to wait for the lease of a minute
    assert len(place.real.rescue(info("other"), 10)) == 1


def test_a_store_that_hangs_at_the_end_is_not_waited_for(place: Place) -> None:
    hang = threading.Event()
    worker = place.start()
    eventually(lambda: worker.primary.idle)
    place.primary.unregister = lambda info: hang.wait(90)  # type: ignore[method-assign]
    worker.stop()
    assert place.ended(60.0) == 0
    hang.set()


def test_a_primary_that_hangs_keeps_no_good_bye_from_the_spool(place: Place) -> None:
    hang = threading.Event()
    worker = place.start(spool=True, drainer=place.drainer())
    eventually(lambda: worker.primary.idle)
    place.away()  # before it: the drainer would hand it over, and the primary have it
    place.spool_file.spool([job("here", args=("here",))])
    eventually(lambda: place.ran == [("spool", "here")])
    assert [view.info.key for view in place.spool_file.workers() if view.info.kind == "worker"] == ["w"]
    place.primary.unregister = lambda info: hang.wait(90)  # type: ignore[method-assign]
    worker.stop()
    assert place.ended() == 0
    eventually(lambda: place.spool_file.workers() == [], what="its last word, on a thread that isn't waited for without end")
    hang.set()


def test_a_worker_that_is_killed_by_an_exception_still_puts_back_its_claims(place: Place) -> None:
    gate = Gate()
    place.task("gate", gate)
    place.real.put([job("a", "gate"), job("b", "gate"), job("c", "gate")])
    worker = place.worker(grace=0.0)

    def interrupted() -> int:
        gate.entered()
        gate.entered()
        raise KeyboardInterrupt

    worker._watch = interrupted  # type: ignore[method-assign]
    place.workers[-1][1].start()
    place.workers[-1][1].join(60)
    assert [type(error) for error in place.errors] == [KeyboardInterrupt]
    assert left(place.real) == ["a", "b", "c"]
    gate.open.set()


def test_paused_and_resumed(place: Place) -> None:
    worker = place.start()
    eventually(lambda: worker.primary.idle)
    worker.pause()
    eventually(lambda: worker.primary._paused)
    place.real.put(jobs(2))
    worker.pause(False)
    eventually(lambda: len(place.ran) == 2)


def test_an_operators_word_in_the_store_is_obeyed(place: Place) -> None:
    worker = place.start()
    eventually(lambda: worker.primary.idle)
    wishes.say(place.real, worker.info.key, "quiet", 1.0)
    eventually(lambda: worker.primary._paused)
    place.real.put(jobs(2))
    wishes.say(place.real, worker.info.key, "resume", 2.0)
    eventually(lambda: len(place.ran) == 2)
    wishes.say(place.real, worker.info.key, "stop", 3.0)
    assert place.ended() == 0


def test_signals_stop_pause_and_resume(place: Place) -> None:
    """The handlers, called as Python calls them: between any two steps of the main thread."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP)}
    before |= {number: signal.getsignal(number) for number in (signal.SIGUSR2, signal.SIGCONT)}
    worker = place.worker(grace=60.0)
    try:
        worker.install_signals()
        for number in (signal.SIGUSR2, signal.SIGCONT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        orders = [worker._next_order(40.0) for _ in range(3)]
        assert orders == ["pause", "resume", "stop"]
        assert not worker._now
        os.kill(os.getpid(), signal.SIGTERM)
        assert worker._next_order(40.0) == "stop"
        assert worker._now
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_quit_has_no_limit(place: Place) -> None:
    before = {number: signal.getsignal(number) for number in range(1, 32) if number not in (signal.SIGKILL, signal.SIGSTOP)}
    worker = place.worker(grace=60.0)
    try:
        worker.install_signals()
        os.kill(os.getpid(), signal.SIGQUIT)
        assert worker._next_order(40.0) == "stop"
        assert (worker._until, worker._now) == (float("inf"), False)
        os.kill(os.getpid(), signal.SIGTERM)
        assert worker._next_order(40.0) == "stop"
        assert worker._now
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


# its own threads


@pytest.mark.parametrize("name", ["spoolq-worker", "spoolq-worker-wait", "spoolq-job-0", "worker-heartbeat", "worker-rescuer"])
def test_a_worker_one_of_whose_threads_has_ended_ends_as_a_whole(
    place: Place, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = threading.Thread.run

    def ending(thread: threading.Thread) -> None:
        if thread.name != name:
            run(thread)

    monkeypatch.setattr(threading.Thread, "run", ending)
    place.real.put(jobs(3))
    place.start()
    assert place.ended() == 70
    assert name in said(caplog, "to be started anew")[0]
    assert [view for view in place.real.workers() if view.claims and view.lease_left > 0] == [], "it may be taken over at once"


def test_a_wrong_file_that_passes_ends_neither_heartbeat_nor_rescue_nor_what_is_due(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    verbs = ("heartbeat", "rescue", "promote")

    def wrong(*args: Any, **options: Any) -> Any:
        raise ConfigError("a database of something else")

    for verb in verbs:
        setattr(place.primary, verb, wrong)
    worker = place.start(lease=3.0)
    eventually(lambda: len(said(caplog, "a database of something else")) == len(verbs))
    for verb in verbs:
        delattr(place.primary, verb)
    calls = place.primary.calls
    eventually(lambda: calls["heartbeat"], within=20, what="the lease is kept: others look again after half a minute")
    eventually(lambda: calls["rescue"] and calls["promote"])
    assert len(said(caplog, "a database of something else")) == len(verbs), "each tells once"
    assert worker._dead() == []


def test_a_service_that_is_over_is_no_reason_to_end(place: Place) -> None:
    class Brief:
        turns = 0

        def turn(self) -> None:
            self.turns += 1

    brief = Brief()
    worker = place.start(watcher=brief)
    eventually(lambda: brief.turns and worker._services[-1].ended)
    assert worker._dead() == []
    worker.stop()
    assert place.ended() == 0


def test_an_idle_worker_knows_in_an_outage_what_was_paused_before(place: Place) -> None:
    """It had no reason to ask for a job meanwhile."""
    worker = place.start(spool=True)
    eventually(lambda: worker.primary.idle)
    place.real.pause("q")
    eventually(lambda: worker.primary.lineup.known == {"q"})
    place.away()
    local = worker.local
    assert local is not None
    eventually(lambda: local.active)
    place.spool_file.put(jobs(3))
    look = local.look()
    eventually(lambda: local.looked(look))
    assert place.ran == []
    place.back()
    place.real.resume("q")
    eventually(lambda: worker.primary.lineup.known == set())


# bursts


def test_a_burst_ends_when_nothing_is_left(place: Place) -> None:
    place.real.put(jobs(50))
    place.start(burst=True)
    assert place.ended() == 0
    assert len(place.ran) == 50
    assert [d for d in place.real.depths() if d.ready or d.claimed] == []


def test_a_burst_on_nothing_ends_soon(place: Place) -> None:
    began = time.monotonic()
    place.start(burst=True)
    assert place.ended() == 0
    assert time.monotonic() - began < 20


def test_a_burst_runs_what_its_jobs_enqueue(place: Place) -> None:
    def chain(number: int) -> None:
        place.ran.append(("chain", number))
        if number:
            place.real.put([job(f"c{number}", "chain", args=(number - 1,))])
        if number % 2:
            raise ValueError  # its last act was to enqueue, and it failed

    place.task("chain", chain, retries=0)
    place.real.put([job("c", "chain", args=(7,))])
    place.start(burst=True)
    assert place.ended() == 0
    assert [number for _, number in place.ran] == [7, 6, 5, 4, 3, 2, 1, 0]


def test_a_burst_leaves_what_is_scheduled_for_later(place: Place) -> None:
    def broken() -> None:
        raise ValueError

    place.task("broken", broken, backoff=lambda state: 600.0)
    place.real.put([job("a", "broken"), job("later", run_at=time.time() + 3600)])
    place.start(burst=True)
    assert place.ended() == 0
    assert [d.scheduled for d in place.real.depths()] == [2]


def test_a_burst_runs_what_has_come_due(place: Place) -> None:
    now = time.time()
    store = SQLiteStore(place.folder / "primary.db", min_free=0, clock=lambda: now - 100, timeout=20.0)
    store.put([job("due", args=(5,), run_at=now - 50)])
    store.close()
    place.start(burst=True)
    assert place.ended() == 0
    assert place.ran == [("primary", 5)]


def test_a_burst_empties_the_spool_first(place: Place) -> None:
    place.spool_file.spool(jobs(120))
    place.start(burst=True, spool=True, drainer=place.drainer())
    assert place.ended() == 0
    assert sorted(number for _, number in place.ran) == list(range(120))
    assert {where for where, _ in place.ran} == {"primary"}
    assert place.spool_file.waiting() == 0


def test_a_burst_without_its_primary_runs_what_is_here_and_says_69(place: Place) -> None:
    place.away()
    place.spool_file.spool(jobs(5))
    place.spool_file.spool([job("doubt", args=("doubt",))], not_after=time.time() + 100)
    place.start(burst=True, spool=True, drainer=place.drainer())
    assert place.ended() == 69
    assert sorted(place.ran) == [("spool", n) for n in range(5)]
    assert place.spool_file.waiting() == 1


@pytest.mark.parametrize("local", [True, False])
def test_a_burst_with_nothing_anywhere_and_no_primary_ends_with_69(
    place: Place, local: bool, caplog: pytest.LogCaptureFixture
) -> None:
    place.away()
    place.start(burst=True, spool=True, drainer=place.drainer(), local=local)
    assert place.ended() == 69
    assert said(caplog, "the burst ends: the primary can't be reached")


def test_one_lost_answer_is_not_the_end_of_a_burst(place: Place) -> None:
    place.real.put(jobs(20))
    place.primary.inject("lost", "claim", times=2)
    place.start(burst=True)
    assert place.ended() == 0
    assert sorted(number for _, number in place.ran) == list(range(20))


def test_a_burst_ends_with_75_when_the_primary_takes_nothing_from_the_spool(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("spoolq.burst._PATIENCE", 0.2)
    place.primary.inject("refused", "put", "ready", times=NEVER)
    place.spool_file.spool(jobs(3))
    place.start(burst=True, spool=True, drainer=place.drainer())
    assert place.ended() == 75
    assert said(caplog, "they stay safe there")
    assert place.spool_file.waiting() == 3


def test_a_burst_waits_for_a_job_that_runs_locally(place: Place) -> None:
    gate = Gate()
    place.task("gate", gate)
    place.away()
    place.spool_file.spool([job("a", "gate")])
    place.start(burst=True, spool=True, drainer=place.drainer())
    gate.entered()
    place.back()
    eventually(lambda: place.workers[-1][0].primary.reach.available is True)
    assert place.workers[-1][1].is_alive()
    gate.open.set()
    assert place.ended() == 0
    assert place.spool_file.waiting() == 0


def test_a_burst_takes_over_what_a_dead_worker_left(place: Place) -> None:
    place.task("later", place.note, backoff=lambda state: 600.0)  # not due again while the burst goes on
    place.real.put(jobs(2, "later"))
    dead = info("dead", lease=0.01)
    place.real.claim(dead, 1, ["q"], 2)
    eventually(lambda: [v for v in place.real.workers() if v.lease_left < 0])
    place.start(burst=True)
    assert place.ended() == 0
    assert [(d.claimed, d.scheduled) for d in place.real.depths()] == [(0, 2)]


def test_a_burst_with_a_queue_that_can_not_be_read_does_the_rest_and_says_75(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("spoolq.burst._PATIENCE", 2.0)
    place.real.put(jobs(2))
    dead = info("dead", lease=0.01)
    place.real.claim(dead, 1, ["q"], 2)
    eventually(lambda: [v for v in place.real.workers() if v.lease_left < 0])
    place.primary.inject("own", "claim", times=NEVER)
    place.spool_file.spool(jobs(3))
    place.start(burst=True, spool=True, drainer=place.drainer())
    assert place.ended() == 75
    assert said(caplog, "jobs may be left that can't be read")
    # two of the spool's were there already, and one that was taken over may be due again
    assert [(d.claimed, d.ready + d.scheduled) for d in place.real.depths()] == [(0, 3)]
    assert place.spool_file.waiting() == 0


# local work


def test_local_work_begins_with_the_outage_and_ends_with_it(place: Place) -> None:
    worker = place.start(spool=True)
    eventually(lambda: worker.primary.idle)
    place.spool_file.spool([job("before", args=("before",))])
    place.away()
    eventually(lambda: place.ran == [("spool", "before")])
    place.spool_file.spool([job("in", args=("in",))])
    eventually(lambda: len(place.ran) == 2)
    place.back()
    eventually(lambda: worker.primary.reach.available is True)
    local = worker.local
    assert local is not None
    eventually(lambda: not local.active and local._turns % 2 == 0)  # the turn that saw it active is over as well
    claims = place.spool.calls["claim"]
    place.spool_file.spool([job("after", args=("after",))])
    place.real.put([job("there", args=("there",))])
    eventually(lambda: len(place.ran) == 3)
    assert place.ran[-1] == ("primary", "there")
    assert place.spool.calls["claim"] == claims
    assert place.spool_file.waiting() == 1


def test_a_local_job_outlasts_the_outage_and_is_settled_in_the_spool(place: Place) -> None:
    gate = Gate()
    place.task("gate", gate)
    place.away()
    place.spool_file.spool([job("a", "gate")])
    worker = place.start(spool=True, lease=4.0)
    gate.entered()
    place.back()
    eventually(lambda: worker.primary.reach.available is True)
    before = place.spool.calls["heartbeat"]
    eventually(lambda: place.spool.calls["heartbeat"] >= before + 2, what="its lease in the spool is kept")
    gate.open.set()
    eventually(lambda: place.spool_file.waiting() == 0)
    eventually(lambda: worker.local is not None and worker.local.count == 0)


def test_threads_that_are_busy_with_local_work_claim_nothing_from_the_primary(place: Place) -> None:
    gate = Gate()
    place.task("gate", gate)
    place.away()
    place.spool_file.spool([job("a", "gate"), job("b", "gate")])
    worker = place.start(spool=True)
    gate.entered()
    gate.entered()
    place.real.put(jobs(5))
    place.back()
    eventually(lambda: worker.primary.reach.available is True)
    assert held(place.real) == 0
    gate.open.set()
    eventually(lambda: len(place.ran) == 5)


def test_rows_in_doubt_are_not_run_here(place: Place) -> None:
    place.away()
    place.spool_file.spool([job("doubt", args=("doubt",))], not_after=time.time() + 100)
    place.spool_file.spool([job("sure", args=("sure",))])
    worker = place.start(spool=True)
    eventually(lambda: place.ran)
    eventually(lambda: worker.local is not None and worker.local.idle)
    assert place.ran == [("spool", "sure")]


def test_without_local_work_the_spool_is_left_alone(place: Place) -> None:
    place.away()
    place.spool_file.spool(jobs(2))
    worker = place.start(spool=True, local=False)
    eventually(lambda: worker.primary.reach.failures >= 3)
    assert place.ran == []
    assert worker.local is None
    assert place.spool.calls["claim"] == 0


def test_a_spool_that_was_never_needed_knows_nothing_of_the_worker(place: Place) -> None:
    worker = place.start(spool=True)
    eventually(lambda: worker.primary.idle)
    worker.stop()
    assert place.ended() == 0
    assert {verb for verb, count in place.spool.calls.items() if count} == {"waiting"}


@pytest.mark.parametrize("how", ["refused", "broken"])
def test_with_a_spool_that_does_not_work_it_goes_on_with_its_primary(place: Place, how: str) -> None:
    place.spool.inject(how, "waiting", "claim", "take", "heartbeat", "promote", "rescue", times=NEVER)
    if how == "broken":
        place.spool.inject("fit", "waiting")
    worker = place.start(spool=True, drainer=place.drainer())
    place.real.put(jobs(10))
    eventually(lambda: len(place.ran) == 10)
    worker.stop()
    assert place.ended() == 0


def test_a_damaged_spool_keeps_no_worker_from_its_primary(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "bad" / "spool.db"
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 1000)
    bad = file(path, role="spool")
    place.spool = Flaky(bad)
    worker = place.start(spool=True, drainer=place.drainer())
    place.real.put(jobs(10))
    eventually(lambda: len(place.ran) == 10)
    worker.stop()
    assert place.ended() == 0
    bad.close()


def test_a_spool_of_another_destination_is_refused_before_anything_runs(place: Place, tmp_path: Path) -> None:
    file(tmp_path / "theirs.db", role="spool", destination="redis://other/0").register(info("x"))
    theirs = file(tmp_path / "theirs.db", role="spool", destination="redis://ours/0")
    place.spool = Flaky(theirs)
    place.real.put(jobs(1))
    place.start(spool=True)
    place.workers[-1][1].join(60)
    assert [type(error) for error in place.errors] == [ConfigError]
    assert "redis://other/0" in str(place.errors[0])
    assert place.ran == []
    theirs.close()


def test_a_primary_that_can_not_be_used_ends_the_worker_with_the_reason(place: Place, tmp_path: Path) -> None:
    (tmp_path / "other.db").touch()
    import sqlite3

    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE t (a)")
    place.primary = Flaky(file(tmp_path / "other.db"))
    place.start()
    place.workers[-1][1].join(60)
    assert [type(error) for error in place.errors] == [ConfigError]


# leases and rescue


def test_a_short_lease_is_kept_by_a_job_that_outlasts_it(place: Place) -> None:
    gate = Gate()
    place.task("gate", gate)
    place.real.put([job("a", "gate")])
    place.start(lease=4.0)
    gate.entered()
    beats = place.primary.calls["heartbeat"]
    eventually(lambda: place.primary.calls["heartbeat"] >= beats + 5)
    assert place.real.rescue(info("other"), 10) == []
    gate.open.set()
    eventually(lambda: held(place.real) == 0)
    assert gate.count == 1


def test_a_dead_worker_s_jobs_run_again(place: Place) -> None:
    place.real.put(jobs(3))
    place.real.claim(info("dead", lease=0.05), 1, ["q"], 3)
    place.start(lease=3.0)
    eventually(lambda: len(place.ran) == 3)
    assert sorted(number for _, number in place.ran) == [0, 1, 2]
    assert dict(place.real.counters())["retried"] == 3


def test_what_runs_is_shown_soon_and_not_afterwards(place: Place) -> None:
    gate = Gate()
    place.task("gate", gate)
    place.real.put([job("a", "gate")])
    place.start()
    gate.entered()
    eventually(
        lambda: [w for view in place.real.workers() for w in view.working], within=15
    )  # the next heartbeat comes after 20 s
    gate.open.set()
    eventually(lambda: held(place.real) == 0)
    assert [w for view in place.real.workers() for w in view.working] == []


def test_an_outage_is_told_once(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    worker = place.start(lease=3.0)
    eventually(lambda: worker.primary.idle)
    place.away()
    eventually(lambda: worker.primary.reach.failures >= 3)
    place.back()
    eventually(lambda: worker.primary.reach.available is True)
    assert len(said(caplog, "nobody listens")) == 1
    assert len(said(caplog, "answers again")) == 1


def test_expired_jobs_are_dropped_and_counted(place: Place) -> None:
    place.real.put([message(Job("old", "note", "q", (1,), expires_at=time.time() - 1)), *jobs(1)])
    place.start(burst=True)
    assert place.ended() == 0
    assert [number for _, number in place.ran] == [0]
    assert place.real.counters()["expired"] == 1


def test_failures_for_which_there_is_no_room_hold_up_neither_the_work_nor_its_end(tmp_path: Path) -> None:
    """They fill what is kept for settling. The jobs behind them end, and they are told as soon as there is room."""
    store = SQLiteStore(tmp_path / "full.db", max_bytes=2 << 20, min_free=0, timeout=20.0)
    ran: list[int] = []

    def bad(number: int) -> None:
        raise ValueError("x" * 40_000)

    tasks = Tasks()
    for name, function in (("bad", bad), ("good", ran.append)):
        policy = RetryPolicy(retries=0)
        tasks.add(Task(function, name=name, queue="q", owner=None, policy=policy))  # type: ignore[arg-type]
    store.put([message(Job(f"bad-{n}", "bad", "q", (n,))) for n in range(60)])
    store.put([message(Job(f"good-{n}", "good", "q", (n,))) for n in range(200)])
    worker = Worker(store, tasks, info(threads=2))
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        eventually(lambda: store.counters().get("processed") == 200, within=60, what="the good ones, acknowledged")
        assert len(ran) == 200
        assert 0 < store.failures.count() < 60
        eventually(lambda: store.waiting() + store.failures.count() == 60)  # one may be told between the two looks

        def told() -> bool:
            store.failures.prune(time.time())
            return store.counters().get("failed") == 60

        eventually(told, within=60, what="all failures, told")
        assert store.waiting() == 0
    finally:
        worker.stop()
        thread.join(60)
        store.close()
    assert not thread.is_alive()
