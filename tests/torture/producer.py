"""A producer that writes a line before each call and one after it: `TRY id`, then `ACK id route ms` or `ERR id kind ms`.

A line that is missing means unknown, never a guess.
"""

from __future__ import annotations

import sys
import time

from spoolq import EnqueueError, SpoolQ


def main(url: str, spool: str, path: str, jobs: int) -> None:
    """Enqueue so many jobs as fast as it goes."""
    q = SpoolQ(url, spool=spool or None, spool_min_free=0)
    task = q.remote("note", queue="torture")
    with open(path, "a", buffering=1) as log, q:
        for number in range(jobs):
            job = task.job(number)
            log.write(f"TRY {job.id}\n")
            began = time.perf_counter()
            try:
                [receipt] = q.submit([job])
                end = f"ACK {job.id} {receipt.route}"
            except EnqueueError as error:
                end = f"ERR {job.id} {type(error).__name__}"
            log.write(f"{end} {(time.perf_counter() - began) * 1000:.2f}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
