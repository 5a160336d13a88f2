"""Hooks around launches and runs: their order, what they may change, and what becomes of one that fails."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spoolq import Discard, Middleware, PayloadError, Receipt, Retry, SpoolQ, current_job
from spoolq.breaker import Breaker
from spoolq.drain import Drainer
from spoolq.errors import ConfigError, NotStored, TimeLimit, WorkerDied
from spoolq.job import Job, Message, new_id
from spoolq.middleware import NAMES
from spoolq.store.sqlite import SQLiteStore
from tests.unit.test_drain import WHO, Primary, no_wait
from tests.waiting import eventually

said: ContextVar[str] = ContextVar("said", default="")


class Recorder(Middleware):
    """Notes every call, as `name` of the middleware and of the hook."""

    def __init__(self, name: str, calls: list[Any]) -> None:
        self.name, self.calls = name, calls

    def note(self, hook: str, *what: Any) -> None:
        self.calls.append((self.name, hook, *what))

    def before_enqueue(self, job: Job) -> None:
        self.note("before_enqueue", job.id)

    def after_enqueue(self, job: Job, receipt: Receipt) -> None:
        assert job.id == receipt.id
        self.note("after_enqueue", job.id, receipt.route)

    def on_spooled(self, job: Job) -> None:
        self.note("on_spooled", job.id)

    def on_rejected(self, job: Job, error: Exception) -> None:
        self.note("on_rejected", job.id, type(error))

    def before_run(self, job: Job) -> None:
        self.note("before_run", job.id)

    @contextmanager
    def around_run(self, job: Job) -> Iterator[None]:
        self.note("begin", job.id)
        try:
            yield
        finally:
            self.note("end", job.id)

    def after_run(self, job: Job, result: Any, error: BaseException | None) -> None:
        self.note("after_run", job.id, result, type(error))

    def on_failure(self, job: Job, error: BaseException, will_retry: bool) -> None:
        self.note("on_failure", job.id, type(error), will_retry)


@pytest.fixture
def q(tmp_path: Path) -> Iterator[SpoolQ]:
    with SpoolQ(f"sqlite:///{tmp_path / 'jobs.db'}", spool_min_free=0) as q:
        yield q


@pytest.fixture
def calls() -> list[Any]:
    return []


@pytest.fixture
def away(tmp_path: Path) -> Iterator[SpoolQ]:
    """One whose Redis refuses connections."""
    with SpoolQ("redis://127.0.0.1:1/0", spool=tmp_path / "spool.db", spool_min_free=0) as q:
        yield q


def work(q: SpoolQ) -> None:
    assert q.worker(burst=True, threads=1).run() == 0


# which of them


def test_what_is_no_middleware_is_refused(q: SpoolQ) -> None:
    class Good(Middleware): ...

    class Typo(Middleware):
        def before_enqeue(self, job: Job) -> None: ...

    class Camel(Middleware):
        def beforeEnqueue(self, job: Job) -> None: ...  # noqa: N802

    class Asynchronous(Middleware):
        async def before_run(self, job: Job) -> None: ...  # type: ignore[override]

    class Yielding(Middleware):
        def around_run(self, job: Job) -> Iterator[None]:  # type: ignore[override]
            yield

    for wrong, match in (
        (Good, r"is a class: give an instance of it"),
        (object(), "is no middleware"),
        (None, "is no middleware"),
        (Typo(), r"before_enqeue would never be called: is before_enqueue meant"),
        (Camel(), r"is before_enqueue meant"),
        (Asynchronous(), "hooks are plain methods"),
        (Yielding(), "contextmanager"),
    ):
        with pytest.raises(ConfigError, match=match):
            q.middleware(wrong)  # type: ignore[type-var]
    with pytest.raises(ConfigError, match="is a class"):
        SpoolQ("sqlite:///x.db", middleware=[Good])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="a list of instances is needed"):
        SpoolQ("sqlite:///x.db", middleware=Good())  # type: ignore[arg-type]


def test_methods_of_its_own_are_let_be(q: SpoolQ) -> None:
    class Mine(Middleware):
        def on_connect(self) -> None: ...
        def after_all(self) -> None: ...

    mine = Mine()
    assert q.middleware(mine) is mine
    assert not q.hooks.at_launch
    assert not q.hooks.at_run
    assert not any(q.hooks.has(name) for name in NAMES)


def test_given_to_the_application_it_is_there_from_the_start(tmp_path: Path, calls: list[Any]) -> None:
    with SpoolQ(f"sqlite:///{tmp_path / 'jobs.db'}", spool_min_free=0, middleware=[Recorder("a", calls)]) as q:
        q.remote("t").using(id="j").enqueue()
    assert calls == [("a", "before_enqueue", "j"), ("a", "after_enqueue", "j", "primary")]


# launches


def test_those_before_a_launch_come_in_order_and_those_after_it_the_other_way_round(q: SpoolQ, calls: list[Any]) -> None:
    for name in "ab":
        q.middleware(Recorder(name, calls))
    t = q.remote("t")
    q.enqueue_many([t.using(id="1").job(), t.using(id="2").job()])
    assert calls == [
        *[(name, "before_enqueue", id) for id in "12" for name in "ab"],
        *[(name, "after_enqueue", id, "primary") for id in "12" for name in "ba"],
    ]


def test_a_job_may_be_changed_by_one_after_the_other(q: SpoolQ) -> None:
    class Add(Middleware):
        def __init__(self, key: str) -> None:
            self.key = key

        def before_enqueue(self, job: Job) -> Job:
            return replace(job, extra={**job.extra, self.key: len(job.extra)}, queue="elsewhere")

    for key in ("x", "y"):
        q.middleware(Add(key))
    q.remote("t").enqueue(1)
    [claim] = q.primary.claim(q.worker_info(("elsewhere",), 1), 1, ("elsewhere",), 5).claims
    assert b'"x":0,"y":1' in claim.payload


@pytest.mark.parametrize("how", ["enqueue", "aenqueue"])
def test_a_veto_stores_nothing_and_the_receipt_tells(q: SpoolQ, calls: list[Any], how: str) -> None:
    class Veto(Middleware):
        def before_enqueue(self, job: Job) -> None:
            if job.args == ("bad",):
                raise Discard

    q.middleware(Veto())
    q.middleware(Recorder("later", calls))
    t = q.remote("t")
    launch = t.using(id="j")
    receipt = launch.enqueue("bad") if how == "enqueue" else asyncio.run(launch.aenqueue("bad"))
    assert receipt == Receipt("j", "vetoed", new=False)
    assert (calls, q.primary.depths()) == ([], [])
    receipts = q.enqueue_many([t.job("good"), t.job("bad"), t.job("good")])
    assert [receipt.route for receipt in receipts] == ["primary", "vetoed", "primary"]
    assert len({receipt.id for receipt in receipts}) == 3
    [depth] = q.primary.depths()
    assert depth.ready == 2


def test_any_other_error_reaches_the_caller_and_nothing_is_stored(q: SpoolQ, calls: list[Any]) -> None:
    class Strict(Middleware):
        def before_enqueue(self, job: Job) -> None:
            if job.args == ("bad",):
                raise LookupError("no tenant")

    q.middleware(Recorder("a", calls))
    q.middleware(Strict())
    t = q.remote("t")
    with pytest.raises(LookupError, match="no tenant"):
        q.enqueue_many([t.job("good"), t.job("bad")])
    with pytest.raises(LookupError, match="no tenant"):
        asyncio.run(t.aenqueue("bad"))
    assert q.primary.depths() == []
    assert {hook for _, hook, *_ in calls} == {"before_enqueue"}


def test_what_is_put_in_a_job_s_place_must_be_one(q: SpoolQ) -> None:
    class Wrong(Middleware):
        def before_enqueue(self, job: Job) -> Any:
            return False

    q.middleware(Wrong())
    with pytest.raises(TypeError, match="returned False: a job is needed, or None"):
        q.remote("t").enqueue()
    assert q.primary.depths() == []


@pytest.mark.parametrize(
    "change",
    [
        {"queue": "*"},
        {"queue": "spoolq:relay"},
        {"queue": ""},
        {"run_at": float("inf")},
        {"run_at": "soon"},
        {"run": 1},
        {"crashes": 1},
        {"begun": True},
    ],
    ids=str,
)
def test_what_no_launch_could_say_no_hook_can(q: SpoolQ, change: dict[str, Any]) -> None:
    class Wrong(Middleware):
        def before_enqueue(self, job: Job) -> Job:
            return replace(job, **change)

    q.middleware(Wrong())
    note = q.task(name="note")(lambda: None)
    for launch in (note, note.using(after=[note.job()])):
        with pytest.raises(PayloadError, match=r"Wrong.before_enqueue returned a job that can't be: .*Nothing was stored"):
            launch.enqueue()
    assert q.primary.depths() == []


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_an_end_of_the_process_that_a_hook_asks_for_is_the_caller_s_and_the_job_is_stored(
    q: SpoolQ, end: type[BaseException]
) -> None:
    class Ends(Middleware):
        def after_enqueue(self, job: Job, receipt: Receipt) -> None:
            raise end

    q.middleware(Ends())
    with pytest.raises(end):
        q.remote("t").enqueue()
    assert [depth.ready for depth in q.primary.depths()] == [1]


def test_a_tick_goes_through_no_hook(q: SpoolQ, calls: list[Any]) -> None:
    """One that gave it another id would have a second host put it again."""

    class Renames(Middleware):
        def before_enqueue(self, job: Job) -> Job:
            return replace(job, id=new_id())

    for one in (Renames(), Recorder("a", calls)):
        q.middleware(one)
    q.periodic(1)(q.task(name="tick")(lambda: None))
    [(_, turn)] = q._ticking()
    eventually(lambda: turn() and q.primary.depths())
    assert calls == []


def test_what_is_told_afterwards_can_not_fail_a_launch(q: SpoolQ, calls: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Middleware):
        def after_enqueue(self, job: Job, receipt: Receipt) -> None:
            raise OSError("no statistics today")

    q.middleware(Recorder("a", calls))
    q.middleware(Broken())
    assert q.remote("t").enqueue().route == "primary"
    assert calls[-1][1] == "after_enqueue"
    assert "after_enqueue failed" in caplog.text
    assert "no statistics today" in caplog.text


def test_jobs_that_follow_are_seen_at_the_launch_too_each_once(q: SpoolQ, calls: list[Any]) -> None:
    class Tag(Middleware):
        def before_enqueue(self, job: Job) -> Job:
            if job.args == ("bad",):
                raise Discard
            calls.append(job.args[0])
            return replace(job, extra={"tag": 1})

    q.middleware(Tag())
    ran: list[Any] = []

    @q.task
    def note(value: object) -> None:
        job = current_job()
        assert job is not None
        ran.append((value, job.job.extra))

    note.using(after=[note.using(after=[note.job("grandchild")]).job("child"), note.job("bad")]).enqueue("parent")
    q.batch([note.job(1), note.job("bad"), note.job(2)], then=note.job("then"))
    q.batch([note.job(3)], then=note.job("bad"))
    assert calls == ["parent", "child", "grandchild", 1, "then", 2, 3]
    work(q)
    assert sorted(str(value) for value, _ in ran) == ["1", "2", "3", "child", "grandchild", "parent", "then"]
    assert all(extra == {"tag": 1} for _, extra in ran)


def test_a_batch_that_is_vetoed_whole_puts_nothing(q: SpoolQ) -> None:
    class Veto(Middleware):
        def before_enqueue(self, job: Job) -> None:
            raise Discard

    q.middleware(Veto())
    t = q.remote("t")
    batch = q.batch([t.job(), t.job()], then=t.job())
    assert [receipt.route for receipt in batch.receipts] == ["vetoed", "vetoed"]
    assert q.primary.depths() == []


def test_what_was_spooled_is_told(away: SpoolQ, calls: list[Any]) -> None:
    away.middleware(Recorder("a", calls))
    away.remote("t").using(id="j").enqueue()
    assert calls == [("a", "before_enqueue", "j"), ("a", "on_spooled", "j"), ("a", "after_enqueue", "j", "spool")]
    away.remote("t").using(id="j").enqueue()
    assert calls[3:] == [("a", "before_enqueue", "j"), ("a", "after_enqueue", "j", "spool")]


def test_what_was_rejected_is_told_and_the_caller_gets_the_error(tmp_path: Path, calls: list[Any]) -> None:
    with SpoolQ("redis://127.0.0.1:1/0", spool=tmp_path / "nowhere" / "spool.db", spool_min_free=0) as q:
        q.middleware(Recorder("a", calls))
        for launch in (lambda: q.remote("t").using(id="j").enqueue(), lambda: asyncio.run(q.remote("t").aenqueue())):
            calls.clear()
            with pytest.raises((NotStored, Exception)) as raised:
                launch()
            assert [(hook, rest[-1]) for _, hook, *rest in calls][1:] == [("on_rejected", type(raised.value))]


def test_what_middleware_sees_of_the_caller_is_the_caller_s_own_context(q: SpoolQ, calls: list[Any]) -> None:
    class Sees(Middleware):
        def before_enqueue(self, job: Job) -> None:
            calls.append(said.get())

        def after_enqueue(self, job: Job, receipt: Receipt) -> None:
            calls.append(said.get())

    q.middleware(Sees())

    async def caller() -> None:
        said.set("request 7")
        await q.remote("t").aenqueue()

    asyncio.run(caller())
    assert calls == ["request 7", "request 7"]


# runs


def ran(calls: list[Any]) -> list[Any]:
    return [call[:2] for call in calls if call[1] not in ("before_enqueue", "after_enqueue")]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_run_is_inside_of_all_of_them_the_first_outermost(q: SpoolQ, calls: list[Any], asynchronous: bool) -> None:
    for name in "ab":
        q.middleware(Recorder(name, calls))

    async def later(x: int) -> int:
        await asyncio.sleep(0)
        return now(x)

    def now(x: int) -> int:
        calls.append(("task", "runs"))
        return x + 1

    q.task(name="t")(later if asynchronous else now).enqueue(1)
    work(q)
    assert ran(calls) == [
        ("a", "before_run"),
        ("a", "begin"),
        ("b", "before_run"),
        ("b", "begin"),
        ("task", "runs"),
        ("b", "end"),
        ("b", "after_run"),
        ("a", "end"),
        ("a", "after_run"),
    ]
    assert calls[-1][-2:] == (2, type(None))


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_failing_task_is_told_and_whether_it_is_tried_again(q: SpoolQ, calls: list[Any], asynchronous: bool) -> None:
    q.middleware(Recorder("a", calls))

    async def later() -> None:
        raise ValueError

    def now() -> None:
        raise ValueError

    q.task(name="t", retries=1, backoff=lambda state: 0)(later if asynchronous else now).enqueue()
    work(q)
    assert [call[1:2] + call[3:] for call in calls if call[1] in ("after_run", "on_failure")] == [
        ("after_run", None, ValueError),
        ("on_failure", ValueError, True),
        ("after_run", None, ValueError),
        ("on_failure", ValueError, False),
    ]
    assert q.primary.failures.count() == 1


class Raising(Middleware):
    """Fails in the hooks named."""

    def __init__(self, hooks: set[str], error: BaseException) -> None:
        self.hooks, self.error = hooks, error

    def fail(self, hook: str) -> None:
        if hook in self.hooks:
            raise self.error

    def before_run(self, job: Job) -> None:
        self.fail("before_run")

    @contextmanager
    def around_run(self, job: Job) -> Iterator[None]:
        self.fail("enter")
        yield
        self.fail("exit")

    def after_run(self, job: Job, result: Any, error: BaseException | None) -> None:
        self.fail("after_run")

    def on_failure(self, job: Job, error: BaseException, will_retry: bool) -> None:
        self.fail("on_failure")


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("hook", ["before_run", "enter"])
def test_an_error_before_the_task_is_the_attempt_s(q: SpoolQ, calls: list[Any], hook: str, asynchronous: bool) -> None:
    q.middleware(Recorder("outer", calls))
    q.middleware(Raising({hook}, LookupError("no tenant")))
    q.middleware(Recorder("inner", calls))

    async def later() -> None:
        calls.append(("task", "runs"))

    def now() -> None:
        calls.append(("task", "runs"))

    q.task(name="t", retries=0)(later if asynchronous else now).enqueue()
    work(q)
    assert ran(calls) == [
        ("outer", "before_run"),
        ("outer", "begin"),
        ("outer", "end"),
        ("outer", "after_run"),
        ("inner", "on_failure"),
        ("outer", "on_failure"),
    ]
    [failure] = q.primary.failures.page()
    assert (failure.exception, failure.error) == ("LookupError", "no tenant")


@pytest.mark.parametrize("error", [Discard(), Retry(3600)])
def test_before_a_run_retry_and_discard_mean_what_they_mean_in_a_task(q: SpoolQ, calls: list[Any], error: Exception) -> None:
    q.middleware(Raising({"before_run"}, error))

    @q.task
    def t() -> None:
        calls.append("ran")

    t.enqueue()
    work(q)
    assert (calls, q.primary.failures.count()) == ([], 0)
    assert sum(depth.scheduled for depth in q.primary.depths()) == isinstance(error, Retry)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("hook", ["exit", "after_run"])
@pytest.mark.parametrize("error", [OSError("no statistics"), SystemExit(3), TimeLimit()])
def test_an_error_after_the_task_changes_nothing(
    q: SpoolQ, calls: list[Any], caplog: pytest.LogCaptureFixture, hook: str, error: BaseException, asynchronous: bool
) -> None:
    q.middleware(Recorder("outer", calls))
    q.middleware(Raising({hook}, error))

    async def later() -> None: ...

    def now() -> None: ...

    task = q.task(name="t", retries=0)(later if asynchronous else now)
    task.using(after=[task.using(id="child").job()]).enqueue()
    work(q)
    assert q.primary.failures.count() == 0
    assert q.primary.counters()["processed"] == 2
    assert [call[3:] for call in calls if call[1] == "after_run"] == [(None, type(None))] * 2
    assert "it changes nothing for the job" in caplog.text


@pytest.mark.parametrize("error", [OSError("no statistics"), SystemExit(3)])
def test_an_error_of_on_failure_changes_nothing(q: SpoolQ, caplog: pytest.LogCaptureFixture, error: BaseException) -> None:
    q.middleware(Raising({"on_failure"}, error))

    @q.task(retries=0)
    def t() -> None:
        raise ValueError("bad luck")

    t.using(id="j").enqueue()
    work(q)
    failure = q.primary.failures.get("j")
    assert failure is not None
    assert failure.error == "bad luck"
    assert "it changes nothing for the job" in caplog.text


def test_one_that_swallows_the_error_hides_it_from_nobody(q: SpoolQ) -> None:
    class Swallow(Middleware):
        @contextmanager
        def around_run(self, job: Job) -> Iterator[None]:
            with suppress(ValueError):
                yield

    q.middleware(Swallow())

    @q.task(retries=0)
    def t() -> None:
        raise ValueError("bad luck")

    t.enqueue()
    work(q)
    assert q.primary.failures.count() == 1


def test_one_that_hangs_before_or_after_the_task_is_within_its_time_limit(q: SpoolQ, calls: list[Any]) -> None:
    class Slow(Middleware):
        def before_run(self, job: Job) -> None:
            self.hang(job, "before")

        def after_run(self, job: Job, result: Any, error: BaseException | None) -> None:
            self.hang(job, "after")

        def hang(self, job: Job, where: str) -> None:
            until = time.monotonic() + 30.0
            while job.args == (where,) and time.monotonic() < until:
                pass

    q.middleware(Slow())

    @q.task(retries=0, timeout=2)  # in which the task itself has run
    def t(where: str) -> None:
        calls.append(where)

    t.using(id="j1").enqueue("before")
    t.using(id="j2").enqueue("after")
    began = time.monotonic()
    work(q)
    assert time.monotonic() - began < 25.0
    assert calls == ["after"]
    [failure] = q.primary.failures.page()
    assert (failure.id, failure.exception) == ("j1", "TimeLimit")
    assert q.primary.counters()["processed"] == 1


@pytest.mark.parametrize("asynchronous", [False, True])
def test_context_set_before_is_seen_by_the_task_and_ends_with_the_job(q: SpoolQ, calls: list[Any], asynchronous: bool) -> None:
    class Tenant(Middleware):
        def before_run(self, job: Job) -> None:
            calls.append(("before", said.get(), self.current()))
            said.set(f"tenant {job.args[0]}")

        def after_run(self, job: Job, result: Any, error: BaseException | None) -> None:
            calls.append(("after", said.get(), self.current()))

        def on_failure(self, job: Job, error: BaseException, will_retry: bool) -> None:
            calls.append(("failed", said.get(), self.current()))

        def current(self) -> str | None:
            job = current_job()
            return job.id if job else None

    q.middleware(Tenant())

    def now(x: int) -> None:
        calls.append(("task", said.get()))
        if x == 2:
            raise ValueError

    async def later(x: int) -> None:
        await asyncio.sleep(0)
        now(x)

    task = q.task(name="t", retries=0)(later if asynchronous else now)
    for n in (1, 2):
        task.using(id=f"j{n}").enqueue(n)
        work(q)
    assert calls == [
        ("before", "", "j1"),
        ("task", "tenant 1"),
        ("after", "tenant 1", "j1"),
        ("before", "", "j2"),
        ("task", "tenant 2"),
        ("after", "tenant 2", "j2"),
        ("failed", "tenant 2", "j2"),
    ]
    assert current_job() is None


def test_a_plain_function_that_returns_an_awaitable_is_within_until_that_has_ended(q: SpoolQ, calls: list[Any]) -> None:
    q.middleware(Recorder("a", calls))

    async def rest() -> int:
        await asyncio.sleep(0)
        calls.append(("task", "runs"))
        return 5

    @q.task
    def t() -> Any:
        return rest()

    t.enqueue()
    work(q)
    assert ran(calls) == [("a", "before_run"), ("a", "begin"), ("task", "runs"), ("a", "end"), ("a", "after_run")]
    assert calls[-1][3] == 5


def test_a_process_that_the_task_forks_is_none_of_theirs(q: SpoolQ, tmp_path: Path) -> None:
    class Trace(Middleware):
        def after_run(self, job: Job, result: Any, error: BaseException | None) -> None:
            with (tmp_path / "trace").open("a") as file:
                file.write(f"{os.getpid()}\n")

    q.middleware(Trace())

    @q.task
    def t() -> None:
        if child := os.fork():
            os.waitpid(child, 0)

    t.enqueue()
    work(q)
    assert (tmp_path / "trace").read_text() == f"{os.getpid()}\n"


def test_the_death_of_a_worker_is_a_failure_too(q: SpoolQ, calls: list[Any]) -> None:
    from spoolq.runner import Runner
    from tests.unit.hands import info

    q.middleware(Recorder("a", calls))

    @q.task(max_crashes=2)
    def t() -> None: ...

    t.using(id="j").enqueue()
    calls.clear()
    one = Runner(q.tasks, info(), "primary", time.time)
    [claim] = q.primary.claim(info(queues=("default",)), 1, ("default",), 1).claims
    one.died(claim)
    assert calls == [("a", "on_failure", "j", WorkerDied, True)]


def test_without_hooks_a_run_has_no_context_of_its_own(q: SpoolQ, calls: list[Any]) -> None:
    """What a task sets is seen by the next one on that thread, as ever: nobody pays for what nobody uses."""

    @q.task
    def t() -> None:
        calls.append((said.get(), threading.get_ident()))
        said.set("left")

    t.enqueue()
    t.enqueue()
    work(q)
    assert [value for value, _ in calls] == ["", "left"]


# drains


def test_what_was_drained_and_what_was_set_aside_is_told(tmp_path: Path, calls: list[Any]) -> None:
    class Drains(Middleware):
        def on_drained(self, job: Job) -> None:
            calls.append(("drained", job.id, job.task))
            raise OSError("no statistics today")

        def on_quarantined(self, job: Job, reason: str) -> None:
            calls.append(("quarantined", job.id, job.task, reason[:20]))

    with SpoolQ("redis://127.0.0.1:1/0", spool=tmp_path / "spool.db", spool_min_free=0) as q:
        q.middleware(Drains())
        spool, primary = q.spool, Primary()
        assert isinstance(spool, SQLiteStore)
        q.remote("t").using(id="j1").enqueue()
        q.remote("t").using(id="j2").enqueue()
        spool.spool([Message("j3", "q", b"no job")])
        primary.bad = {"j2", "j3"}
        Drainer(spool, primary, Breaker(), WHO, hooks=q.hooks).run_once(wait=no_wait)  # type: ignore[arg-type]
        assert spool.waiting() == 0
    assert sorted(calls) == [
        ("drained", "j1", "t"),
        ("quarantined", "j2", "t", "refused by Redis for"),
        ("quarantined", "j3", "(unreadable)", "refused by Redis for"),
    ]


def test_a_payload_that_can_not_be_carried_is_the_caller_s_as_ever(q: SpoolQ, calls: list[Any]) -> None:
    q.middleware(Recorder("a", calls))
    with pytest.raises(PayloadError):
        q.remote("t").enqueue({1})
    assert [hook for _, hook, *_ in calls] == ["before_enqueue"]
