"""A producer that writes a line before each call and one after it: `TRY id`, then `ACK id route ms` or `ERR id kind ms`.

A line that is missing means unknown, never a guess. Of the milliseconds those are left out in which the process wasn't run.
"""

from __future__ import annotations

import signal
import sys
import time

from spoolq import EnqueueError, SpoolQ
from tests.faults.app import Control


def main(url: str, spool: str, path: str, jobs: int, queue: str = "torture", pause: float = 0.0) -> None:
    """Enqueue so many jobs, as fast as it goes or with a pause after each (seconds). TERM ends it after the call."""
    ended = False

    def stop(number: int, frame: object) -> None:
        nonlocal ended
        ended = True  # not an Event: to set it while this thread waits for it is a deadlock

    signal.signal(signal.SIGTERM, stop)
    q = SpoolQ(url, spool=spool or None, spool_min_free=0)
    task = q.remote("note", queue)
    with open(path, "a", buffering=1) as log, q, Control() as control:
        for number in range(jobs):
            if ended:
                return
            job = task.job(number)
            log.write(f"TRY {job.id}\n")
            began = time.perf_counter() - control.unscheduled
            try:
                [receipt] = q.submit([job])
                end = f"ACK {job.id} {receipt.route}"
            except EnqueueError as error:
                end = f"ERR {job.id} {type(error).__name__}"
            log.write(f"{end} {(time.perf_counter() - control.unscheduled - began) * 1000:.2f}\n")
            if pause:
                time.sleep(pause)


if __name__ == "__main__":
    url, spool, path, jobs, *more = sys.argv[1:]
    main(url, spool, path, int(jobs), *more[:1], *map(float, more[1:]))
