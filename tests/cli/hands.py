"""What the tests need done behind the commands' back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from spoolq.app import SpoolQ
from spoolq.job import Failure
from spoolq.store.base import Store


def fill(url: str, count: int, queue: str = "mail", **options: Any) -> list[str]:
    """Enqueue so many jobs, and return their ids."""
    with SpoolQ(url) as q:
        launch = q.remote("send", queue).using(**options)
        return [receipt.id for receipt in q.enqueue_many([launch.job(f"{n}@example.com") for n in range(count)])]


def send(q: SpoolQ, *args: Any, queue: str = "mail", task: str = "send", **options: Any) -> str:
    """Enqueue one job, and return its id."""
    return q.remote(task, queue).using(**options).enqueue(*args).id


def spooled(url: str) -> int:
    """How many rows wait in the default spool of that destination."""
    with SpoolQ(url) as q:
        assert q.spool is not None
        return q.spool.waiting()


def fail(store: Store, q: SpoolQ, queues: Sequence[str] = ("mail",), error: str = "no such address") -> list[str]:
    """Claim what is ready and let it fail. Returns the ids, newest failure first."""
    worker = q.worker_info(queues, 1)
    store.register(worker)
    ids = []
    for number, claim in enumerate(store.claim(worker, 1, queues, 100).claims):
        id = q_id(claim.payload)
        failure = Failure(
            id, claim.queue, "host:1:mail", "ValueError", error, ("shop.py:9",), time.time() + number / 1000, claim.payload, 4
        )
        store.fail(claim, failure)
        ids.append(id)
    store.unregister(worker)
    return ids[::-1]


def q_id(payload: bytes) -> str:
    """The job's id in a payload."""
    from spoolq import wire

    return wire.decode(payload, "mail").id
