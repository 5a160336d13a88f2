"""spoolq's side of the benchmark. BENCH_ACCEPT is the `accept` of each enqueue, BENCH_QUEUES over how many queues jobs go;
with BENCH_ASYNC its tasks are coroutine functions."""

import itertools
import os
import time

import jobs

from spoolq import SpoolQ
from spoolq.store.base import WorkerInfo


async def awaited(*_):
    """As jobs.work."""
    jobs.work()


q = SpoolQ.from_env()
picked = q.task(name="picked", queue="bench")(jobs.picked)
names = [f"bench{number}" for number in range(int(os.environ.get("BENCH_QUEUES", "1")))]
work = awaited if os.environ.get("BENCH_ASYNC") else jobs.work
tasks = [q.task(name=f"work-{name}", queue=name)(work) for name in names]  # a worker takes from the queues of its tasks
accept = os.environ.get("BENCH_ACCEPT")
turn = itertools.cycle([task.using(accept=accept) if accept else task for task in tasks])


def many(count):
    """So many jobs by one call."""
    q.enqueue_many([next(turn).job(*jobs.ARGUMENTS) for _ in range(count)])


def spool(count):
    """So many jobs into the spool, by 500."""
    for first in range(0, count, 500):
        q.spool.spool([q.message(next(turn).job(*jobs.ARGUMENTS)) for _ in range(min(500, count - first))])


def drain(count):
    """Jobs a second from the spool into Redis. They are spooled first, and Redis was reached once: what a process loads for that
    is no part of a drain, nor is it of the limit beside it."""
    q.primary.ready(30.0)
    spool(count)
    drainer = q.drainer()
    began = time.perf_counter()
    moved = drainer.run_once(60.0).moved
    return {"per_second": moved / (time.perf_counter() - began)}


def spooled(count):
    """Bytes of the spool's file for a job; what an empty one has is taken off."""
    q.spool.waiting()
    empty = os.path.getsize(os.environ["SPOOLQ_SPOOL"])
    spool(count)
    q.close()  # what is in the -wal goes into the file
    return {"bytes_per_job": (os.path.getsize(os.environ["SPOOLQ_SPOOL"]) - empty) / count}


def crowd(count):
    """So many workers make themselves known, with leases of an hour."""
    for number in range(count):
        q.primary.register(WorkerInfo(f"crowd-{number}", f"host{number % 100}", number + 1, ("bench",), 4, time.time(), 3600.0))
    return {}


claims = itertools.count(1)


def claimed(count):
    """So many jobs of one queue are enqueued, and taken by a worker that keeps them."""
    worker = WorkerInfo(f"{os.getpid()}", "host", os.getpid(), (names[0],), 4, time.time(), 3600.0)
    q.primary.register(worker)
    for _ in range(count // jobs.BATCH):
        many(jobs.BATCH)
        q.primary.claim(worker, next(claims), worker.queues, jobs.BATCH)
    return {}


async def alaunch():
    """A job that does nothing."""
    await next(turn).aenqueue(*jobs.ARGUMENTS)


def launch():
    """The same."""
    next(turn).enqueue(*jobs.ARGUMENTS)


if __name__ == "__main__":
    if os.environ.get("BENCH_KNOWN"):
        q.primary.ready(30.0)
    jobs.enqueue(launch, picked.enqueue, many, alaunch, drain=drain, spooled=spooled, crowd=crowd, claimed=claimed)
    q.close()
