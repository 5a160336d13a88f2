"""Never run: mypy reads it. A use that must be refused carries an ignore, and mypy tells of an ignore that is not needed."""

from __future__ import annotations

import datetime as dt
from typing import Literal, assert_type

from spoolq import Batch, Cancellation, Job, Middleware, Receipt, SpoolQ, Status

q = SpoolQ("redis://127.0.0.1:6379/0")


class Own(Middleware):
    def before_enqueue(self, job: Job) -> Job:
        return job


@q.task
def bare(to: str, subject: str = "hello") -> int:
    return len(to + subject)


@q.task(queue="mail", retries=5, timeout=30)
def with_options(to: str, *, urgent: bool = False) -> None: ...


@q.task(retry_for=dt.timedelta(hours=1), max_crashes=1, result_ttl=60)
def with_other_options(to: str) -> None: ...


@q.task(unique="until_start", unique_key=lambda account, page: account, unique_for=dt.timedelta(hours=1))
def unique_by_account(account: int, page: int) -> None: ...


@q.task(exclusive=True, concurrency=3)
def one_at_a_time(account: int) -> None: ...


@q.task(priority="high")
def with_a_priority(to: str) -> None: ...


@q.task
class Resize:
    queue = "images"

    def perform(self, path: str, width: int) -> None: ...


assert_type(bare("a"), int)
assert_type(bare.enqueue("a", subject="b"), Receipt)
assert_type(bare.delay("a"), Receipt)
assert_type(bare.enqueue_in(60, "a"), Receipt)
assert_type(bare.enqueue_in(dt.timedelta(minutes=1), "a"), Receipt)
assert_type(bare.enqueue_at(dt.datetime.now(dt.UTC), "a"), Receipt)
assert_type(bare.using(queue="bulk", delay=60, retries=0).enqueue("a"), Receipt)
assert_type(bare.using(priority="high", at_front=True).enqueue("a"), Receipt)
assert_type(bare.using(unique="until_done", unique_for=60).enqueue("a"), Receipt)
assert_type(unique_by_account.enqueue(1, 2), Receipt)
assert_type(bare.using(deadline=0.1).enqueue("a"), Receipt)
assert_type(bare.using(after=[bare.job("a")]).enqueue("a"), Receipt)
assert_type(bare.using(result_ttl=60, track=True).enqueue("a"), Receipt)
assert_type(q.status("id"), Status)
assert_type(q.cancel("id"), Cancellation)
assert_type(q.cancel("id").outcome, Literal["removed", "asked", "late", "away"])
assert_type(q.batch([bare.job("a")], then=bare.job("b"), on="complete"), Batch)
assert_type(q.middleware(Own()), Own)
assert_type(q.enqueue_many([bare.job("a")], deadline=dt.timedelta(seconds=1)), list[Receipt])
assert_type(bare.job("a"), Job)
assert_type(with_options.enqueue("a", urgent=True), Receipt)
assert_type(q.enqueue_many([bare.job("a"), bare.job("b")]), list[Receipt])
assert_type(q.remote("elsewhere", queue="mail").enqueue(1, two=[3]), Receipt)
assert_type(q.enqueue("elsewhere", 1, two=2), Receipt)


@q.periodic("*/5 * * * *", tz="Europe/Paris", missed="skip", args=["a"])
def each_five_minutes(to: str) -> int:
    return len(to)


assert_type(each_five_minutes("a"), int)
assert_type(each_five_minutes.enqueue("a"), Receipt)
assert_type(q.periodic(dt.timedelta(hours=1), name="hourly", args=["a"])(bare).enqueue("a"), Receipt)
q.periodic(60, missed="never")  # type: ignore[arg-type]
q.periodic(60, every=5)  # type: ignore[call-arg]
each_five_minutes.enqueue(1)  # type: ignore[arg-type]

Resize.job("x.png", 80)  # type: ignore[attr-defined]  # mypy leaves out what a class decorator returns (its issue 3135)

bare.enqueue(1)  # type: ignore[arg-type]
bare.enqueue()  # type: ignore[call-arg]
bare.enqueue("a", nobody="b")  # type: ignore[call-arg]
bare.using(queue="bulk").enqueue(b"a")  # type: ignore[arg-type]
bare.enqueue_in(60, 1)  # type: ignore[arg-type]
bare.job(1)  # type: ignore[arg-type]
with_a_priority.enqueue(1)  # type: ignore[arg-type]
with_options.enqueue("a", True)  # type: ignore[call-arg]
bare.using(nothing=1)  # type: ignore[call-arg]


async def asynchronous() -> None:
    assert_type(await bare.aenqueue("a"), Receipt)
    assert_type(await q.aenqueue(bare.job("a")), Receipt)
    await bare.aenqueue(1)  # type: ignore[arg-type]


with SpoolQ("sqlite:///jobs.db") as opened:
    assert_type(opened, SpoolQ)

SpoolQ("sqlite:///jobs.db", failure_log=["log", "s3://bucket/app"], redact=lambda failure: failure.pop("error"))
SpoolQ(redact="args")  # type: ignore[arg-type]
bare.using(unique="for ever")  # type: ignore[arg-type]
SpoolQ("sqlite:///jobs.db", concurrency={"mail": 3}, rate_limits={"mail": "100/m"})
