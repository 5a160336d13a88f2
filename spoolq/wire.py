"""A job as bytes: Resque's JSON with spoolq's fields beside Resque's own. Pure, bytes in and bytes out.

    {"class":"send_email","queue":"mail","args":["a@example.com"],"id":"0199…","enqueued_at":1795511017.25}

`class`, `queue` and `args` are what every Resque worker reads; the others are ours, and stock workers ignore them.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal

from spoolq import following, history, jsjson, stamps, tracing, unique
from spoolq.errors import PayloadError
from spoolq.failed import LONGEST_ID, decode_failure, encode_failure, job_id, may_have, nameless
from spoolq.job import Attempt, Job, Message, Trace, Unique, new_id
from spoolq.jsonable import DEPTH, check, suspicious

__all__ = [
    "Mode",
    "Named",
    "attempted",
    "bare",
    "begun",
    "decode",
    "decode_failure",
    "encode",
    "encode_bare",
    "encode_failure",
    "enqueued_at",
    "expires_at",
    "has_id",
    "may_have",
    "message",
    "named",
    "nameless",
    "record",
    "trace_of",
    "tracked",
    "unique_of",
]

Mode = Literal["python", "resque"]
"""`python` sends what Python's JSON holds; `resque` only what JavaScript writes back byte for byte, and no keyword arguments."""

MAX_BYTES = 1 << 20
_LISTS = (tuple, list)
_SHOWN = 300  # characters of a name in the log

_RESQUE = frozenset({"class", "queue", "args"})
OURS = frozenset(
    {"id", "kwargs", "attempt", "crashes", "history", "begun", "run", "enqueued_at", "expires_at", "retries", "after", "batch"}
    | {"track", "result", "unique", "traceparent", "tracestate"}
)
_KNOWN = _RESQUE | OURS
_PLAIN = frozenset({"class", "queue", "args", "id", "kwargs", "enqueued_at"})  # all that most jobs have
_LAUNCHED = frozenset({"id", "task", "queue", "args", "kwargs", "enqueued_at", "extra"})  # and what such a `Job` was made of

# Without its check for circles the encoder needs no table of what it is inside of: a circle ends as RecursionError
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))


def _kept(encoder: json.JSONEncoder) -> Callable[[Any], str]:
    """Its `encode`, which makes a C encoder for each call, with one that is kept; as it is where Python has none."""
    try:
        from json.encoder import c_make_encoder, encode_basestring  # type: ignore[attr-defined]

        chunks = c_make_encoder(
            None,
            encoder.default,
            encode_basestring,
            None,
            encoder.key_separator,
            encoder.item_separator,
            encoder.sort_keys,
            encoder.skipkeys,
            encoder.allow_nan,
        )
    except (ImportError, TypeError):
        return encoder.encode
    return lambda value: "".join(chunks(value, 0))


_dumps = _kept(_encoder)
_text: Callable[[str], str] = json.encoder.encode_basestring
_name = lru_cache(maxsize=1024)(_text)  # of tasks and queues, which come again and again


def encode(job: Job, mode: Mode = "python", max_bytes: int = MAX_BYTES) -> bytes:
    """The payload for a store; a job that its trace would make too large goes without. Raises PayloadError, naming the place, for
    what can't be carried: nothing was stored."""
    if job.trace is None:
        data = _plain(job) if mode == "python" else None
        if data is None or len(data) > max_bytes:
            return _encoded(job, _fields(job, mode), mode, max_bytes)
        return data
    data = _encoded(job, _fields(job, mode), mode, sys.maxsize)
    return data if len(data) <= max_bytes else encode(tracing.stamped(job, None), mode, max_bytes)


def _plain(job: Job) -> bytes | None:
    """The payload of a job that was launched without options, as nearly all are: the bytes that the fields of any job make, in
    half the time. None for another job, and where something is to be said about this one."""
    if job.__dict__.keys() != _LAUNCHED or job.kwargs or job.extra or type(job.enqueued_at) is not float:
        return None
    id, args = job.id, job.args
    if not (_fit(id) and job.task) or type(args) not in _LISTS or suspicious(args, DEPTH - 1):
        return None
    try:
        at = _seconds("enqueued_at", job.enqueued_at)
        return (
            f'{{"class":{_name(job.task)},"queue":{_name(job.queue)},"args":{_dumps(args)},"id":{_text(id)},"enqueued_at":{at!r}}}'
        ).encode()
    except (PayloadError, TypeError, ValueError, RecursionError):
        return None


def _fit(id: object) -> bool:
    return isinstance(id, str) and 0 < len(id) <= LONGEST_ID and id.isprintable()


def _fields(job: Job, mode: Mode) -> dict[str, Any]:
    fields: dict[str, Any] = {"class": job.task, "queue": job.queue, "args": job.args, "id": job.id}
    if not _fit(job.id):
        raise PayloadError(f"id: {job.id!r:.220} can't name a job; an id is a text of 1 to {LONGEST_ID} printable characters")
    if job.kwargs:
        fields["kwargs"] = dict(job.kwargs)
    if job.attempt > 0:
        fields["attempt"] = job.attempt
    if job.crashes > 0:
        fields["crashes"] = job.crashes
    if job.history:
        fields["history"] = history.written(job.history)
    if job.begun:
        fields["begun"] = True
    if job.run > 0:
        fields["run"] = job.run
    if job.enqueued_at is not None:
        fields["enqueued_at"] = _seconds("enqueued_at", job.enqueued_at)
    if job.expires_at is not None:
        fields["expires_at"] = _seconds("expires_at", job.expires_at)
    if job.retries is not None:
        fields["retries"] = job.retries
    if job.after or job.batch is not None:
        fields |= _following(job, mode)
    if job.track is not None:
        fields["track"] = _seconds("track", job.track)
    if job.result:
        fields["result"] = True
    if job.unique is not None:
        fields["unique"] = unique.written(job.unique, job)
    if job.trace is not None:
        fields |= tracing.written(job.trace)
    fields.update(job.extra)
    return fields


def _following(job: Job, mode: Mode) -> dict[str, Any]:
    if mode == "resque":
        raise PayloadError(
            f"{job.task}: Resque's workers would ignore after= and batches, and what is to come would never come; enqueue it in "
            'the task itself, or use wire="python"'
        )

    def fields(one: Job) -> dict[str, Any]:
        found = _fields(one, mode)
        _encoded(one, found, mode, sys.maxsize)  # what can't be carried is said as of any job
        return found

    return following.write(job, fields)


def _encoded(job: Job, fields: Mapping[str, Any], mode: Mode, max_bytes: int) -> bytes:
    if not job.task:
        raise PayloadError("class: the task has no name")
    odd = mode == "resque" or job.extra or type(job.args) not in _LISTS
    if odd or suspicious(job.args, DEPTH - 1) or (job.kwargs and suspicious((job.kwargs,))):
        _check(job, fields, mode)
    try:
        data = (jsjson.stringify if mode == "resque" else _dumps)(fields).encode()
    except (TypeError, ValueError, RecursionError) as error:
        _check(job, fields, mode)
        raise PayloadError(f"the job can't be written as JSON: {error}") from error
    if len(data) > max_bytes:
        size = f"{_size(len(data))}, more than max_payload {_size(max_bytes)}"
        raise PayloadError(f"the job is {size}; put the data elsewhere and send a reference")
    return data


def _check(job: Job, fields: Mapping[str, Any], mode: Mode) -> None:
    javascript = mode == "resque"
    if not isinstance(job.args, list | tuple):
        raise PayloadError(f"args: a list or tuple is needed, this is {type(job.args).__qualname__}; send [value]")
    if javascript and job.kwargs:
        names = ", ".join(map(str, job.kwargs))
        raise PayloadError(f'kwargs: Resque\'s workers would ignore {names}; send positional arguments, or use wire="python"')
    taken = sorted(_KNOWN.intersection(job.extra))
    if taken:
        raise PayloadError(f"extra: {', '.join(taken)} is a field of the job itself; use another name")
    check(dict(job.extra), "extra", javascript=javascript)
    for name in fields.keys() - job.extra.keys():
        check(fields[name], name, javascript=javascript)


def _seconds(name: str, at: float) -> float:
    try:
        # What round(at, 6) gives, without its detour through decimal digits; past the year 2096 a float is too coarse for that
        rounded = round(at * 1e6) / 1e6 if -4e9 < at < 4e9 else round(at, 6)
        return int(rounded) if rounded == int(rounded) else rounded
    except (TypeError, ValueError, OverflowError):
        raise PayloadError(f"{name}: {at!r} is not a time; send epoch seconds, as time.time() or when.timestamp() give") from None


def _size(count: int) -> str:
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{math.ceil(count * 10 / unit) / 10:g} {name}"
    return f"{count} bytes"


def decode(payload: bytes, queue: str) -> Job:
    """The job in a payload popped from `queue`, whoever wrote it: the queue it was in counts, not the one it names.

    Without an id it gets a fresh one, and with one of more than 200 characters a digest of that. Arguments that aren't a list
    become the one argument, as a stock worker calls it. Fields of ours with a wrong type count as absent; unknown ones are kept
    in `extra`. Raises PayloadError for what isn't a job.
    """
    return _job(jsjson.fields(payload), queue)


def _job(fields: dict[str, Any], queue: str, depth: int = 0) -> Job:
    args = fields.get("args", [])
    kwargs = fields.get("kwargs")
    first = {
        "id": job_id(fields) or new_id(),
        "task": fields["class"],
        "queue": queue,
        "args": tuple(args) if isinstance(args, list) else (args,),
        "kwargs": kwargs if isinstance(kwargs, dict) else {},
        "enqueued_at": _time(fields.get("enqueued_at")),
    }
    if fields.keys() <= _PLAIN:
        return Job.of(**first, extra={})
    job = Job.of(
        **first,
        attempt=_count(fields.get("attempt")) or 0,
        crashes=_count(fields.get("crashes")) or 0,
        history=history.read(fields.get("history")),
        begun=fields.get("begun") is True,
        run=_count(fields.get("run")) or 0,
        expires_at=_time(fields.get("expires_at")),
        retries=_count(fields.get("retries")),
        track=_time(fields.get("track")),
        result=fields.get("result") is True,
        unique=unique.read(fields) if "unique" in fields else None,
        trace=tracing.read(fields) if "traceparent" in fields else None,
        extra={key: value for key, value in fields.items() if key not in _KNOWN},
    )
    return following.read(job, fields, _job, depth) if "after" in fields or "batch" in fields else job


def _count(value: Any) -> int | None:
    # Bounded: Python writes no integer of more than 4300 digits, so the next one might not be written
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < jsjson.SAFE else None


def _time(value: Any) -> float | None:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def message(job: Job, mode: Mode = "python", max_bytes: int = MAX_BYTES) -> Message:
    """The job as a store takes it. Raises PayloadError as `encode` does."""
    payload = encode(job, mode, max_bytes)
    return Message(job.put_id if job.run else job.id, job.queue, payload, job.run_at, job.given, 0.0, job.at_front, job.unique)


def encode_bare(job: Job, mode: Mode = "python", max_bytes: int = MAX_BYTES) -> bytes:
    """Only what every Resque peer keeps: class, queue and args, in the bytes that a peer looks for (`del`, delayed jobs).

    The id is not in it. Raises PayloadError as `encode` does, and for keyword arguments.
    """
    if job.kwargs:
        names = ", ".join(map(str, job.kwargs))
        raise PayloadError(f"kwargs: Resque's own keys would lose {names}; send positional arguments")
    fields = {"class": job.task, "queue": job.queue, "args": job.args}
    return _encoded(job, fields, mode, max_bytes)


def attempted(payload: bytes, job: Job, ended: Attempt | None = None, *, crash: bool = False) -> bytes:
    """The payload of a claimed job with this attempt counted, for `Store.retry`; as a `crash` where its worker died. `ended` says
    how, for the history.

    Everything else stays as it was written, numbers that Python can't hold included. `job` is what `decode` gave: a payload
    without an id gets that job's, so that its attempts stay together. Raises PayloadError for what isn't a job.
    """
    changes: dict[str, str | None] = {"crashes": str(job.crashes + 1)} if crash else {"attempt": str(job.attempt + 1)}
    if ended is not None:
        changes["history"] = history.write(history.added(job.history, ended))
    return _changed(payload, job, changes)


def begun(payload: bytes, job: Job) -> bytes:
    """The payload of a claimed job that began to run, and nobody knows how that ended: for `Store.retry`, nothing counted. As
    `attempted` otherwise."""
    return _changed(payload, job, {"begun": "true"})


def _changed(payload: bytes, job: Job, changes: dict[str, str | None]) -> bytes:
    if job_id(jsjson.fields(payload)) != job.id:
        changes["id"] = _dumps(job.id)
    return jsjson.edited(payload.decode(), changes).encode()


def expires_at(payload: bytes) -> float | None:
    """When the job ceases to be worth running (epoch seconds), None for never or what can't be read. Never raises."""
    return _peek(payload, "expires_at")


def unique_of(payload: bytes, queue: str) -> Unique | None:
    """What keeps equal jobs out, None for nothing or what can't be read. Never raises."""
    if b'"unique"' not in payload:
        return None
    try:
        return decode(payload, queue).unique
    except PayloadError:
        return None


def enqueued_at(payload: bytes) -> float | None:
    """When the job was enqueued (epoch seconds), None where it isn't said or can't be read. Never raises."""
    return _peek(payload, "enqueued_at")


def has_id(payload: bytes) -> bool:
    """Whether the payload names its job; a stock producer's doesn't. Raises PayloadError for what isn't a job."""
    return bool(job_id(jsjson.fields(payload)))


def bare(payload: bytes) -> bool:
    """Whether it has no more than every Resque peer keeps. Never raises."""
    try:
        return jsjson.fields(payload).keys() <= _RESQUE
    except PayloadError:
        return False


def trace_of(payload: bytes) -> Trace | None:
    """The trace in which the job was enqueued, None for none or what can't be read. Never raises."""
    if b'"traceparent"' not in payload:
        return None
    try:
        return tracing.read(jsjson.fields(payload))
    except PayloadError:
        return None


def tracked(payload: bytes) -> bool:
    """Whether it is remembered how the job ends. Quick where it isn't, which is nearly always. Never raises."""
    return b'"track":' in payload and _peek(payload, "track") is not None


class Named(str):
    """A job in words, with its parts for who writes logs by fields."""

    __slots__ = ("job", "queue", "task")

    job: str
    task: str
    queue: str


def named(payload: bytes, queue: str, id: str = "") -> Named:
    """The job in a line of the log: its id (this one where it is known), task and queue, and no argument. Never raises."""
    try:
        fields = jsjson.fields(payload)
    except PayloadError:
        fields = {"class": "unreadable"}
    id, task = id or job_id(fields) or "", str(fields["class"])
    words = [id or "without an id", f"({task}, queue {queue})"]
    said = Named("job " + " ".join(word if word.isprintable() else ascii(word) for word in (word[:_SHOWN] for word in words)))
    said.job, said.task, said.queue = id[:_SHOWN], task[:_SHOWN], queue[:_SHOWN]
    return said


def _peek(payload: bytes, name: str) -> float | None:
    if f'"{name}"'.encode() not in payload:
        return None
    try:
        return _time(jsjson.fields(payload).get(name))
    except PayloadError:
        return None


def record(payload: bytes, queue: str, worker: str, since: float) -> bytes | None:
    """What Resque's `worker:ID` key says while a thread works: since when (epoch seconds), on what.

    The payload goes in as it was written. None when it isn't a job, or is nested too deeply for resque-web's JSON reader: a
    page that shows workers would raise at such a record.
    """
    try:
        jsjson.fields(payload)
    except PayloadError:
        return None
    if not jsjson.shallow(payload):
        return None
    head = f'{{"run_at":"{stamps.iso(since // 1)}","queue":{_dumps(queue)},"worker":{_dumps(worker)},"payload":'
    return head.encode() + payload + b"}"
