"""saq's side of the benchmark."""

import os

import jobs
from saq import Queue

queue = Queue.from_url(os.environ["BENCH_URL"])


async def work(ctx, **_):
    """As jobs.work."""
    jobs.work()


async def picked(ctx):
    """As jobs.picked."""
    jobs.picked()


NAMED = {"argument": jobs.ARGUMENTS[0]} if jobs.ARGUMENTS else {}  # it has no others
settings = {"queue": queue, "functions": [work, picked], "concurrency": 10}


async def one():
    """A job that does nothing."""
    await queue.enqueue("work", ttl=-1, **NAMED)


async def pick():
    """One that says when it began."""
    await queue.enqueue("picked", ttl=-1)


if __name__ == "__main__":
    jobs.enqueue(one, pick)
