"""Every error spoolq raises, in a tree by what the catcher does about it."""

from __future__ import annotations

from collections.abc import Sequence


class SpoolqError(Exception):
    """Anything that spoolq raises on purpose."""


class ConfigError(SpoolqError):
    """A setting is wrong: nothing was begun. Mend the setting that the message names."""


class NoPlace(ConfigError):
    """The file of a spool or a queue can't be where the setting says: no such directory, not writable, or a directory itself.
    Mend the directory, or name another file."""


class NoAccess(SpoolqError):
    """This user may not use that file, or not even look for it. Run it as the user whose jobs they are."""


class PayloadError(SpoolqError):
    """The job itself can't be carried (not JSON, too large, unreadable). Nothing was stored; trying again won't help."""


class UnknownTask(SpoolqError):
    """No task of that name is registered here."""


class NoResult(SpoolqError):
    """The job has ended, and there is no result of it. `id` is the job's."""

    def __init__(self, id: str, message: str) -> None:
        super().__init__(f"job {id} {message}")
        self.id = id


class JobFailed(NoResult):
    """It failed for good: it is in the failure log."""


class JobCancelled(NoResult):
    """It was cancelled: before it ran, or while it ran and stopped for that."""


class JobExpired(NoResult):
    """It was stale (`expires`) before anybody ran it, and was dropped."""


class JobDiscarded(NoResult):
    """Its task raised `Discard`."""


class ResultLost(NoResult):
    """It is done, and what its task returned could not be kept: it is no JSON, or too large; or nobody asked for it to be kept
    (`track=True` without `result_ttl`)."""


class ResultTimeout(SpoolqError, TimeoutError):
    """The job has not ended in time, as far as can be known. `status` is what is known of it."""

    def __init__(self, id: str, message: str, status: str) -> None:
        super().__init__(f"job {id} {message}")
        self.id = id
        self.status = status


class WorkerDied(SpoolqError):
    """The worker that held the job is gone: its lease ran out before the job was settled. The job may have run, in part or
    whole."""

    def __init__(
        self, message: str = "the worker that held this job stopped answering before it was done (killed, or cut off)"
    ) -> None:
        super().__init__(message)


class EnqueueError(SpoolqError):
    """`enqueue` could not say yes. `stored`, `not_stored` and `unknown` list every id of the call.

    Enqueuing an id again with `using(id=…)`, on the same host and within the horizon, is safe in every case.
    """

    def __init__(
        self,
        message: str,
        *,
        stored: Sequence[str] = (),
        not_stored: Sequence[str] = (),
        unknown: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.stored = tuple(stored)
        self.not_stored = tuple(not_stored)
        self.unknown = tuple(unknown)

    @property
    def id(self) -> str:
        """The id of the first job that was not surely stored."""
        return (self.not_stored + self.unknown)[0]


class NotStored(EnqueueError):
    """The job is in neither place. It can be enqueued again, or handled otherwise."""


class SpoolFull(NotStored):
    """Redis did not take the job, and the spool is at its limit or the disk nearly full. Nothing was dropped to make room."""


class MaybeStored(EnqueueError):
    """The job may or may not have been stored. Enqueue it again with the same id: a second copy won't be queued."""


class StoreError(SpoolqError):
    """A store could not do what it was asked."""


class StoreUnavailable(StoreError):
    """The store did not do it, or it isn't known whether it did.

    `reason` is a short fixed word (`refused`, `timeout`, `readonly`, …) for logs, counters and the breaker.
    `maybe_applied` is true when bytes of the request may have reached the store and no answer did.
    `not_after` is then the latest time, on the store's own clock, at which the attempt can still be applied.
    `server_wide` is true when the fault speaks for the whole server, so that the next call would meet it too.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        maybe_applied: bool = False,
        not_after: float = 0.0,
        server_wide: bool = True,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.maybe_applied = maybe_applied
        self.not_after = not_after
        self.server_wide = server_wide


class StoreFull(StoreUnavailable):
    """The store is out of memory or at its size limit. Nothing was applied; reading and settling still work."""

    def __init__(self, message: str, *, reason: str = "full", server_wide: bool = True) -> None:
        super().__init__(message, reason=reason, server_wide=server_wide)


class SpoolDamaged(StoreUnavailable):
    """The file isn't a spool that can be read. It was left as it is; nothing was applied, unless `maybe_applied`."""

    def __init__(self, message: str, *, maybe_applied: bool = False, not_after: float = 0.0) -> None:
        super().__init__(message, reason="damaged", maybe_applied=maybe_applied, not_after=not_after)


class LeaseLost(StoreError):
    """The claims with these `tokens` are no longer held: somebody took them over. Whatever else the call named was settled."""

    def __init__(self, tokens: Sequence[str]) -> None:
        super().__init__(f"{len(tokens)} claim(s) no longer held: {', '.join(tokens[:3])}{' …' if len(tokens) > 3 else ''}")
        self.tokens = tuple(tokens)


class GuardHeld(StoreError):
    """A guard among the call's effects is held by somebody else. Nothing of the call was applied."""

    def __init__(self, key: str, holder: str) -> None:
        super().__init__(f"guard {key!r} is held by {holder!r}")
        self.key = key
        self.holder = holder


class StaleCall(StoreError):
    """A worker's call carried a number below one already answered, or came after its not-after. Nothing was applied."""


class Retry(Exception):
    """Raised by a task: run this job again in `delay` seconds (None: as its policy says), counted as an attempt."""

    def __init__(self, delay: float | None = None) -> None:
        super().__init__("the task asked to be retried")
        self.delay = delay


class Discard(Exception):
    """Raised by a task: this job is of no use any more. It is dropped and counted, and is not a failure."""


class SoftTimeLimit(Exception):
    """Raised in a task that has run for its `soft_timeout`: the moment to clean up, or to put off the rest. Not caught, it ends
    the attempt, which is tried again by policy."""

    def __str__(self) -> str:
        return super().__str__() or "the task ran longer than its soft_timeout"


class TimeLimit(BaseException):
    """Raised in a task that has run for its `timeout`, and the error of an attempt that this has ended; it is tried again by
    policy. No `except Exception` in a task holds it up."""

    def __str__(self) -> str:
        return super().__str__() or "the task ran longer than its timeout"
