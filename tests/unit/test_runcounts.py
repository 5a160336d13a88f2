"""What is counted of runs: how each ended, under the task that is registered, and nothing that a payload makes up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from spoolq import Discard, SpoolQ
from spoolq.counts import DURATION, OTHER, WAIT, Counts, encoded
from spoolq.job import Message
from spoolq.runcounts import RunCounts


@pytest.fixture
def q(tmp_path: Path) -> Iterator[SpoolQ]:
    with SpoolQ(f"sqlite:///{tmp_path}/jobs.db") as q:

        @q.task(queue="mail", retries=1, backoff=lambda state: 0.0)
        def send(how: str) -> None:
            if how == "fail":
                raise ValueError(how)
            if how == "discard":
                raise Discard

        @q.task(queue="mail")
        async def later(how: str) -> None: ...

        yield q


def work(q: SpoolQ) -> dict[str, int]:
    """What was counted of runs."""
    before = q.counts.totals()
    assert q.worker(queues="mail", burst=True, drain=False).run() == 0
    totals = {name: n - before.get(name, 0) for name, n in q.counts.totals().items()}
    front = "spoolq_jobs_processed_total\tmail\t"
    return {name.removeprefix(front): n for name, n in totals.items() if name.startswith(front)}


def test_each_end_is_counted_by_its_own_word(q: SpoolQ) -> None:
    send = q.tasks.get("send")
    for how in ("well", "well", "fail", "discard"):
        send.enqueue(how)
    q.tasks.get("later").enqueue("well")
    q.submit([replace(send.job("late"), expires_at=time.time() - 1)])
    assert work(q) == {
        "send\tdone": 2,
        "send\tretried": 1,
        "send\tfailed": 1,
        "send\tdiscarded": 1,
        "send\texpired": 1,
        "later\tdone": 1,
    }


def test_a_task_that_nobody_registered_and_what_is_no_job_are_other(q: SpoolQ) -> None:
    q.remote("../../etc/passwd", queue="mail").using(retries=0).enqueue()
    q.primary.put([Message("broken", "mail", b"no json")])
    counted = work(q)
    assert set(counted) <= {f"{OTHER}\tfailed", f"{OTHER}\tretried"}
    assert counted[f"{OTHER}\tfailed"] >= 1


def test_runs_and_waits_are_measured_and_a_retry_has_not_waited_anew(q: SpoolQ) -> None:
    q.tasks.get("send").enqueue("fail")
    work(q)
    totals = q.counts.totals()
    runs, waits = encoded(DURATION, "mail", "send"), encoded(WAIT, "mail")
    assert sum(n for name, n in totals.items() if name.startswith(runs) and not name.endswith("sum")) == 2
    assert sum(n for name, n in totals.items() if name.startswith(waits) and not name.endswith("sum")) == 1


def test_what_is_kept_at_hand_is_gone_with_a_fork() -> None:
    counts = Counts()
    runs = RunCounts(counts)
    runs.of("mail", "send").took(0.1)
    counts.after_fork()
    assert counts.totals() == {}
    runs.of("mail", "send").took(0.1)
    assert counts.totals()[encoded(DURATION, "mail", "send", "0.1")] == 1


def test_more_queues_than_are_kept_at_hand_are_all_counted() -> None:
    counts = Counts()
    runs = RunCounts(counts)
    for n in range(3000):
        runs.of(f"queue-{n}", "send").took(0.1)
    assert sum(n for name, n in counts.totals().items() if name.endswith("\t0.1")) == 3000
    assert len(counts.here.tasks) <= 1000
