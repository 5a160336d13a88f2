"""What a job of the benchmark leaves behind, the same in every library. The peers import it, so it needs nothing."""

import itertools
import os
import time

EVERY = 100
"""Jobs after which a process notes how many it has run."""

_marks = os.open(os.environ["BENCH_MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
_count = itertools.count(1)
_picked = -1


def work() -> None:
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


def enqueue(launch_work, launch_picked) -> None:  # type: ignore[no-untyped-def]
    """The producer: so many jobs `work`; or `picked`, each after the last has begun and a while has passed, whose delays are
    printed in seconds. By the arguments `fill N` or `pick N`."""
    import random
    import sys

    what, count = sys.argv[1], int(sys.argv[2])
    if what == "fill":
        for _ in range(count):
            launch_work()
        return
    rng = random.Random(1)
    warm = 5  # the first calls load drivers and connect: that is the producer's affair, not the worker's
    with os.fdopen(os.open(os.environ["BENCH_PIPE"], os.O_RDWR)) as pipe:  # to write too: else opening waits for a writer
        for number in range(warm + count):
            time.sleep(rng.uniform(0.005, 0.03))
            called = time.monotonic()
            launch_picked()
            took = float(pipe.readline()) - called
            if number >= warm:
                print(took, flush=True)
