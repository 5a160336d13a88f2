"""`SpoolQ` as an application meets it: what it registers, what it refuses and in which words, and its end."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from spoolq import Receipt, SpoolQ
from spoolq.errors import ConfigError, PayloadError
from spoolq.starting import Seat


def add(x: int, y: int = 1) -> int:
    return x + y


@pytest.fixture
def q(tmp_path: Path) -> Iterator[SpoolQ]:
    with SpoolQ(f"sqlite:///{tmp_path}/jobs.db", spool_min_free=0) as q:
        yield q


def ready(q: SpoolQ) -> dict[str, int]:
    return {depth.queue: depth.ready for depth in q.primary.depths()}


def test_making_one_opens_nothing(tmp_path: Path) -> None:
    q = SpoolQ(f"sqlite:///{tmp_path}/jobs.db")
    q.task(add)
    q.close()
    assert list(tmp_path.iterdir()) == []


def test_a_task_is_launched_by_itself_or_by_its_name(q: SpoolQ) -> None:
    task = q.task(queue="sums")(add)
    receipts = [task.enqueue(1), q.enqueue(task, 1), q.enqueue("add", 1, y=2), q.enqueue("elsewhere", 1), task.delay(1)]
    assert len({receipt.id for receipt in receipts}) == 5
    assert {receipt.route for receipt in receipts} == {"primary"}
    assert ready(q) == {"sums": 4, "default": 1}


def test_many_at_once(q: SpoolQ) -> None:
    task = q.task(add)
    jobs = [task.job(number) for number in range(1200)]
    assert [receipt.id for receipt in q.enqueue_many(jobs)] == [job.id for job in jobs]
    assert ready(q) == {"default": 1200}
    assert q.enqueue_many([]) == []
    assert len(q.enqueue_many(task.job(number, 1) for number in range(3))) == 3  # a generator, once through


def test_from_asyncio(q: SpoolQ) -> None:
    task = q.task(add)

    async def launch() -> list[Any]:
        return await asyncio.gather(task.aenqueue(1), q.aenqueue(task.job(2)))

    assert len({receipt.id for receipt in asyncio.run(launch())}) == 2
    assert ready(q) == {"default": 2}


def test_it_can_be_used_again_after_its_end(q: SpoolQ) -> None:
    task = q.task(add)
    task.enqueue(1)
    q.close()
    q.close()
    task.enqueue(2)
    assert ready(q) == {"default": 2}


def test_its_end_waits_for_a_call_from_asyncio_and_not_for_ever(q: SpoolQ, monkeypatch: pytest.MonkeyPatch) -> None:
    task, begun, over = q.task(add), threading.Event(), threading.Event()

    def hang(*args: Any, **options: Any) -> list[Any]:
        begun.set()
        assert over.wait(30)
        return [Receipt("answered", "primary")]

    monkeypatch.setattr(q.client, "put", hang)

    async def launch() -> Any:
        call = asyncio.ensure_future(task.aenqueue(1))
        await asyncio.to_thread(begun.wait, 30)
        await asyncio.to_thread(q.close, 0.05)
        assert not over.is_set()
        over.set()
        return await call

    assert asyncio.run(launch()).id == "answered"


def test_how_a_task_is_tried_again_is_said_with_it(q: SpoolQ) -> None:
    plain = q.task(name="plain")(add).policy
    assert (plain.retries, plain.retry_for, plain.max_crashes) == (q.settings.retries, None, 3)
    lasting = q.task(name="lasting", retry_for=timedelta(hours=1))(add).policy
    assert (lasting.retries, lasting.retry_for) == (None, 3600)
    both = q.task(name="both", retries=2, retry_for=60.5, max_crashes=1)(add).policy
    assert (both.retries, both.retry_for, both.max_crashes) == (2, 60.5, 1)

    class Own:
        retry_for, max_crashes = 30, 7

        def perform(self) -> None: ...

    own = q.task(Own).policy
    assert (own.retries, own.retry_for, own.max_crashes) == (None, 30, 7)


def test_a_name_is_needed_where_there_is_none(q: SpoolQ) -> None:
    assert q.task(name="sum")(functools.partial(add, 1)).name == "sum"
    assert q.task(name="double")(lambda x: 2 * x)(2) == 4


@pytest.mark.parametrize(
    ("register", "says"),
    [
        (lambda q: q.task(lambda: 1), r"has no name to be called by: give it one, q.task\(name=…\)"),
        (lambda q: q.task(functools.partial(add, 1)), "has no name to be called by"),
        (lambda q: q.task(name=3)(add), "has no name to be called by"),
        (lambda q: q.task(q.task(add)), "add is a task already"),
        (lambda q: q.task("mail"), "'mail' can't be a task: a task is a function, or a class with perform"),
        (lambda q: q.task(type("Empty", (), {})), "Empty has no method `perform`"),
        (lambda q: q.task(queue="a b")(add), "queue='a b'"),
        (lambda q: q.task(retries=-1)(add), "retries=-1"),
        (lambda q: q.task(retry_for=0)(add), "retry_for=0: a number of seconds above 0 is needed, or a timedelta"),
        (lambda q: q.task(retry_for="1h")(add), "retry_for='1h'"),
        (lambda q: q.task(max_crashes=0)(add), "max_crashes=0: a whole number from 1 up is needed"),
        (lambda q: q.task(timeout="soon")(add), "timeout='soon' is not a number of seconds"),
    ],
)
def test_what_can_not_be_a_task(q: SpoolQ, register: Callable[[SpoolQ], object], says: str) -> None:
    with pytest.raises((ConfigError, PayloadError), match=says):
        register(q)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda q: q.enqueue(add, 1), "is not a task, nor the name of one: a function becomes one with @q.task"),
        (lambda q: q.enqueue(3, 1), "3 is not a task"),
        (lambda q: q.enqueue_many([q.task(add)]), r"<Task add queue=default> is not a job: make one with task.job\(…\)"),
        (lambda q: asyncio.run(q.aenqueue(q.task(add).using(delay=3))), "<Launch add queue=default> is not a job"),
        (lambda q: q.enqueue(q.task(add)), "add: missing a required argument: 'x'"),
        (lambda q: q.task(retrys=3), "no option 'retrys'; there are name, queue,"),
        (lambda q: q.enqueue(q.task(add), 1, queue="x"), "add: got an unexpected keyword argument 'queue'"),
    ],
)
def test_what_can_not_be_launched(q: SpoolQ, call: Callable[[SpoolQ], object], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        call(q)
    assert ready(q) == {}


@pytest.mark.parametrize("at", ["tomorrow", "", timedelta(hours=1), True, float("nan")])
def test_what_is_no_time(q: SpoolQ, at: Any) -> None:
    with pytest.raises(PayloadError, match=r"at=.* is not a datetime with a time zone, nor a number of epoch seconds"):
        q.task(add).enqueue_at(at, 1)


def test_a_spool_in_memory_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected the path of a file"):
        SpoolQ("redis://h", spool=":memory:")


def test_a_setting_that_there_is_not() -> None:
    with pytest.raises(ConfigError, match=r"^unknown setting 'dedline', did you mean deadline\?$"):
        SpoolQ("redis://h", dedline="1s")
    with pytest.raises(ConfigError, match=r"^unknown setting 'colour'; the settings are url, spool, "):
        SpoolQ("redis://h", colour="red")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda q: q.worker(threads=0), "threads=0: a whole number from 1 to 1000"),
        (lambda q: q.worker(threads="4"), "threads='4'"),
        (lambda q: q.worker(grace="25s"), "grace='25s': a number of seconds"),
        (lambda q: q.worker(grace=-1), "grace=-1"),
        (lambda q: q.worker(queues=5), "queues=5: a text is needed"),
        (lambda q: q.pool(2), "processes=2: a pair of numbers is needed, at least and at most"),
        (lambda q: q.pool("2:6"), "processes='2:6'"),
        (lambda q: q.pool((1, 2, 3)), r"processes=\(1, 2, 3\)"),
        (lambda q: q.pool((0, 2)), "processes=0: a whole number from 1 up"),
        (lambda q: q.pool((3, 2)), "processes=3:2"),
        (lambda q: q.pool((1, 2), policy="load"), "policy='load': an object with a name and decide"),
        (lambda q: q.pool((1, 2), name="a/b"), "name='a/b': 1 to 64 printable characters"),
        (lambda q: q.pool((1, 2), threads=True), "threads=True"),
        (lambda q: q.pool((1, 2), max_jobs=0), "max_jobs=0: a whole number from 1 up"),
        (lambda q: q.pool((1, 2), max_memory=5), "max_memory=5 B: a process with this application needs"),
    ],
)
def test_what_can_be_no_worker_and_no_pool(q: SpoolQ, make: Callable[[Any], object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make(q)


def test_how_much_a_worker_takes_beyond_its_threads_is_a_setting(tmp_path: Path) -> None:
    with SpoolQ(f"sqlite:///{tmp_path}/jobs.db", spool_min_free=0, max_prefetch=3) as q:
        assert q.worker().primary._max_prefetch == 3


def test_a_process_of_a_pool_works_also_where_the_failure_log_can_not_be_written_any_more(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("in the way")
    with SpoolQ(f"sqlite:///{tmp_path}/jobs.db", spool_min_free=0, failure_log=str(tmp_path / "log")) as q:
        for start in (q.worker, functools.partial(q.pool, (1, 1))):
            with pytest.raises(ConfigError, match="log is no directory"):
                start()
        assert q.worker(seat=Seat("jobs", "key", "pool", 0)) is not None
