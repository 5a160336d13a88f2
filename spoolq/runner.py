"""Running one claim to an outcome, which is data: what the store is to be told."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from spoolq import wire
from spoolq.errors import PayloadError, UnknownTask, WorkerDied
from spoolq.job import Claim, Failure, Job, new_id
from spoolq.retry import Dropped, GiveUp, RetryAt, RetryPolicy, decide
from spoolq.store.base import WorkerInfo
from spoolq.tasks import Task, Tasks

log = logging.getLogger("spoolq.worker")

Call = Callable[[Task[..., Any], Job], Any]

UNKNOWN_POLICY = RetryPolicy()


@dataclass(frozen=True, slots=True)
class Current:
    """The job that is running on this thread (or task), for the task's own use.

    `store` is "primary" or "spool"; `fresh` says that no attempt at it has ended before.
    """

    job: Job
    store: str

    @property
    def id(self) -> str:
        """The job's id: what an idempotent task remembers."""
        return self.job.id

    @property
    def attempt(self) -> int:
        """How many attempts ended before this one."""
        return self.job.attempt

    @property
    def fresh(self) -> bool:
        """Whether this is the first attempt."""
        return self.job.attempt == 0 and self.job.run == 0


_current: ContextVar[Current | None] = ContextVar("spoolq_current", default=None)


def current() -> Current | None:
    """The running job; None outside of one."""
    return _current.get()


@dataclass(frozen=True, slots=True)
class Done:
    """Acknowledge it. `counter` is what it counts as."""

    counter: str = "processed"


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Back into the queue with this payload, not before `at` (epoch seconds)."""

    payload: bytes
    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Into the failure log."""

    failure: Failure


Outcome = Done | RetryLater | Failed
PROCESSED, EXPIRED, DISCARDED = Done(), Done("expired"), Done("discarded")


class Runner:
    """Runs claims of one store with the tasks of one application. Never raises, whatever the task or the payload does.

    `clock` is the store's (`Store.now`), which says when a retry is due: a host whose clock is wrong would put it off for hours.
    """

    def __init__(self, tasks: Tasks, worker: WorkerInfo, store: str, clock: Callable[[], float]) -> None:
        self._tasks = tasks
        self._worker = worker
        self._store = store
        self._clock = clock

    def run(self, claim: Claim, slot: int = 0, call: Call = Task.run) -> Outcome:
        """Run the job; `slot` is the number of the thread, `call` runs the task with it, within its limits."""
        try:
            return self._run(claim, slot, call)
        except BaseException as error:  # a mistake of ours or of a policy ends one job's attempt, never a thread
            log.exception("a job of queue %s could not be run to an outcome; it goes to the failure log", claim.queue)
            return self._failed(claim, new_id(), error, [], 1, slot)

    def _run(self, claim: Claim, slot: int, call: Call) -> Outcome:
        try:
            job = wire.decode(claim.payload, claim.queue)
        except PayloadError as error:
            return self._unreadable(claim, error, slot)
        if job.expires_at is not None and self._clock() >= job.expires_at:
            return EXPIRED
        try:
            task = self._tasks.get(job.task)
        except UnknownTask as error:
            return self._ended(claim, job, UNKNOWN_POLICY, error, slot)
        token = _current.set(Current(job, self._store))
        try:
            call(task, job)
        except BaseException as error:  # a task may even call sys.exit; the worker goes on
            return self._ended(claim, job, task.policy, error, slot)
        finally:
            _current.reset(token)
        return PROCESSED

    def died(self, claim: Claim, why: BaseException | None = None) -> Outcome:
        """The outcome of a claim whose worker died, or whose thread was struck by `why`: an attempt, to be followed by another as
        the task's policy has it."""
        try:
            return self._died(claim, why)
        except BaseException as error:
            log.exception(
                "what becomes of a job of queue %s, whose worker died, can't be told; it goes to the failure log", claim.queue
            )
            return self._failed(claim, new_id(), error, [], 1, 0)

    def _died(self, claim: Claim, why: BaseException | None) -> Outcome:
        try:
            job = wire.decode(claim.payload, claim.queue)
        except PayloadError as error:
            return self._unreadable(claim, error, 0)
        try:
            policy = self._tasks.get(job.task).policy
        except UnknownTask:
            policy = UNKNOWN_POLICY
        died = WorkerDied("the worker that held this job stopped answering before it was done (killed, or cut off)")
        return self._ended(claim, job, policy, why or died, 0)

    def _ended(self, claim: Claim, job: Job, policy: RetryPolicy, error: BaseException, slot: int) -> Outcome:
        decision = decide(policy, job, error, self._clock())
        match decision:
            case RetryAt(at, reason):
                return RetryLater(wire.attempted(claim.payload, job), at, reason)
            case Dropped():
                return DISCARDED
            case GiveUp(reason):
                return self._failed(claim, job.id, error, [*_trace(error), reason], job.attempt + 1, slot)

    def _unreadable(self, claim: Claim, error: PayloadError, slot: int) -> Outcome:
        return self._failed(claim, new_id(), error, [], 1, slot)

    def _failed(self, claim: Claim, id: str, error: BaseException, lines: list[str], attempts: int, slot: int) -> Outcome:
        return Failed(
            Failure(
                id=id,
                queue=claim.queue,
                worker=self._worker.resque_id(slot),
                exception=type(error).__name__,
                error=_text(error),
                backtrace=tuple(lines),
                failed_at=self._clock(),
                payload=claim.payload,
                attempts=attempts,
            )
        )


def _trace(error: BaseException) -> list[str]:
    """Its traceback, line by line."""
    if error.__traceback__ is None:
        return []
    try:
        return "".join(traceback.format_exception(error)).splitlines()
    except Exception as broken:  # notes, texts and lazy sources may be the user's own code
        return [f"(its traceback can't be had: {type(broken).__name__})"]


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return f"(its text can't be had: str() of this {type(error).__name__} raises)"
