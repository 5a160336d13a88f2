"""arq's side of the benchmark."""

import os

import jobs
from arq import create_pool
from arq.connections import RedisSettings

pool = None


async def work(ctx, *_):
    """As jobs.work."""
    jobs.work()


async def picked(ctx):
    """As jobs.picked."""
    jobs.picked()


class WorkerSettings:
    """What `arq` runs."""

    functions = (work, picked)
    redis_settings = RedisSettings.from_dsn(os.environ["BENCH_URL"])
    keep_result = 0
    poll_delay = 0.01


async def _launch(name, *arguments):
    global pool
    pool = pool or await create_pool(WorkerSettings.redis_settings)
    await pool.enqueue_job(name, *arguments)


async def one():
    """A job that does nothing."""
    await _launch("work", *jobs.ARGUMENTS)


async def pick():
    """One that says when it began."""
    await _launch("picked")


if __name__ == "__main__":
    jobs.enqueue(one, pick)
