"""The jobs that are to come after another one, and the callback of its batch, as they travel in its payload.

    "after":[{"class":"mail","queue":"mail","args":["a@example.com"],"id":"0199…"}]
    "batch":{"id":"0199…","size":3,"on":"success","then":{"class":"mail",…}}

Each is a payload of its own, with what a store is to be told beside it: `run_at`, `given`, `at_front`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from spoolq.errors import PayloadError
from spoolq.failed import job_id
from spoolq.job import Job, Member
from spoolq.spans import LONGEST

DEPTH = 30
"""How many jobs may come one after the other, each in the payload of the one before."""

WIDTH = 500
"""How many jobs may come after one: a step of more would hold up the server for everybody; one of far more it does not read."""

MOST = 10_000
"""How many jobs a batch may have."""

ON = ("success", "complete")

_TOLD = ("run_at", "given", "at_front")

Write = Callable[[Job], dict[str, Any]]
Read = Callable[[dict[str, Any], str, int], Job]


def write(job: Job, fields: Write) -> dict[str, Any]:
    """The members for its payload. `fields` gives those of a payload, and raises PayloadError."""
    written: dict[str, Any] = {}
    if job.after:
        written["after"] = [_travelling(one, fields) for one in job.after]
    if job.batch is not None:
        written["batch"] = job.batch._asdict() | {"then": _travelling(job.batch.then, fields)}
    return written


def read(job: Job, fields: dict[str, Any], read: Read, depth: int) -> Job:
    """The job with what follows it, as its payload's `fields` say; what has a wrong form counts as absent. Raises PayloadError
    for a chain of more than DEPTH, which would take a stack without end, and for more than WIDTH jobs after one."""
    after, batch = fields.get("after"), fields.get("batch")
    if depth >= DEPTH and (after or batch):
        raise PayloadError(f"after: more than {DEPTH} jobs one after the other")
    if isinstance(after, list) and len(after) > WIDTH:
        raise PayloadError(f"after: {len(after)} jobs, {WIDTH} at most")
    jobs = [_read(one, read, depth) for one in after] if isinstance(after, list) else []
    return replace(job, after=tuple(one for one in jobs if one is not None), batch=_member(batch, read, depth))


def _travelling(job: Job, fields: Write) -> dict[str, Any]:
    return fields(job) | {name: value for name in _TOLD if (value := getattr(job, name))}


def _read(fields: Any, read: Read, depth: int) -> Job | None:
    if not isinstance(fields, dict) or not job_id(fields):
        return None
    name, queue = fields.get("class"), fields.get("queue")
    if not (isinstance(name, str) and name and isinstance(queue, str) and queue and "\n" not in queue):
        return None
    payload = {key: value for key, value in fields.items() if key not in _TOLD}
    given, at_front = fields.get("given") is True, fields.get("at_front") is True
    return replace(read(payload, queue, depth + 1), run_at=_moment(fields.get("run_at")), given=given, at_front=at_front)


def _member(fields: Any, read: Read, depth: int) -> Member | None:
    if not isinstance(fields, dict):
        return None
    id, size, on, then = job_id(fields), fields.get("size"), fields.get("on"), _read(fields.get("then"), read, depth)
    if not id or then is None or on not in ON or isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MOST:
        return None
    return Member(id, size, on, then)


def _moment(value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONGEST
    return float(value) if number else 0.0
