"""Celery's side of the benchmark: jobs are acknowledged when they are done, results are not stored."""

import os

import jobs
from celery import Celery

app = Celery("celery_app", broker=os.environ["BENCH_URL"])
app.conf.update(task_ignore_result=True, task_acks_late=True, worker_prefetch_multiplier=200, worker_hijack_root_logger=False)
work = app.task(name="work")(jobs.work)
picked = app.task(name="picked")(jobs.picked)

if __name__ == "__main__":
    jobs.enqueue(lambda: work.delay(*jobs.ARGUMENTS), picked.delay)
