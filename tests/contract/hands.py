"""Short words for the contract tests: messages, workers that count their calls, failures."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any

from spoolq import wire
from spoolq.job import Claim, Failure, Job, Message
from spoolq.store.base import Claimed, Store, WorkerInfo

LONG = 60.0
"""A lease that doesn't run out while a test runs."""
SHORT = 0.15
"""One that does, by the store's own clock."""


def message(
    id: str, queue: str = "q", *, run_at: float = 0.0, given: bool = False, attempt: int = 0, at_front: bool = False
) -> Message:
    """A job of task `t` as it is put."""
    return wire.message(Job(id, "t", queue, ("x",), attempt=attempt, run_at=run_at, given=given, at_front=at_front))


def messages(*ids: str, queue: str = "q") -> list[Message]:
    return [message(id, queue) for id in ids]


def id_of(claim: Claim) -> str:
    id: str = json.loads(claim.payload)["id"]
    return id


def ids(claims: Iterable[Claim]) -> list[str]:
    return [id_of(claim) for claim in claims]


def failure(claim: Claim, error: str = "no such file", at: float = 1_700_000_000.0) -> Failure:
    try:
        id = id_of(claim)
    except (ValueError, TypeError, KeyError):
        id = "unread"
    trace = ('File "a.py", line 1, in f', "    open('é')")
    return Failure(id, claim.queue, "host:1:q", "FileNotFoundError", error, trace, at, claim.payload)


def worker(key: str = "w1", *, lease: float = LONG, queues: Sequence[str] = ("q",), **more: Any) -> WorkerInfo:
    return WorkerInfo(key, "host", 4242, tuple(queues), started_at=1_700_000_000.0, lease=lease, **more)


def at_front(*ids: str, queue: str = "q", given: bool = False) -> list[Message]:
    return [message(id, queue, given=given, at_front=True) for id in ids]


class Hand:
    """A worker on one store, counting up its calls."""

    def __init__(self, store: Store, key: str = "w1", *, lease: float = LONG, queues: Sequence[str] = ("q",)) -> None:
        self.store, self.info, self.call = store, worker(key, lease=lease, queues=queues), 0

    def claim(self, limit: int = 10, queues: Sequence[str] | None = None, **more: Any) -> tuple[Claim, ...]:
        """What the next call takes."""
        return self.ask(limit, queues, **more).claims

    def ask(self, limit: int = 10, queues: Sequence[str] | None = None, **more: Any) -> Claimed:
        """The next call."""
        self.call += 1
        return self.store.claim(self.info, self.call, self.info.queues if queues is None else queues, limit, **more)

    def holds(self) -> int:
        """How many claims the store holds for this worker."""
        return self.store.heartbeat(self.info)


def claimable(store: Store, queue: str = "q") -> list[str]:
    """The ids that a worker could take now, in order; put back at once."""
    looker = Hand(store, f"looker-{next(_numbers)}", queues=(queue,))
    claims = looker.claim(1000)
    if claims:
        store.release(claims)
    store.unregister(looker.info)
    return ids(claims)


_numbers = itertools.count()
