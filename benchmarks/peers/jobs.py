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
    """The producer, by its arguments. The launches may be coroutine functions; `launch_many` enqueues BATCH jobs by one call,
    `launch_async` is one.

    fill N       so many jobs `work`
    pick N       `picked`, each after the last has begun and a while has passed; their delays are printed, in seconds
    calls WHAT   for each line `N SECONDS` on standard input N calls, fewer when that time is over; a line of JSON has when they
                 began and ended, how long each took, in seconds, and how many raised. WHAT is `one`, by BENCH_THREADS threads;
                 `many`; `async`, IN_FLIGHT of them under way; `try`, one by one, where an error is no end
    VERB N       one of `more`, what only this library does: it gets N, and what it returns is printed as JSON
    """
    what, argument = sys.argv[1], sys.argv[2]
    one, pick, many = _plain(launch_work), _plain(launch_picked), _plain(launch_many)
    if what == "fill":
        count = int(argument)
        for _ in range(count // BATCH if many else 0):
            many(BATCH)
        for _ in range(count % BATCH if many else count):
            one()
    elif what == "pick":
        _pick(pick, int(argument))
    elif what == "calls":
        call = (lambda: many(BATCH)) if argument == "many" else one
        crowd = _plain(functools.partial(_in_flight, launch_async or launch_work))
        for line in sys.stdin:
            count, seconds = int(line.split()[0]), float(line.split()[1])
            told = crowd(count) if argument == "async" else _block(call, count, seconds, argument == "try")
            print(json.dumps(told), flush=True)
    else:
        print(json.dumps(more[what](int(argument))), flush=True)


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
    rng = random.Random(1)
    warm = 5  # the first calls load drivers and connect: that is the producer's affair, not the worker's
    with os.fdopen(os.open(os.environ["BENCH_PIPE"], os.O_RDWR)) as pipe:  # to write too: else opening waits for a writer
        for number in range(warm + count):
            time.sleep(rng.uniform(0.005, 0.03))
            called = time.monotonic()
            launch()
            took = float(pipe.readline()) - called
            if number >= warm:
                print(took, flush=True)
