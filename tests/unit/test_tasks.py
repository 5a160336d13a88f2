import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from spoolq.app import SpoolQ
from spoolq.errors import ConfigError, PayloadError, UnknownTask
from spoolq.job import Job, Receipt
from spoolq.retry import RetryPolicy
from spoolq.tasks import Launch, Options, Task, Tasks, performer, queue_name


class Desk:
    """Takes what is launched."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.deadlines: list[float | None] = []

    def submit(self, jobs: Sequence[Job], deadline: float | None = None) -> list[Receipt]:
        self.jobs += jobs
        self.deadlines.append(deadline)
        return [Receipt(job.id, "primary") for job in jobs]

    async def asubmit(self, jobs: Sequence[Job], deadline: float | None = None) -> list[Receipt]:
        await asyncio.sleep(0)
        return self.submit(jobs, deadline)


def task(function: Any, desk: Desk | None = None, **options: Any) -> Task[..., Any]:
    options = {"name": function.__name__, "queue": "default", "policy": RetryPolicy()} | options
    return Task(function, owner=desk or Desk(), **options)


def send(to: str, subject: str = "hello", *parts: str, loud: bool = False) -> str:
    return f"{to} {subject} {parts} {loud}"


def test_a_task_is_still_a_plain_function():
    assert task(send)("a", loud=True) == "a hello () True"


def test_enqueue_makes_a_job_and_returns_its_receipt():
    desk = Desk()
    receipt = task(send, desk, queue="mail").enqueue("a@example.com")
    [job] = desk.jobs
    assert (job.id, job.task, job.queue, job.args, job.kwargs) == (receipt.id, "send", "mail", ("a@example.com",), {})
    assert job.run_at == 0.0
    assert not job.given


def test_a_launch_may_have_a_deadline_of_its_own():
    desk = Desk()
    one = task(send, desk)
    one.enqueue("a")
    one.using(deadline=0.05).using(queue="bulk").enqueue("a")
    asyncio.run(one.using(deadline=timedelta(milliseconds=70)).aenqueue("a"))
    assert desk.deadlines == [None, 0.05, 0.07]
    for wrong in (0, -1, float("inf"), "1s"):
        with pytest.raises(PayloadError, match="deadline"):
            one.using(deadline=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("args", "kwargs", "sent_args", "sent_kwargs"),
    [
        (("a",), {"subject": "s"}, ("a", "s"), {}),
        ((), {"to": "a"}, ("a",), {}),
        ((), {"subject": "s", "to": "a"}, ("a", "s"), {}),
        (("a",), {"loud": True}, ("a",), {"loud": True}),
        (("a", "s", "p"), {}, ("a", "s", "p"), {}),
    ],
)
def test_keyword_arguments_travel_as_positions_where_the_signature_allows(args, kwargs, sent_args, sent_kwargs):
    job = task(send).job(*args, **kwargs)
    assert (job.args, job.kwargs) == (sent_args, sent_kwargs)


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), (("a",), {"nope": 1}), (("a",), {"to": "b"})])
def test_arguments_that_do_not_fit_are_refused_in_the_caller(args, kwargs):
    with pytest.raises(TypeError, match="send: "):
        task(send).job(*args, **kwargs)


def test_too_many_arguments_are_refused_in_the_caller():
    def one(x: int) -> int:
        return x

    with pytest.raises(TypeError, match="one: too many positional"):
        task(one).job(1, 2)


def test_a_required_keyword_only_argument_is_not_forgotten():
    def strict(*, key: int) -> int:
        return key

    with pytest.raises(TypeError, match="key"):
        task(strict).job()
    assert task(strict).job(key=3).kwargs == {"key": 3}


def test_by_name_arguments_travel_as_they_are_given():
    job = Launch("Remote", "q", Desk(), Options(), None).job(1, a=2)
    assert (job.task, job.queue, job.args, job.kwargs) == ("Remote", "q", (1,), {"a": 2})


def test_options_are_apart_from_the_jobs_own_arguments():
    desk = Desk()
    task(send, desk).using(queue="bulk", delay=60, retries=0, id="mine").enqueue("a")
    [job] = desk.jobs
    assert (job.queue, job.retries, job.id, job.given) == ("bulk", 0, "mine", True)
    assert job.enqueued_at is not None
    assert job.run_at == pytest.approx(job.enqueued_at + 60, abs=0.001)


def test_later_options_replace_earlier_ones():
    launch = task(send).using(delay=60, queue="a").using(at=4e9, queue="b")
    assert (launch.job("a").run_at, launch.job("a").queue) == (4e9, "b")


def test_a_time_already_past_means_at_once():
    assert task(send).using(at=1.0).job("a").run_at == 0.0
    assert task(send).using(delay=-5).job("a").run_at == 0.0


def test_enqueue_in_and_enqueue_at():
    desk = Desk()
    when = datetime(2100, 1, 1, tzinfo=UTC)
    task(send, desk).enqueue_in(timedelta(minutes=1), "a")
    task(send, desk).enqueue_at(when, "a")
    assert desk.jobs[0].run_at == pytest.approx((desk.jobs[0].enqueued_at or 0) + 60, abs=0.001)
    assert desk.jobs[1].run_at == when.timestamp()


def test_for_later_without_a_time_is_not_at_once():
    desk = Desk()
    with pytest.raises(PayloadError, match="delay=None is not a number of seconds"):
        task(send, desk).enqueue_in(None, "a")
    with pytest.raises(PayloadError, match="at=None is not a datetime"):
        task(send, desk).enqueue_at(None, "a")
    assert desk.jobs == []


def test_a_naive_datetime_is_refused_with_what_to_do():
    with pytest.raises(PayloadError, match=r"no time zone.*timezone\.utc"):
        task(send).enqueue_at(datetime(2100, 1, 1), "a")
    with pytest.raises(PayloadError, match="expires"):
        task(send).using(expires=datetime(2100, 1, 1))


@pytest.mark.parametrize(
    "options",
    [
        *({"id": id} for id in ("", "a\nb", "x" * 201)),
        *({"retries": retries} for retries in (-1, True)),
        *({"delay": delay} for delay in ("soon", float("nan"))),
        *({"at": at} for at in (float("inf"), 1e30)),
        *({"delay": delay} for delay in (float("inf"), 1e30, timedelta.max)),
        {"delay": 1, "at": 2.0},
    ],
)
def test_wrong_options_are_refused(options):
    with pytest.raises(PayloadError):
        task(send).using(**options)


def test_expires_counts_from_the_time_at_which_the_job_is_due():
    job = task(send).using(expires=10, delay=60).job("a")
    assert job.expires_at == pytest.approx((job.enqueued_at or 0) + 70, abs=0.001)
    assert task(send, expires=5).job("a").expires_at is not None
    when = datetime(2100, 1, 1, tzinfo=UTC)
    assert task(send).using(expires=when).job("a").expires_at == when.timestamp()


def test_a_class_with_perform_is_a_task():
    class Resize:
        queue = "images"

        def perform(self, path: str, width: int = 80) -> str:
            return f"{path}@{width}"

    resize = task(performer(Resize), name="Resize")
    assert resize("x.png", 40) == "x.png@40"
    assert resize.job("x.png", width=9).args == ("x.png", 9)
    assert resize.run(resize.job("y.png")) == "y.png@80"
    with pytest.raises(TypeError):
        resize.job()


def test_resques_class_method_perform_works_too():
    class Add:
        @staticmethod
        def perform(a: int, b: int) -> int:
            return a + b

    assert task(performer(Add)).run(task(performer(Add)).job(1, 2)) == 3


def test_a_class_without_perform_is_refused():
    with pytest.raises(ConfigError, match="perform"):
        performer(type("Empty", (), {}))


def test_a_job_of_an_async_task_is_a_coroutine_to_be_run():
    async def later(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    assert asyncio.run(task(later).run(task(later).job(1))) == 2


def test_aenqueue_takes_the_same_path():
    desk = Desk()
    receipt = asyncio.run(task(send, desk).aenqueue("a"))
    assert desk.jobs[0].id == receipt.id


def test_two_functions_of_one_name_are_refused_and_the_same_one_twice_is_not():
    tasks = Tasks()
    tasks.add(task(send))
    tasks.add(task(send))
    with pytest.raises(ConfigError, match="two tasks named 'send'"):
        tasks.add(task(lambda x: x, name="send"))


def test_an_unknown_task_is_named_with_what_to_do():
    tasks = Tasks()
    tasks.add(task(send))
    with pytest.raises(UnknownTask, match=r"no task named 'nope'.*known: send"):
        tasks.get("nope")


@pytest.mark.parametrize("name", ["", "a:b", "a,b", "*", "a b", 3, None, "x" * 201, "!no"])
def test_a_queue_name_that_resque_can_not_hold_is_refused(name):
    with pytest.raises(ConfigError):
        queue_name(name)


# time limits


def test_limits_are_seconds_or_spans_and_there_are_none_by_default():
    one = task(send, timeout=timedelta(minutes=1), soft_timeout=50)
    assert (one.timeout, one.soft_timeout, one.limited) == (60.0, 50.0, True)
    assert task(send, soft_timeout=5).limited
    none = task(send)
    assert (none.timeout, none.soft_timeout, none.limited) == (None, None, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": 0}, "send: timeout=0: more than 0 seconds"),
        ({"timeout": -1.0}, "more than 0 seconds"),
        ({"timeout": "30s"}, "send: timeout='30s' is not a number of seconds or a timedelta"),
        ({"timeout": float("nan")}, "not a number of seconds"),
        ({"soft_timeout": True}, "soft_timeout=True is not a number of seconds"),
        ({"timeout": 30, "soft_timeout": 30}, "soft_timeout=30 must be shorter than timeout=30"),
        ({"timeout": timedelta(seconds=1), "soft_timeout": 2}, "must be shorter"),
    ],
)
def test_limits_that_can_not_be_are_refused_with_the_task_s_name(options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        task(send, **options)


def test_what_is_called_without_running_is_no_task():
    def gen() -> Any:
        yield 1

    async def agen() -> Any:
        yield 1

    class Gen:
        perform = gen

    for function in (gen, agen):
        with pytest.raises(ConfigError, match="`yield` can't be a task"):
            task(function)
    with pytest.raises(ConfigError, match="Gen: a perform with `yield`"):
        performer(Gen)


def test_a_task_knows_whether_it_is_async():
    async def later() -> None: ...

    class Later:
        async def perform(self) -> None: ...

    assert task(later).asynchronous
    assert task(performer(Later)).asynchronous
    assert not task(send).asynchronous


@pytest.mark.parametrize("expires", [0, -1, "10m", timedelta(seconds=-1), float("nan"), True])
def test_a_launch_that_would_be_stale_at_once_is_refused(expires):
    with pytest.raises(PayloadError, match="expires="):
        task(send).using(expires=expires)


@pytest.mark.parametrize("expires", [0, -1, "10m"])
def test_a_task_whose_jobs_would_all_be_stale_is_refused(expires):
    with SpoolQ("sqlite:///jobs.db") as q, pytest.raises(ConfigError, match="send: expires="):
        q.task(name="send", expires=expires)(send)
