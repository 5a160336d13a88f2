"""Running one claim to an outcome, which is data: what the store is to be told."""

from __future__ import annotations

import inspect
import logging
import sys
import time
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import replace
from typing import Any, NamedTuple

from spoolq import chains, history, traces, tracing, tracking, wire
from spoolq.counts import OTHER
from spoolq.current import Current, running
from spoolq.errors import PayloadError, StoreUnavailable, UnknownTask, WorkerDied
from spoolq.gate import Gate
from spoolq.guards import freed, releasing, renewing
from spoolq.job import Attempt, Claim, Failure, Job, new_id
from spoolq.outcome import CANCELLED, DISCARDED, EXPIRED, PROCESSED, Done, Failed, Outcome, Pending, RetryLater
from spoolq.reporter import Following, Reporter
from spoolq.retry import Dropped, RetryAt, RetryPolicy, decide, died_too_often, last_chance, put_off
from spoolq.runcounts import RunCounts, TaskCounts
from spoolq.store.base import WorkerInfo
from spoolq.store.effects import NONE, Effects
from spoolq.tasks import Task, Tasks
from spoolq.version import VERSION

log = logging.getLogger("spoolq.worker")

Call = Callable[[Task[..., Any], Job], Any]
Alone = Callable[[], bool | None]
"""Whether nothing runs beside a job; None when that is kept for another one now."""

UNKNOWN_POLICY = RetryPolicy()
VERSIONS = {"spoolq": VERSION, "python": sys.version.partition(" ")[0]}
"""What a failure's entry says of the process that settled it."""


class Runner:
    """Runs claims of one store with the tasks of one application. Never raises, whatever the task or the payload does.

    `clock` is the store's (`Store.now`), which says when a retry is due: a host whose clock is wrong would put it off for hours.
    `reporter` speaks with the store for what runs.
    """

    def __init__(
        self,
        tasks: Tasks,
        worker: WorkerInfo,
        store: str,
        clock: Callable[[], float],
        timer: Callable[[], float] = time.monotonic,
        reporter: Reporter | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._tasks = tasks
        self._worker = worker
        self._store = store
        self._clock = clock
        self._timer = timer
        self.reporter = reporter
        self.gate = gate
        self.counts = RunCounts(tasks.counts)
        self._here = _Place(worker.host, worker.pid)

    def run(self, claim: Claim, slot: int = 0, call: Call = Task.run, alone: Alone = lambda: True) -> Outcome | Pending:
        """Run the job; `slot` is the number of the thread, `call` runs the task with it, within its limits. What is left of an
        `async def` task is to be awaited, and then told to `finish`. `alone` is asked before a job is run that is given up if its
        worker dies once more: whether nothing runs beside it, so that the death could not be another's."""
        try:
            return self._run(claim, slot, call, alone)
        except BaseException as error:  # a mistake of ours or of a policy ends one job's attempt, never a thread
            job = wire.named(claim.payload, claim.queue)
            log.exception("%s could not be run to an outcome; it goes to the failure log", job)
            return self._unreadable(claim, error, slot)

    def finish(self, pending: Pending, error: BaseException | None, slot: int, took: float, result: object = None) -> Outcome:
        """The outcome of a job that was awaited, for so many seconds, and ended with this error, or with none and this result."""
        try:
            claim, job, task = pending.claim, pending.job, pending.task
            if pending.span is not None:
                pending.span.end(error)
            if error is None:
                outcome = self._done(job, result, pending.run)
            else:
                outcome = self._ended(claim, job, task.policy, error, slot, self._here, took, pending.run, pending.context)
            counted = self.counts.of(claim.queue, task.name)
            counted.took(took)
            counted.ended(claim, outcome)
            return self._freed(claim, job, task, outcome)
        except BaseException as mistake:
            named = wire.named(pending.claim.payload, pending.claim.queue)
            log.exception("%s could not be run to an outcome; it goes to the failure log", named)
            return self._unreadable(pending.claim, mistake, slot)
        finally:
            self.left(pending.run)

    def count_error(self, error: StoreUnavailable) -> None:
        """A call to the store of these claims failed."""
        if self._store == "primary":
            self.counts.counts.add("spoolq_redis_errors_total", error.reason, "work")

    def unbegun(self, pending: Pending) -> None:
        """What is left of it is not run, or its end doesn't count."""
        if pending.span is not None:
            pending.span.end()
        self.left(pending.run)

    def left(self, run: Following | None) -> None:
        """A job runs no more, or its run doesn't count."""
        if run is not None and self.reporter is not None:
            self.reporter.leave(run)

    def _run(self, claim: Claim, slot: int, call: Call, alone: Alone) -> Outcome | Pending:
        try:
            job = wire.decode(claim.payload, claim.queue)
        except PayloadError as error:
            return self._unreadable(claim, error, slot)
        outcome: Outcome | Pending
        try:
            task = self._tasks.get(job.task)
        except UnknownTask as error:
            if job.expires_at is not None and self._clock() >= job.expires_at:
                outcome = self._concluded(job, EXPIRED)
            else:
                outcome = self._ended(claim, job, UNKNOWN_POLICY, error, slot, self._here)
            self.counts.of(claim.queue, OTHER).ended(claim, outcome)
            return self._freed(claim, job, None, outcome)
        counted = self.counts.of(claim.queue, task.name)
        outcome = self._attempt(claim, job, task, counted, slot, call, alone)
        if isinstance(outcome, Pending):
            return outcome
        counted.ended(claim, outcome)
        return outcome if job.unique is None and not task.guarded else self._freed(claim, job, task, outcome)

    def _attempt(
        self, claim: Claim, job: Job, task: Task[..., Any], counted: TaskCounts, slot: int, call: Call, alone: Alone
    ) -> Outcome | Pending:
        if job.expires_at is not None and self._clock() >= job.expires_at:
            return self._concluded(job, EXPIRED)
        if job.crashes:
            if (reason := died_too_often(task.policy, job)) is not None:
                attempts = job.history or (history.ended(job, WorkerDied(), self._clock()),)
                self._tell_failure(job, WorkerDied(), None, will_retry=False)
                return self._concluded(job, self._failed(claim, job.id, WorkerDied(), [reason], attempts, slot, _NOWHERE))
            if last_chance(task.policy, job) and (later := put_off(job, alone(), self._clock())) is not None:
                return RetryLater(claim.payload, later.at, later.reason)
        run = None if self.reporter is None else self.reporter.follow(job)
        if run is not None and run.asked:
            self.left(run)
            return self._concluded(job, CANCELLED)
        if self.gate is not None and (task.guarded or job.unique is not None):
            shut = self.gate.enter(claim.token, job, task)
            if shut is not None:
                self.left(run)
                at = self._clock() + shut.delay
                return RetryLater(claim.payload, at, shut.reason, renewing(job, at, self._clock(), begun=False))
        token = running.set(Current(job, self._store, run))
        span = tracing.Processing(job, self._clock()) if tracing.LOADED in sys.modules and tracing.active() else None
        within = copy_context() if task.hooks.at_run else None  # what middleware sets there ends with the job
        counted.began(job, self._clock())
        began, pending = self._timer(), False
        try:
            result = call(task, job) if within is None else within.run(call, task, job)
            if result is not None and inspect.isawaitable(result):
                pending = True
                return Pending(claim, job, task, result, within or copy_context(), run, span)
        except BaseException as error:  # a task may even call sys.exit; the worker goes on
            if span is not None:
                span.end(error)
            took = self._timer() - began
            counted.took(took)
            return self._ended(claim, job, task.policy, error, slot, self._here, took, run, within)
        finally:
            if span is not None:
                span.leave()
            running.reset(token)
            if not pending:
                self.left(run)
        if span is not None:
            span.end()
        counted.took(self._timer() - began)
        return self._done(job, result, run)

    def _done(self, job: Job, result: object, run: Following | None) -> Outcome:
        return self._concluded(job, CANCELLED if run is not None and run.seen else PROCESSED, result)

    def _to_stop(self, job: Job, run: Following | None) -> bool:
        """Whether somebody wants this job, which ended badly, to run no more."""
        return (run is not None and run.asked) or (self.reporter is not None and self.reporter.asked(job.id))

    def _freed(self, claim: Claim, job: Job, task: Task[..., Any] | None, outcome: Outcome, *, died: bool = False) -> Outcome:
        """With what happens to the job's guards in the same step."""
        unique = job.unique if task is None else task.unique_of(job)
        if died and task is not None:
            lock = task.lock_of(job)
            effects = Effects(release=tuple((key, job.id) for key in (*(() if lock is None else (lock,)), *task.places)))
        else:
            effects = NONE if self.gate is None else self.gate.leave(claim.token)
        if isinstance(outcome, RetryLater):
            effects |= NONE if outcome.effects.acquire else renewing(job, outcome.at, self._clock())
        else:
            effects |= releasing(job, unique)
        return replace(outcome, effects=outcome.effects | effects) if effects else outcome

    def interrupted(self, claim: Claim) -> Outcome | None:
        """The outcome of a claim that a dead worker had begun, and that isn't what it died of: it runs again, and nothing is
        counted. Maybe it was done, and the worker died before it could say so. None: put it back as it is."""
        try:
            payload = wire.begun(claim.payload, wire.decode(claim.payload, claim.queue))
        except PayloadError:
            return None
        return RetryLater(payload, 0.0, "its worker died when it had begun or was done, and could not say so")

    def died(self, claim: Claim, why: BaseException | None = None, dead: WorkerInfo | None = None) -> Outcome:
        """The outcome of a claim whose worker died while it ran it: a crash, counted apart from the attempts; what follows the
        task's policy has. With `why`, that of a claim whose thread or process was struck by it: an attempt like any other. `dead`
        is that worker, where it is known."""
        try:
            return self._died(claim, why, dead)
        except BaseException as error:
            log.exception(
                "what becomes of a job of queue %s, whose worker died, can't be told; it goes to the failure log", claim.queue
            )
            return self._unreadable(claim, error, 0)

    def _died(self, claim: Claim, why: BaseException | None, dead: WorkerInfo | None) -> Outcome:
        try:
            job = wire.decode(claim.payload, claim.queue)
        except PayloadError as error:
            return self._unreadable(claim, error, 0)
        task: Task[..., Any] | None
        try:
            task = self._tasks.get(job.task)
        except UnknownTask:
            task = None
        policy = UNKNOWN_POLICY if task is None else task.policy
        place = _Place(dead.host, dead.pid) if dead is not None else self._here if why is not None else _NOWHERE
        outcome = self._ended(claim, job, policy, why or WorkerDied(), 0, place)
        self.counts.of(claim.queue, OTHER if task is None else task.name).ended(claim, outcome)
        return self._freed(claim, job, task, outcome, died=True)

    def _ended(
        self,
        claim: Claim,
        job: Job,
        policy: RetryPolicy,
        error: BaseException,
        slot: int,
        place: _Place,
        took: float | None = None,
        run: Following | None = None,
        context: Context | None = None,
    ) -> Outcome:
        now = self._clock()
        decision = decide(policy, job, error, now)
        if isinstance(decision, Dropped):
            return self._concluded(job, CANCELLED if run is not None and run.seen else DISCARDED)
        if isinstance(decision, RetryAt) and self._to_stop(job, run):
            return self._concluded(job, CANCELLED)
        self._tell_failure(job, error, context, will_retry=isinstance(decision, RetryAt))
        attempt = history.ended(job, error, now, str(place), took)
        if isinstance(decision, RetryAt):
            payload = wire.attempted(claim.payload, job, attempt, crash=isinstance(error, WorkerDied))
            # what is due at once is due whatever the store's clock, which is only estimated here, says
            said = f"{attempt.exception}: {attempt.error}"
            also = tracking.tried_again(job, decision.at, now, said)
            return RetryLater(payload, decision.at if decision.at > now else 0.0, decision.reason, also)
        lines = [*traces.of_error(error), decision.reason]
        return self._concluded(job, self._failed(claim, job.id, error, lines, history.added(job.history, attempt), slot, place))

    def _concluded(self, job: Job, outcome: Done | Failed, result: object = None) -> Outcome:
        """The outcome of a job that has come to its end, with what is remembered of that and what follows from it."""
        if job.track is None and not job.after and job.batch is None:
            return outcome
        now = self._clock()
        ending: chains.Ending = "failed" if isinstance(outcome, Failed) else "done" if outcome is PROCESSED else "dropped"
        effects = chains.following(job, ending, now)
        if isinstance(outcome, Failed):
            failure = outcome.failure
            effects |= tracking.ended(job, "failed", now, f"{failure.exception}: {failure.error}")
        elif outcome is PROCESSED:
            effects |= tracking.done(job, result, now)
        else:
            effects |= tracking.ended(job, outcome.counter, now)
        return replace(outcome, effects=outcome.effects | effects)

    def _tell_failure(self, job: Job, error: BaseException, context: Context | None, *, will_retry: bool) -> None:
        """Tell middleware, in the context of the run. Whatever it does, the outcome stays."""
        hooks = self._tasks.hooks
        if not hooks.has("on_failure"):
            return

        def tell() -> None:
            running.set(Current(job, self._store))
            hooks.tell("on_failure", job, error, will_retry)

        try:
            (copy_context() if context is None else context.copy()).run(tell)
        except BaseException:
            log.exception("on_failure of middleware failed; it changes nothing for the job")

    def _unreadable(self, claim: Claim, error: BaseException, slot: int) -> Outcome:
        attempt = Attempt(1, self._clock(), type(error).__name__, history.said(error), str(self._here))
        failed = self._failed(claim, new_id(), error, [], history.added((), attempt), slot, self._here)
        self.counts.of(claim.queue, OTHER).ended(claim, failed)
        held = NONE if self.gate is None else self.gate.leave(claim.token)
        return replace(failed, effects=held | freed(claim.payload, claim.queue))

    def _failed(
        self,
        claim: Claim,
        id: str,
        error: BaseException,
        lines: list[str],
        attempts: tuple[Attempt, ...],
        slot: int,
        place: _Place,
    ) -> Failed:
        return Failed(
            Failure(
                id=id,
                queue=claim.queue,
                worker=self._worker.resque_id(slot),
                exception=type(error).__name__,
                error=history.said(error),
                backtrace=tuple(lines),
                failed_at=attempts[-1].at,
                payload=claim.payload,
                attempts=attempts[-1].number,
                history=attempts,
                host=place.host,
                pid=place.pid,
                versions=VERSIONS,
            ),
        )


class _Place(NamedTuple):
    """The process in which a job ran."""

    host: str = ""
    pid: int | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}" if self.host else ""


_NOWHERE = _Place()  # known to nobody who is alive
