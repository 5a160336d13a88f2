"""What a job of the benchmark leaves behind, and what a producer does: the same in every library. The peers import it, so it
needs nothing."""

import functools
import inspect
import itertools
import json
import os
import random
import sys
import threading
import time

EVERY = 100
"""Jobs after which a process notes how many it has run."""
BATCH = 100
"""Jobs by one call, where a library has one for several."""
IN_FLIGHT = 100
"""Calls that are under way at a time, where they are awaited."""
ARGUMENTS = ("x" * size,) if (size := int(os.environ.get("BENCH_BYTES", "0"))) else ()
"""Of each job."""

_marks = os.open(os.environ["BENCH_MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
_count = itertools.count(1)
_picked = -1


def work(*_: object) -> None:
    """A job that does nothing, and is counted: a line of pid, jobs so far and time for every so many."""
    number = next(_count)
    if number % EVERY == 0:
        os.write(_marks, f"{os.getpid()} {number} {time.monotonic()}\n".encode())


def picked() -> None:
    """A job that says when it began, to who waits at the other end of the pipe."""
    global _picked
    began = time.monotonic()
    if _picked < 0:
        _picked = os.open(os.environ["BENCH_PIPE"], os.O_WRONLY)
    os.write(_picked, f"{began}\n".encode())


def enqueue(launch_work, launch_picked, launch_many=None, launch_async=None, **more) -> None:  # type: ignore[no-untyped-def]
    """The producer: for each line `WHAT N SECONDS` on standard input it does that, and answers with a line of JSON. The launches
    may be coroutine functions; `launch_many` enqueues BATCH jobs by one call, `launch_async` is one.

    fill      so many jobs `work`, as fast as it can
    pick      `picked`, each after the last has begun and a while has passed: their delays, in seconds
    one       so many calls, by BENCH_THREADS threads, fewer when that time is over: when they began and ended, how long each
              took, in seconds, and how many raised
    many      the same of those for several jobs
    async     the same, IN_FLIGHT of them under way
    try       the same, one by one, where an error is no end
    VERB      one of `more`, what only this library does: what it returns for N
    """
    one, pick, many = _plain(launch_work), _plain(launch_picked), _plain(launch_many)
    crowd = _plain(functools.partial(_in_flight, launch_async or launch_work))

    def fill(count):  # type: ignore[no-untyped-def]
        for _ in range(count // BATCH if many else 0):
            many(BATCH)
        for _ in range(count % BATCH if many else count):
            one()

    verbs = {
        **{verb: (lambda count, _, call=call: call(count)) for verb, call in more.items()},
        "fill": lambda count, _: fill(count),
        "pick": lambda count, _: _pick(pick, count),
        "one": lambda count, seconds: _block(one, count, seconds, False),
        "many": lambda count, seconds: _block(lambda: many(BATCH), count, seconds, False),
        "async": lambda count, _: crowd(count),
        "try": lambda count, seconds: _block(one, count, seconds, True),
    }
    for line in sys.stdin:
        what, count, seconds = line.split()
        print(json.dumps(verbs[what](int(count), float(seconds))), flush=True)


_loop = None


def _plain(launch):  # type: ignore[no-untyped-def]
    """A coroutine function as one that waits for it, on a loop that is kept."""
    if not inspect.iscoroutinefunction(launch):
        return launch
    import asyncio

    def call(*args):  # type: ignore[no-untyped-def]
        global _loop
        _loop = _loop or asyncio.new_event_loop()
        return _loop.run_until_complete(launch(*args))

    return call


def _block(call, count, seconds, bear):  # type: ignore[no-untyped-def]
    threads = int(os.environ.get("BENCH_THREADS", "1"))
    took, raised = [], []
    began = time.perf_counter()

    def caller(calls):  # type: ignore[no-untyped-def]
        for _ in range(calls):
            called = time.perf_counter()
            if called - began > seconds:
                break
            try:
                call()
            except Exception as error:
                if not bear:
                    raise
                raised.append(error)
            took.append(time.perf_counter() - called)

    others = [threading.Thread(target=caller, args=(count // threads,)) for _ in range(threads - 1)]
    for thread in others:
        thread.start()
    caller(count - count // threads * (threads - 1))
    for thread in others:
        thread.join()
    return {"began": began, "ended": time.perf_counter(), "took": took, "raised": len(raised)}


async def _in_flight(launch, count):  # type: ignore[no-untyped-def]
    import asyncio

    took, left = [], iter(range(count))

    async def caller():  # type: ignore[no-untyped-def]
        for _ in left:
            called = time.perf_counter()
            await launch()
            took.append(time.perf_counter() - called)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(min(IN_FLIGHT, count))))
    return {"began": began, "ended": time.perf_counter(), "took": took, "raised": 0}


def _pick(launch, count):  # type: ignore[no-untyped-def]
    rng, delays = random.Random(1), []
    with os.fdopen(os.open(os.environ["BENCH_PIPE"], os.O_RDWR)) as pipe:  # to write too: else opening waits for a writer
        for _ in range(count):
            time.sleep(rng.uniform(0.005, 0.03))
            called = time.monotonic()
            launch()
            delays.append(float(pipe.readline()) - called)
    return delays
