"""Every way in which a job can end is an outcome, never an exception."""

from __future__ import annotations

import asyncio
import itertools
import json
import platform
from collections.abc import Callable
from typing import Any

import pytest

import spoolq
from spoolq import tracking, wire
from spoolq.current import Current, current
from spoolq.errors import Discard, Retry, WorkerDied
from spoolq.job import Attempt, Claim, Job
from spoolq.outcome import PROCESSED, Done, Failed, Outcome, Pending, RetryLater
from spoolq.reporter import Reporter
from spoolq.retry import RetryPolicy
from spoolq.runner import Runner
from spoolq.store.base import WorkerInfo
from spoolq.tasks import Task, Tasks
from tests.unit.hands import info, job

NOW = 1_800_000_000.0


def claim(payload: bytes | None = None, **more: Any) -> Claim:
    return Claim("t1", "w", "q", job("j1", **more).payload if payload is None else payload)


def runner(function: Callable[..., Any] | None = None, clock: Callable[[], float] = lambda: NOW, **policy: Any) -> Runner:
    tasks = Tasks()
    if function is not None:
        tasks.add(Task(function, name="note", queue="q", owner=None, policy=RetryPolicy(**policy)))  # type: ignore[arg-type]
    ticks = itertools.count()
    return Runner(tasks, info(), "primary", clock, timer=lambda: 1.5 * next(ticks))


def raising(error: BaseException) -> Callable[..., Any]:
    def task(*args: Any) -> None:
        raise error

    return task


def failure_of(outcome: Outcome | Pending) -> Any:
    assert isinstance(outcome, Failed), outcome
    return outcome.failure


def test_a_job_that_returns_is_done() -> None:
    ran: list[Any] = []
    assert runner(ran.append).run(claim(args=(5,))) == Done("processed")
    assert ran == [5]


def test_what_is_left_of_a_coroutine_is_to_be_awaited_and_told() -> None:
    ran: list[Any] = []

    async def task(x: int) -> None:
        await asyncio.sleep(0)
        job = current()
        ran.append((x, job.id if job else None))

    one = runner(task, retries=0)
    pending = one.run(claim(args=(5,)))
    assert isinstance(pending, Pending)
    assert ran == []
    assert current() is None

    async def drive() -> None:
        await asyncio.get_running_loop().create_task(pending.awaitable, context=pending.context)  # type: ignore[arg-type]

    asyncio.run(drive())
    assert ran == [(5, "j1")]
    assert one.finish(pending, None, 7, 0.5) == Done("processed")
    assert failure_of(one.finish(pending, ValueError("no"), 7, 0.5)).worker == "host:4242+7:q"


def test_what_is_not_awaited_is_closed_without_a_word(recwarn: pytest.WarningsRecorder) -> None:
    async def task() -> None: ...

    pending = runner(task).run(claim())
    assert isinstance(pending, Pending)
    pending.close()
    del pending
    assert not recwarn.list


def test_the_task_knows_its_job_and_nobody_else_does() -> None:
    seen: list[Any] = []

    def task() -> None:
        job = current()
        assert job is not None
        seen.append((job.id, job.attempt, job.fresh, job.store))

    one = runner(task)
    one.run(claim())
    one.run(claim(attempt=2))
    one.run(claim(job("j2", run=1).payload))
    one.run(claim(job("j3", crashes=1).payload))
    assert seen == [
        ("j1", 0, True, "primary"),
        ("j1", 2, False, "primary"),
        ("j2", 0, False, "primary"),
        ("j3", 0, False, "primary"),
    ]
    assert current() is None


def test_it_is_forgotten_after_a_failure_too() -> None:
    runner(raising(ValueError())).run(claim())
    assert current() is None


def test_an_error_is_tried_again_with_the_attempt_counted() -> None:
    outcome = runner(raising(ValueError("no"))).run(claim(attempt=1))
    assert isinstance(outcome, RetryLater)
    fields = json.loads(outcome.payload)
    assert (fields["attempt"], fields["id"]) == (2, "j1")
    assert fields["history"] == [
        {"n": 2, "at": NOW, "exception": "ValueError", "error": "no", "worker": "host:4242", "took": 1.5}
    ]
    assert NOW + 2 <= outcome.at <= NOW + 4


def test_a_task_sees_how_its_last_attempts_ended() -> None:
    seen: list[tuple[Attempt, ...]] = []

    def task() -> None:
        job = current()
        assert job is not None
        seen.append(job.job.history)
        raise ValueError(f"failure {len(seen)}")

    one, at = runner(task, retries=99), claim()
    for _ in range(13):
        outcome = one.run(at)
        assert isinstance(outcome, RetryLater), outcome
        at = claim(outcome.payload)
    assert [len(history) for history in seen] == [*range(11), 10, 10]
    assert [(last.number, last.error) for last in seen[12]] == [(n, f"failure {n}") for n in (1, *range(4, 13))]
    assert {last.worker for last in seen[12]} == {"host:4242"}


def test_no_attempt_is_made_past_retry_for() -> None:
    now = [NOW]
    one, at = runner(raising(Retry(20)), clock=lambda: now[0], retries=None, retry_for=50), claim()
    for _ in range(2):
        outcome = one.run(at)
        assert isinstance(outcome, RetryLater), outcome
        assert outcome.at == now[0] + 20
        at, now[0] = claim(outcome.payload), outcome.at
    failure = failure_of(one.run(at))
    assert (failure.attempts, failure.failed_at) == (3, NOW + 40)
    assert failure.backtrace[-1].endswith("another attempt would begin 60 s after the first one failed: retry_for=50")


def test_at_the_end_it_is_a_failure_with_its_trace() -> None:
    failure = failure_of(runner(raising(ValueError("no luck")), retries=2).run(claim(attempt=2), 3))
    assert (failure.id, failure.queue, failure.exception, failure.error) == ("j1", "q", "ValueError", "no luck")
    assert (failure.attempts, failure.failed_at, failure.worker) == (3, NOW, "host:4242+3:q")
    assert "in task" in failure.backtrace[1]  # how the worker came to call it is left out
    assert failure.payload == claim(attempt=2).payload
    assert failure.history == (Attempt(3, NOW, "ValueError", "no luck", "host:4242", 1.5),)
    assert (failure.host, failure.pid) == ("host", 4242)
    assert failure.versions == {"spoolq": spoolq.__version__, "python": platform.python_version()}
    assert wire.decode_failure(wire.encode_failure(failure)) == failure


def test_the_task_may_say_when_to_try_again_and_that_it_is_of_no_use() -> None:
    outcome = runner(raising(Retry(7))).run(claim())
    assert isinstance(outcome, RetryLater)
    assert outcome.at == NOW + 7
    assert runner(raising(Discard())).run(claim()) == Done("discarded")


def test_an_expired_job_is_not_run() -> None:
    ran: list[Any] = []
    one = runner(ran.append)
    assert one.run(claim(args=(1,), expires_at=NOW)) == Done("expired")
    assert one.run(claim(args=(2,), expires_at=NOW + 1)) == Done("processed")
    assert ran == [2]


def test_an_unknown_task_is_tried_again_for_a_while_and_then_fails_with_what_to_do() -> None:
    one = runner()
    first = one.run(claim())
    assert isinstance(first, RetryLater)
    assert first.at >= NOW + 10
    failure = failure_of(one.run(claim(attempt=3)))
    assert failure.exception == "UnknownTask"
    assert "no task named 'note' is registered in this worker" in failure.error
    assert "import the module that defines it" in failure.error


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"args":[]}', b'{"class":7}', b"\xff\xfe", b"[" * 100_000, b"null"])
def test_what_is_not_a_job_is_a_failure_with_its_bytes(payload: bytes) -> None:
    failure = failure_of(runner(lambda: None).run(claim(payload)))
    assert failure.exception == "PayloadError"
    assert failure.payload == payload
    assert [(one.number, one.exception, one.took) for one in failure.history] == [(1, "PayloadError", None)]
    assert wire.decode_failure(wire.encode_failure(failure)).payload == payload


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError(), MemoryError(), RecursionError()]
)
def test_no_exception_of_a_task_gets_through(error: BaseException) -> None:
    assert isinstance(runner(raising(error), retries=0).run(claim()), Failed)


def test_a_job_that_calls_itself_for_ever_is_a_failure() -> None:
    def task() -> None:
        task()

    failure = failure_of(runner(task, retries=0).run(claim()))
    assert failure.exception == "RecursionError"
    assert len(failure.backtrace) < 200


class Nasty(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


def test_an_error_whose_text_can_not_be_had() -> None:
    failure = failure_of(runner(raising(Nasty()), retries=0).run(claim()))
    assert failure.exception == "Nasty"
    assert "can't be had" in failure.error


@pytest.mark.parametrize("text", ["\ud800", "\0", "é" * 100_000, "\n\r\u2028"])
def test_any_text_can_be_written_down(text: str) -> None:
    failure = failure_of(runner(raising(ValueError(text)), retries=0).run(claim()))
    assert wire.decode_failure(wire.encode_failure(failure)).exception == "ValueError"


def test_a_mistake_of_the_policy_s_own_ends_in_an_outcome() -> None:
    def backoff(state: Any) -> float:
        raise SystemExit

    one = runner(raising(ValueError()), backoff=backoff)
    assert isinstance(one.run(claim()), (RetryLater, Failed))
    assert isinstance(one.died(claim()), (RetryLater, Failed))


def test_arguments_that_do_not_fit_are_an_error_like_any_other() -> None:
    def task(a: int) -> None: ...

    failure = failure_of(runner(task, retries=0).run(claim(args=(1, 2))))
    assert failure.exception == "TypeError"


def test_a_foreign_payload_runs_and_gets_an_id_when_it_is_tried_again() -> None:
    ran: list[Any] = []

    def task(*args: Any) -> None:
        ran.append(args)
        raise ValueError

    one = runner(task)
    first = one.run(claim(b'{"class":"note","queue":"q","args":[1,{"a":1.0}],"more":12345678901234567890123}'))
    assert isinstance(first, RetryLater)
    fields = json.loads(first.payload)
    assert ran == [(1, {"a": 1.0})]
    assert fields["attempt"] == 1
    assert fields["id"]
    assert b'"more":12345678901234567890123' in first.payload
    second = one.run(claim(first.payload))
    assert isinstance(second, RetryLater)
    assert json.loads(second.payload)["id"] == fields["id"]


# a worker that died


def test_a_dead_worker_is_counted_apart_from_the_attempts() -> None:
    outcome = runner(lambda: None, retries=0).died(claim())
    assert isinstance(outcome, RetryLater)
    fields = json.loads(outcome.payload)
    assert (fields.get("attempt"), fields["crashes"]) == (None, 1)
    assert fields["history"] == [{"n": 1, "at": NOW, "exception": "WorkerDied", "error": str(WorkerDied())}]


def test_where_it_was_is_told_if_the_dead_worker_is_known() -> None:
    dead = WorkerInfo("d", "other", 77, ("q",))
    for why in (None, MemoryError()):
        outcome = runner(lambda: None).died(claim(), why, dead)
        assert isinstance(outcome, RetryLater)
        assert json.loads(outcome.payload)["history"][0]["worker"] == "other:77"
    failure = failure_of(runner(lambda: None, max_crashes=1).died(claim(), None, dead))
    assert (failure.host, failure.pid, failure.history[0].worker) == ("other", 77, "other:77")


def test_what_struck_the_thread_is_an_attempt_and_no_crash() -> None:
    outcome = runner(lambda: None).died(claim(), MemoryError("none left"))
    assert isinstance(outcome, RetryLater)
    fields = json.loads(outcome.payload)
    assert (fields["attempt"], fields.get("crashes")) == (1, None)
    assert [(one["exception"], one["worker"]) for one in fields["history"]] == [("MemoryError", "host:4242")]


@pytest.mark.parametrize(("retries", "options", "deaths"), [(0, {}, 3), (5, {}, 3), (0, {"max_crashes": 5}, 5)])
def test_a_job_that_keeps_killing_its_worker_ends_in_the_failure_log(retries: int, options: dict[str, int], deaths: int) -> None:
    one, at = runner(lambda: None, retries=retries, **options), claim(attempt=1)
    for _ in range(deaths - 1):
        outcome = one.died(at)
        assert isinstance(outcome, RetryLater), outcome
        at = claim(outcome.payload)
    failure = failure_of(one.died(at))
    assert (failure.exception, failure.attempts, failure.host, failure.pid) == ("WorkerDied", 1 + deaths, "", None)
    assert "killed" in failure.error
    assert failure.backtrace == (
        f"this job's worker died {deaths} times while it ran it; it isn't tried again: max_crashes={deaths}",
    )
    assert [last.number for last in failure.history] == list(range(2, deaths + 2))


def test_a_dead_worker_s_claim_of_an_unknown_task_or_an_unreadable_payload() -> None:
    assert isinstance(runner().died(claim()), RetryLater)
    assert failure_of(runner().died(claim(b"{"))).exception == "PayloadError"


def test_a_job_of_an_unknown_task_that_kills_its_worker_is_given_up_after_three() -> None:
    assert isinstance(runner().died(claim(crashes=1)), RetryLater)
    assert failure_of(runner().died(claim(crashes=2))).exception == "WorkerDied"
    foreign = b'{"class":"note","queue":"q","args":[],"crashes":"many","history":"long"}'
    assert isinstance(runner().died(claim(foreign)), RetryLater)


@pytest.mark.parametrize("policy", [{"max_crashes": 1}, {"max_crashes": 5, "give_up_on": (WorkerDied,)}])
def test_what_must_not_be_begun_again_is_not_also_where_somebody_without_its_task_settled_the_death(policy: Any) -> None:
    ran: list[Any] = []
    settled = runner().died(claim())
    assert isinstance(settled, RetryLater)
    failure = failure_of(runner(lambda: ran.append(1), **policy).run(claim(settled.payload)))
    assert (failure.exception, failure.attempts, ran) == ("WorkerDied", 1, [])
    assert "max_crashes=1" in failure.backtrace[0] or "give_up_on" in failure.backtrace[0]


def test_what_a_dead_worker_had_begun_without_dying_of_it_runs_again_at_once_knows_it_and_counts_nothing() -> None:
    outcome = runner(lambda: None, retries=0).interrupted(claim())
    assert isinstance(outcome, RetryLater)
    job = wire.decode(outcome.payload, "q")
    assert (outcome.at, job.begun, job.attempt, job.crashes, job.history) == (0.0, True, 0, 0, ())
    seen = []
    runner(lambda *args: seen.append(current())).run(claim(outcome.payload))
    assert [one.fresh for one in seen] == [False]
    assert runner().interrupted(claim(b"no job")) is None


# what is remembered of a job, and its being called back


class Reporting(Reporter):
    """Without a thread; `asks` is what the store says when it is asked whether a job is to stop."""

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[arg-type]
        self.asks: list[str] = []
        self.wanted = False

    def wake(self) -> None:
        pass

    def asked(self, id: str) -> bool:
        self.asks.append(id)
        return self.wanted


TRACK: dict[str, Any] = {"track": 60.0, "result": True}


def reporting(function: Callable[..., Any], **policy: Any) -> tuple[Runner, Reporting]:
    one = runner(function, **policy)
    one.reporter = reporter = Reporting()
    return one, reporter


def said(outcome: Outcome | Pending) -> str:
    """The status that the outcome's effects leave."""
    assert not isinstance(outcome, Pending)
    kept = {key: value for key, value, ttl in outcome.effects.values if ttl}
    return tracking.read([kept.get(key) for key in tracking.keys("j1")])


def counted(outcome: Outcome | Pending) -> str:
    assert isinstance(outcome, Done), outcome
    return outcome.counter


def test_a_tracked_job_says_how_it_ended_in_the_step_that_settles_it() -> None:
    assert said(runner(lambda: 7).run(claim(**TRACK))) == "done"
    assert said(runner(raising(ValueError("no")), retries=0).run(claim(**TRACK))) == "failed"
    assert said(runner(raising(ValueError("no")), retries=1).run(claim(**TRACK))) == "retrying"
    assert said(runner(raising(Discard())).run(claim(**TRACK))) == "discarded"
    assert said(runner().run(claim(expires_at=NOW - 1, **TRACK))) == "expired"
    assert said(runner(lambda: 7).died(claim(**TRACK))) == "retrying"
    assert said(runner(lambda: 7).died(claim(crashes=2, **TRACK))) == "failed"


def test_a_job_that_is_not_tracked_says_nothing_and_its_store_is_not_asked() -> None:
    one, reporter = reporting(lambda: 7)
    assert one.run(claim()) is PROCESSED
    assert reporter.asks == []


def test_the_result_of_what_was_awaited_is_kept() -> None:
    async def task() -> int:
        return 7

    one, reporter = reporting(task)
    pending = one.run(claim(**TRACK))
    assert isinstance(pending, Pending)
    assert pending.run in reporter._runs
    pending.close()
    outcome = one.finish(pending, None, 0, 0.1, 7)
    values = {key: value for key, value, _ in outcome.effects.values}
    assert tracking.outcome("j1", [None, values["job:j1"], None]) == 7
    assert not reporter._runs


def test_a_tracked_job_that_was_cancelled_on_its_way_is_not_begun() -> None:
    ran: list[Any] = []
    one, reporter = reporting(ran.append)
    reporter.wanted = True
    outcome = one.run(claim(args=(1,), **TRACK))
    assert (counted(outcome), said(outcome), ran) == ("cancelled", "cancelled", [])
    assert not reporter._runs


@pytest.mark.parametrize("ends", ["returns", "discards", "raises"])
def test_a_job_that_was_asked_to_stop_and_knows_it_is_cancelled_however_it_ends(ends: str) -> None:
    def task() -> None:
        job = spoolq.current_job()
        assert job is not None
        assert not job.cancelled
        [run] = reporter._runs
        run.asked = True
        assert job.cancelled
        if ends != "returns":
            raise Discard if ends == "discards" else ValueError("no")

    one, reporter = reporting(task)
    assert counted(one.run(claim())) == "cancelled"


def test_a_job_that_never_looked_is_done() -> None:
    def task() -> int:
        [run] = reporter._runs
        run.asked = True
        return 7

    one, reporter = reporting(task)
    assert said(one.run(claim(**TRACK))) == "done"


def test_one_that_fails_and_is_wanted_no_more_is_not_tried_again() -> None:
    one, reporter = reporting(raising(ValueError("no")), retries=3)
    assert isinstance(one.run(claim()), RetryLater)
    reporter.wanted = True
    assert counted(one.run(claim())) == "cancelled"
    assert counted(one.died(claim())) == "cancelled"
    assert reporter.asks == ["j1", "j1", "j1"]


def test_outside_of_a_worker_progress_says_nothing() -> None:
    current = Current(Job("j1", "t", "q", ()), "primary")
    current.progress(0.5, "half")
    assert not current.cancelled
