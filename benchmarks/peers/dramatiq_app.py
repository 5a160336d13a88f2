"""dramatiq's side of the benchmark."""

import os

import dramatiq
import jobs
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=os.environ["BENCH_URL"]))
work = dramatiq.actor(jobs.work, actor_name="work")
picked = dramatiq.actor(jobs.picked, actor_name="picked")

if __name__ == "__main__":
    jobs.enqueue(lambda: work.send(*jobs.ARGUMENTS), picked.send)
