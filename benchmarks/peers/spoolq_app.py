"""spoolq's side of the benchmark."""

import jobs

from spoolq import SpoolQ

q = SpoolQ.from_env()
work = q.task(name="work", queue="bench")(jobs.work)
picked = q.task(name="picked", queue="bench")(jobs.picked)

if __name__ == "__main__":
    jobs.enqueue(work.using(deadline=30.0).enqueue, picked.using(deadline=30.0).enqueue)
    q.close()
