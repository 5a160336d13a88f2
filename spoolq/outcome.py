"""What became of a claim that was run, as data: what the store is to be told."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from contextvars import Context
from dataclasses import dataclass
from typing import Any

from spoolq.job import Claim, Failure, Job
from spoolq.reporter import Following
from spoolq.store.effects import NONE, Effects
from spoolq.tasks import Task
from spoolq.tracing import Processing


@dataclass(frozen=True, slots=True)
class Done:
    """Acknowledge it. `counter` is what it counts as."""

    counter: str = "processed"
    effects: Effects = NONE


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Back into the queue with this payload, not before `at` (epoch seconds)."""

    payload: bytes
    at: float
    reason: str
    effects: Effects = NONE


@dataclass(frozen=True, slots=True)
class Failed:
    """Into the failure log."""

    failure: Failure
    effects: Effects = NONE


@dataclass(frozen=True, slots=True)
class Pending:
    """A job whose task returned an awaitable: what is left of it is for an event loop, in this context."""

    claim: Claim
    job: Job
    task: Task[..., Any]
    awaitable: Awaitable[Any]
    context: Context
    run: Following | None = None
    span: Processing | None = None

    def close(self) -> None:
        """It will not be awaited."""
        if inspect.iscoroutine(self.awaitable):
            self.awaitable.close()


Outcome = Done | RetryLater | Failed
"""What a store is to be told of a claim. The effects of an outcome happen in the step that settles it, and only there."""
PROCESSED, EXPIRED, DISCARDED, CANCELLED = Done(), Done("expired"), Done("discarded"), Done("cancelled")
