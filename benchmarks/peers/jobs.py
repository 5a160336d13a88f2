"""What a job of the benchmark leaves behind, and what a producer does: the same in every library. The peers import it, so it
needs nothing."""

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


def enqueue(launch_work, launch_picked, launch_many=None, **more) -> None:  # type: ignore[no-untyped-def]
    """The producer, by its arguments. The launches may be coroutine functions; `launch_many` enqueues BATCH jobs by one call.

    fill N       so many jobs `work`
    pick N       `picked`, each after the last has begun and a while has passed; their delays are printed, in seconds
    calls WHAT   `one` or `many`: for each line N on standard input so many calls, by BENCH_THREADS threads; a line of JSON says
                 how long they took together and each alone, in seconds
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
        call = one if argument == "one" else lambda: many(BATCH)
        for line in sys.stdin:
            print(json.dumps(_block(call, int(line))), flush=True)
    else:
        print(json.dumps(more[what](int(argument))), flush=True)


def _plain(launch):  # type: ignore[no-untyped-def]
    if not inspect.iscoroutinefunction(launch):
        return launch
    import asyncio

    loop = asyncio.new_event_loop()
    return lambda *args: loop.run_until_complete(launch(*args))


def _block(call, count):  # type: ignore[no-untyped-def]
    crowd = int(os.environ.get("BENCH_THREADS", "1"))
    took = [0.0] * count

    def caller(first):  # type: ignore[no-untyped-def]
        for number in range(first, count, crowd):
            began = time.perf_counter()
            call()
            took[number] = time.perf_counter() - began

    threads = [threading.Thread(target=caller, args=(first,)) for first in range(1, crowd)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    caller(0)
    for thread in threads:
        thread.join()
    return {"wall": time.perf_counter() - began, "took": took}


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
