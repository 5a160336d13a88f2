"""The application's queue and its one task, which says how far it is, and stops when it is asked to."""

import time

from spoolq import Discard, SpoolQ, current_job

q = SpoolQ.from_env()


@q.task(queue="reports", result_ttl=3600, retries=2)
def report(title, steps=20, pause=0.25):
    """A slow piece of work, in steps."""
    job = current_job()
    for step in range(steps):
        if job.cancelled:
            raise Discard("the page asked for that")
        job.progress(step / steps, f"step {step + 1} of {steps}")
        time.sleep(pause)
    return {"title": title, "pages": steps}
