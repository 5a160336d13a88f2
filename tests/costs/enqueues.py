"""Enqueue, and count the calls of functions, Python's and C's: `python -m tests.costs.enqueues URL SPOOL [twice]`.

Prints what one job costs the caller's thread (the median of JOBS: now and then one has to find out how Redis is) and the thread
that writes the file; then the same for JOBS of them by one call. A process of its own, because what else is imported may add to
it. `twice` is the control: a middleware that encodes each job once more.
"""

from __future__ import annotations

import statistics
import sys
import threading
from collections import Counter
from collections.abc import Callable
from types import FrameType

from spoolq import SpoolQ, wire
from spoolq.job import Job
from spoolq.middleware import Middleware

JOBS = 100


class Twice(Middleware):
    def before_enqueue(self, job: Job) -> None:
        wire.message(job)


def main(url: str, spool: str, *control: str) -> None:
    calls: Counter[int] = Counter()

    def note(frame: FrameType, event: str, arg: object) -> None:
        if event in ("call", "c_call"):
            calls[threading.get_ident()] += 1

    def cost(work: Callable[[], object]) -> int:
        before = calls[me]
        sys.setprofile(note)
        work()
        sys.setprofile(None)
        return calls[me] - before

    def writer() -> int:
        return sum(calls[thread.ident] for thread in threading.enumerate() if thread.name == "spoolq-sqlite" and thread.ident)

    me = threading.get_ident()
    threading.setprofile(note)  # the thread that writes a file begins with the first job
    with SpoolQ(url, spool=spool, spool_min_free=0, deadline=30.0, disk_limit=60.0, middleware=[Twice()] if control else ()) as q:

        @q.task(queue="mail")
        def send(to: str) -> None: ...

        for _ in range(5):
            send.enqueue("a@example.com")
        before = writer()
        each = [cost(lambda: send.enqueue("a@example.com")) for _ in range(JOBS)]
        print(statistics.median(each), (writer() - before) / JOBS)
        before = writer()
        together = cost(lambda: q.enqueue_many([send.job("a@example.com") for _ in range(JOBS)]))
        print(together / JOBS, (writer() - before) / JOBS)


if __name__ == "__main__":
    main(*sys.argv[1:])
