"""Processes that count: `python -m tests.faults.metered MODE URL SPOOL [N]`. Each writes a line when it has come to where a test
waits for it.

    fork      a parent that enqueues, and forks N children that enqueue as well and end
    worker    a worker that tells what it has counted, and then has a job that never ends
"""

from __future__ import annotations

import os
import sys
import threading

from spoolq import SpoolQ

EACH = 5
LONG = 20.0  # seconds for the last telling: what Redis answers too late isn't counted


def main(mode: str, url: str, spool: str, count: int) -> None:
    q = SpoolQ(url, spool=spool, spool_min_free=0, deadline=5.0)

    @q.task(queue="quick")
    def quick(n: int) -> None: ...

    @q.task(queue="stuck")
    def stuck() -> None:
        print("stuck", flush=True)
        threading.Event().wait()

    if mode == "fork":
        for n in range(EACH):
            quick.enqueue(n)
        children = []
        for _ in range(count):
            child = os.fork()
            if child == 0:
                for n in range(EACH):
                    quick.enqueue(n)
                q.close(LONG)
                os._exit(0)
            children.append(child)
        assert not any(os.waitpid(child, 0)[1] for child in children)
        q.close(LONG)
    elif mode == "worker":
        for n in range(count):
            quick.enqueue(n)
        stuck.enqueue()
        q.worker(queues="quick,stuck", threads=1).run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
