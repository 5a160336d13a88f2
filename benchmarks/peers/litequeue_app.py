"""litequeue's side of the benchmark. It has no worker: this one takes a message, runs it, and says that it is done."""

import os
import sys
import time

import jobs
from litequeue import LiteQueue

queue = LiteQueue(os.environ["BENCH_FILE"])


def run():
    """The worker."""
    while True:
        message = queue.pop()
        if message is None:
            time.sleep(0.001)
            continue
        {"work": jobs.work, "picked": jobs.picked}[message.data]()
        queue.done(message.message_id)


if __name__ == "__main__":
    if "work" in sys.argv:
        run()
    jobs.enqueue(lambda: queue.put("work"), lambda: queue.put("picked"))
