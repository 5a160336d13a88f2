"""What is known of a job by its id, as values that ride on the steps of its way: put, settled. Pure.

A job whose task asks for it (`track`, `result_ttl`) has up to three values beside it, each a small JSON document:

    queued:ID    since it was put; gone with its first settling
    job:ID       what the last settling made of it: tried again, or its end, and the result
    running:ID   what its worker says while it runs, renewed by that for as long as it lives
    cancel:ID    somebody wants it to stop; of any job

Of two that disagree the one counts that knows of more attempts: `run` and `ended` number them. So a word that comes late, or is
said twice, changes nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from spoolq import wire
from spoolq.errors import JobCancelled, JobDiscarded, JobExpired, JobFailed, NoResult, ResultLost
from spoolq.history import said
from spoolq.job import Job, Message
from spoolq.jsonable import check
from spoolq.store.effects import NONE, Effects

TRACK_FOR = 86_400.0
"""Seconds for which a job's end is remembered where its task says only `track=True`."""

KEPT_FOR = 100 * 365 * 86_400.0
"""At most: a payload may say more than a store can count."""

WAITS_FOR = 7 * 86_400.0
"""Seconds for which a job is known as one that waits, after it has come due."""

RUNS_FOR = 60.0
"""Seconds after which a worker that says nothing of a running job isn't believed any more."""

ASKED_FOR = 86_400.0
"""Seconds for which the wish that a job stop is kept."""

MAX_RESULT = wire.MAX_BYTES
"""Bytes of a result."""

MAX_TEXT = 1000
"""Characters of an error, or of what a job says of itself."""

OVER = frozenset({"done", "failed", "cancelled", "expired", "discarded"})
"""The states that are an end."""


class Status(str):
    """How far a job is, in a word: `queued`, `scheduled`, `spooled`, `running`, `retrying`, `done`, `failed`, `cancelled`,
    `expired`, `discarded`, or `unknown`. It is that text, and says more:

    at         since when it is so, in epoch seconds; None where that isn't known
    progress   what the task last said of itself, from 0 to 1, None if nothing; text: its words to it
    error      of one that failed, or is tried again: the exception
    why        of one that is unknown: why it may not be
    """

    at: float | None
    progress: float | None
    text: str
    error: str
    why: str

    def __new__(
        cls,
        state: str,
        *,
        at: float | None = None,
        progress: float | None = None,
        text: str = "",
        error: str = "",
        why: str = "",
    ) -> Status:
        self = super().__new__(cls, state)
        self.at, self.progress, self.text, self.error, self.why = at, progress, text, error, why
        return self

    @property
    def over(self) -> bool:
        """Whether the job has ended."""
        return str(self) in OVER


UNKNOWN = Status("unknown")


def keys(id: str) -> tuple[str, str, str]:
    """Where a job is looked up: what `read` and `outcome` are given the values of, in this order."""
    return f"queued:{id}", f"job:{id}", f"running:{id}"


def cancel_key(id: str) -> str:
    """Where the wish stands that a job stop."""
    return f"cancel:{id}"


# written with a put


def queued(messages: Sequence[Message], now: float) -> Effects:
    """What a put of these is to carry; nothing for jobs that aren't tracked."""
    values = []
    for message in messages:
        if not wire.tracked(message.payload):
            continue
        job = wire.decode(message.payload, message.queue)
        record = {"at": now, "run_at": message.run_at, "run": job.run, "ended": job.ended}
        values.append((keys(job.id)[0], _written(record), max(0.0, message.run_at - now) + WAITS_FOR))
    return Effects(values=tuple(values)) if values else NONE


def wanted_again(ids: Iterable[str]) -> Effects:
    """What comes before a person's re-run of these jobs: who called one back meant the run that is over."""
    return Effects(values=tuple((cancel_key(id), b"", 0.0) for id in ids))


# written with a settling


def tried_again(job: Job, at: float, now: float, error: str) -> Effects:
    """What the retry of this job is to carry."""
    return _settled(job, now, max(0.0, at - now) + WAITS_FOR, {"state": "retrying", "run_at": at, "error": error[:MAX_TEXT]})


def ended(job: Job, state: str, now: float, error: str = "") -> Effects:
    """What its last settling is to carry, without a result."""
    return _settled(job, now, job.track, {"state": state, **({"error": error[:MAX_TEXT]} if error else {})})


def over(payload: bytes, queue: str, state: str, now: float) -> Effects:
    """The same of a payload that nobody has decoded yet."""
    return ended(wire.decode(payload, queue), state, now) if wire.tracked(payload) else NONE


def done(job: Job, result: Any, now: float) -> Effects:
    """The same of a job that is done, with its result where one is asked for."""
    if job.track is None:
        return NONE
    kept: dict[str, Any] = {}
    if job.result:
        try:
            check(result, "result")
            kept = {"result": result}
            if (size := len(_written(kept))) > MAX_RESULT:
                kept = {"lost": f"it has {size:,} bytes, and {MAX_RESULT:,} are kept at most: store it elsewhere, return a name"}
        except Exception as error:  # also of a class of the caller's, or a dict that another thread changes: the job is done
            kept = {"lost": said(error) or type(error).__name__}
    return _settled(job, now, job.track, {"state": "done", **kept})


def _settled(job: Job, now: float, ttl: float | None, record: Mapping[str, Any]) -> Effects:
    if job.track is None or ttl is None:
        return NONE
    waits, key, runs = keys(job.id)
    text = _written({"at": now, "run": job.run, "ended": job.ended + 1, **record})
    return Effects(
        values=((key, text, min(ttl, KEPT_FOR)), (waits, b"", 0.0), (runs, b"", 0.0))
    )  # which could outlive a short ttl


# written while it runs


def running(job: Job, since: float, progress: float | None, text: str) -> tuple[str, bytes, float]:
    """What its worker says of it now, as a value."""
    record = {"at": since, "run": job.run, "ended": job.ended, "progress": progress, "text": text}
    return keys(job.id)[2], _written(record), RUNS_FOR


# read


def read(values: Sequence[bytes | None], now: float | None = None) -> Status:
    """The state that the values under `keys` say together."""
    waits, settled, runs = map(_read, values)
    last = settled or waits
    if runs and (not last or _number(runs) >= _number(last)):
        progress = runs.get("progress")
        known = isinstance(progress, int | float) and not isinstance(progress, bool)
        return Status("running", at=_at(runs), progress=progress if known else None, text=str(runs.get("text", "")))
    if not last:
        return UNKNOWN
    state = last.get("state")
    if state is None:
        due = last.get("run_at")
        late = isinstance(due, int | float) and due > (time.time() if now is None else now)
        state = "scheduled" if late else "queued"
    return Status(str(state), at=_at(last), error=str(last.get("error", "")))


def outcome(id: str, values: Sequence[bytes | None]) -> Any:
    """The result of a job that has ended. Raises NoResult where it has none."""
    status, record = read(values), _read(values[1])
    match str(status):
        case "failed":
            raise JobFailed(id, f"failed: {status.error or 'no reason is known'}; `spoolq failed show {id}` shows more")
        case "cancelled":
            raise JobCancelled(id, "was cancelled")
        case "expired":
            raise JobExpired(id, "had expired before anybody ran it, and was dropped")
        case "discarded":
            raise JobDiscarded(id, "was discarded by its task")
        case "done" if "result" in record:
            return record["result"]
        case "done":
            why = record.get("lost", "its task doesn't ask for that (result_ttl=seconds)")
            raise ResultLost(id, f"is done; its result was not kept: {why}")
    raise NoResult(id, f"has not ended: {status}")


def _number(record: Mapping[str, Any]) -> tuple[int, int]:
    run, ended = record.get("run", 0), record.get("ended", 0)
    return (run if isinstance(run, int) else 0), (ended if isinstance(ended, int) else 0)


def _at(record: Mapping[str, Any]) -> float | None:
    at = record.get("at")
    return float(at) if isinstance(at, int | float) else None


def _read(value: bytes | None) -> dict[str, Any]:
    try:
        record = json.loads(value or b"{}")
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _written(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(errors="replace")
