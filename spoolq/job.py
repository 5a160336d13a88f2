"""The data of a job on its way. Frozen, and unable to reach a server."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from spoolq.errors import ConfigError
from spoolq.importing import importing

Route = Literal["primary", "spool", "vetoed"]
"""Which way a job went; `vetoed`: none, since middleware discarded it."""


_uuid7: Callable[[], object] | None = None


def new_id() -> str:
    """A fresh job id: a UUIDv7 (RFC 9562), so that ids sort by the time at which they were made."""
    global _uuid7
    if _uuid7 is None:
        with importing():
            from uuid_utils import uuid7  # 3 ms to load; `import spoolq` stays within the standard library
        _uuid7 = uuid7
    return str(_uuid7())


class Attempt(NamedTuple):
    """One attempt at a job that ended badly.

    `number` counts them from 1, those that aren't kept included. `at` is when it ended (epoch seconds), `exception` the name of
    the exception's class, `error` its text, cut to 200 characters. `worker` is `host:pid`, `took` how many seconds it ran; empty
    and None where that isn't known, as after the death of another host's worker.
    """

    number: int
    at: float
    exception: str
    error: str
    worker: str = ""
    took: float | None = None


class Unique(NamedTuple):
    """What keeps equal jobs from waiting beside this one: the name of the guard that it holds, until it starts or until it is
    done, for so many seconds at most.

    `delayed`: the name under which an equal job would wait in Resque's own delayed keys; empty where it could not.
    """

    key: str
    until: Literal["start", "done"]
    seconds: float
    delayed: str = ""


class Trace(NamedTuple):
    """The context in which a job was enqueued: the values of the two headers of W3C Trace Context."""

    parent: str
    state: str = ""


RERUN = "\t"
"""Between a job's id and the number of its re-run, in `Job.put_id`."""


@dataclass(frozen=True)
class Job:
    """One launch of a task.

    `run_at` and `expires_at` are epoch seconds; `run_at` 0 means at once, `expires_at` None means never.
    `attempt` counts the attempts that ended before this one, and `crashes` apart from them those whose worker died. `history` is
    what is kept of both: the first and the last nine. `begun`: an earlier run of it began, and nobody knows how it ended.
    `run` counts an operator's re-runs from the failure log.
    `given` says that the caller chose the id, `at_front` that it goes to the front of its queue. `accept` is where this launch is
    accepted first, None as the application has it. `unique`: what keeps equal jobs out, None: nothing.
    `after` are the jobs that are put when this one is done, `batch` is its part in a batch.
    `track` is for how many seconds its end is remembered, None for not at all; with `result` what the task returns as well.
    `trace`: the trace in which it was enqueued, where there was one.
    `extra` holds fields that another writer put beside Resque's own; they are
    carried along.
    """

    id: str
    task: str
    queue: str
    args: Any = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    attempt: int = 0
    crashes: int = 0
    history: tuple[Attempt, ...] = ()
    begun: bool = False
    run: int = 0
    enqueued_at: float | None = None
    run_at: float = 0.0
    expires_at: float | None = None
    retries: int | None = None
    given: bool = False
    accept: Literal["primary", "spool"] | None = None
    at_front: bool = False
    after: tuple[Job, ...] = ()
    batch: Member | None = None
    track: float | None = None
    result: bool = False
    unique: Unique | None = None
    trace: Trace | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, **fields: Any) -> Job:
        """As the constructor, for who gives `kwargs` and `extra` and all that must be given. A frozen dataclass sets each of its
        fields by a call, which for these two dozen takes longer than to read a job's JSON."""
        job = cls.__new__(cls)
        object.__setattr__(job, "__dict__", fields)
        return job

    @property
    def ended(self) -> int:
        """How many attempts ended before this one, those whose worker died included."""
        return self.attempt + self.crashes

    @property
    def put_id(self) -> str:
        """The id under which a store knows this launch. A re-run is a new put, or its own marker would swallow it; and it is no
        id that another job could have, since those are printable."""
        return f"{self.id}{RERUN}{self.run}" if self.run else self.id

    def expired(self, now: float | None = None) -> bool:
        """Whether the job is too old to be worth running."""
        return self.expires_at is not None and (time.time() if now is None else now) >= self.expires_at


class Member(NamedTuple):
    """A job's part in a batch: which, of how many jobs, and the callback that is put when they all are done (`on` "success"),
    or have ended in whatever way ("complete")."""

    id: str
    size: int
    on: Literal["success", "complete"]
    then: Job


class Message(NamedTuple):
    """A job as stores carry it: the payload is opaque bytes.

    `id` is the job's `put_id`; `run_at` is epoch seconds, 0 for at once;
    `given` says that the caller chose the id, which is then remembered for the whole horizon.
    `keep` is for write-ahead: seconds for which a spool keeps its row once the primary has the job. 0: not at all.
    `front` puts it before all others of its queue that are ready then; where it isn't due yet it says nothing.
    `unique` is for who puts it, and says which guards to acquire with it; a store doesn't look at it.
    """

    id: str
    queue: str
    payload: bytes
    run_at: float = 0.0
    given: bool = False
    keep: float = 0.0
    front: bool = False
    unique: Unique | None = None


class Claim(NamedTuple):
    """A job taken by a worker under a lease. Only who shows the `token` can settle it."""

    token: str
    worker: str
    queue: str
    payload: bytes


class Handoff(NamedTuple):
    """A row of the spool, claimed by a drainer to be put into the primary.

    `token` is the claim's, `worker` the drainer's key.
    `in_doubt` is what the row said before this claim, to be given back when the attempt surely wasn't applied.
    `not_after` is the latest time (primary's clock) at which any attempt for the row may still be applied, this one included.
    """

    token: str
    worker: str
    message: Message
    in_doubt: bool
    not_after: float
    age: float

    @property
    def claim(self) -> Claim:
        """The same as a worker has it. Made when asked for: of most rows nobody asks."""
        return Claim(self.token, self.worker, self.message.queue, self.message.payload)


def sendable_for(horizon: float) -> float:
    """Seconds for which a row in doubt may be sent, where ids are remembered for `horizon` seconds: with a day to spare, of a
    short one half."""
    return max(horizon - 86_400.0, horizon / 2)


class Follows(Protocol):
    """Who can be asked about a job by its id: the application object."""

    def status(self, id: str) -> Any:
        """How far it is."""

    def result(self, id: str, *, timeout: float) -> Any:
        """What its task returned."""

    def aresult(self, id: str, *, timeout: float) -> Awaitable[Any]:
        """The same for asyncio."""

    def cancel(self, id: str) -> Any:
        """Have it not run, or stop."""


class _Receipt(NamedTuple):
    id: str
    route: Route
    new: bool = True


class Receipt(_Receipt):
    """What `enqueue` returns: the job's id, where it went, and whether it was new. False: that id was there already, or an equal
    job of a unique task; the id is then that one's (empty where node-resque holds the lock: its jobs have none).

    It is plain data, equal by these three. One that was pickled, or made by hand, can't be asked: the application object can, by
    the id (`q.result`, `q.status`, `q.cancel`).
    """

    _owner: Follows | None = None
    _tracked = False

    def owned(self, owner: Follows, *, tracked: bool) -> Receipt:
        """The same, with who can be asked about the job; `tracked`: whether its task leaves anything to be asked for."""
        self._owner = owner
        if tracked:
            self._tracked = True
        return self

    def __getstate__(self) -> None:
        return None  # what it is asked through stays in this process

    def status(self) -> Any:
        """How far the job is: see `SpoolQ.status`."""
        return self._asked(tracked=False).status(self.id)

    def wait(self, timeout: float) -> Any:
        """What the job's task returned, waiting for it up to `timeout` seconds: see `SpoolQ.result`."""
        return self._asked(tracked=True).result(self.id, timeout=timeout)

    async def aresult(self, timeout: float) -> Any:  # noqa: ASYNC109  (that of `wait`)
        """`wait` for asyncio: the loop is never blocked."""
        return await self._asked(tracked=True).aresult(self.id, timeout=timeout)

    def cancel(self) -> Any:
        """Have the job not run, or ask it to stop: see `SpoolQ.cancel`."""
        return self._asked(tracked=False).cancel(self.id)

    def _asked(self, *, tracked: bool) -> Follows:
        if self._owner is None:
            raise ConfigError("this receipt was not made by enqueue here: ask the application object, as in q.result(receipt.id)")
        if tracked and not self._tracked:
            raise ConfigError(
                f"nothing is kept of how job {self.id} ends: declare its task with @q.task(result_ttl=seconds), or track=True"
            )
        return self._owner


@dataclass(frozen=True, slots=True)
class Failure:
    """A job that ended badly, as the failure log keeps it.

    `id` is the job's id, or a digest of the entry where the payload has none. `failed_at` is epoch seconds.
    `payload` is the job's payload as it was claimed (the raw bytes, also when they can't be read).
    `attempts` counts all attempts, the last one and those whose worker died included; `history` is what is kept of them, the last
    one at its end. `worker` is who wrote the entry, `versions` are its spoolq and Python; `host` and `pid` are of the process in
    which the last attempt ran, empty and None where they aren't known, as after the death of another host's worker.
    """

    id: str
    queue: str
    worker: str
    exception: str
    error: str
    backtrace: tuple[str, ...]
    failed_at: float
    payload: bytes
    attempts: int = 1
    history: tuple[Attempt, ...] = ()
    host: str = ""
    pid: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
