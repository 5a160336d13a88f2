"""rq's side of the benchmark."""

import os

import jobs
from redis import Redis
from rq import Queue

if __name__ == "__main__":
    queue = Queue("bench", connection=Redis.from_url(os.environ["BENCH_URL"]))

    def many(count):
        """Its own call for several."""
        queue.enqueue_many([Queue.prepare_data(jobs.work, jobs.ARGUMENTS) for _ in range(count)])

    jobs.enqueue(lambda: queue.enqueue(jobs.work, *jobs.ARGUMENTS), lambda: queue.enqueue(jobs.picked), many)
