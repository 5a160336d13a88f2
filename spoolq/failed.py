"""Entries of Resque's `failed` list: written so that node-resque finds them by their bytes and resque-web can show them,
read whoever wrote them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Sequence
from typing import Any

from spoolq import history, jsjson, stamps
from spoolq.errors import PayloadError
from spoolq.job import Failure

UNREADABLE = "(unreadable)"
"""The class under which a payload that isn't a job is shown. No task can have it; the payload's text is its one argument."""

LONGEST = 1 << 16
"""Characters of an error's text that an entry keeps, and of a line of its backtrace: some errors quote all their data."""

LINES = 200
"""Lines of a backtrace that an entry keeps, the last ones: those next to the error."""

_SLACK = 64

LONGEST_ID = 200
"""Characters of an id, as in `Task.using`."""

DIGEST = 20
"""Characters of the id of an entry that brings none, or one that is too long."""

FEW = 20
"""Ids up to which looking for each in an entry's bytes is quicker than reading the entry."""


def encode_failure(failure: Failure) -> bytes:
    """The entry for `failed`: compact JSON that JavaScript writes back byte for byte. Never raises.

    The payload is shown as the job it is, unknown fields included. Where JavaScript would change it (`1.0`, large integers) it
    is shown in JavaScript's form with its exact text beside it (`raw`); where it isn't a job, as one of class `(unreadable)`
    whose argument is its text (or base64, where it isn't UTF-8). So the payload is never altered. Texts longer than LONGEST and
    backtraces longer than LINES are cut, and say so.
    """
    shown, beside = _shown(failure.payload, failure.queue)
    if failure.id and not _own_id(failure.payload):
        beside["id"] = _text(failure.id)
    members = {
        "worker": _text(failure.worker),
        "queue": _text(failure.queue),
        "payload": shown,
        "exception": _text(_cut(failure.exception)),
        "error": _text(_cut(failure.error)),
        "backtrace": "[" + ",".join([_text(_cut(line)) for line in _last(failure.backtrace)]) + "]",
        "failed_at": _text(stamps.iso(failure.failed_at)),
        "attempts": jsjson.stringify(failure.attempts),
        **_ours(failure),
        **beside,
    }
    return ("{" + ",".join([f'"{key}":{value}' for key, value in members.items()]) + "}").encode()


def _ours(failure: Failure) -> dict[str, str]:
    """What is known beyond what every Resque peer writes."""
    known: dict[str, str] = {}
    if failure.history:
        known["history"] = history.write(failure.history)
    if failure.host:
        known["host"] = _text(_cut(failure.host))
    if failure.pid is not None:
        known["pid"] = jsjson.stringify(failure.pid)
    if failure.versions:
        texts = {_word(name): _cut(_word(version)) for name, version in failure.versions.items()}
        known["versions"] = jsjson.stringify(texts)
    return known


def _shown(payload: bytes, queue: str) -> tuple[str, dict[str, str]]:
    try:
        fields = jsjson.fields(payload)
        text = payload.decode()
        if jsjson.shallow(text):
            shown = jsjson.stringify(fields)
            return shown, {} if shown == text else {"raw": _text(text)}
    except PayloadError:
        pass
    try:
        text, kept = payload.decode(), "text"
    except UnicodeDecodeError:
        text, kept = base64.b64encode(payload).decode(), "base64"
    return f'{{"class":{_text(UNREADABLE)},"queue":{_text(queue)},"args":[{_text(text)}]}}', {"unreadable": _text(kept)}


def _own_id(payload: bytes) -> str | None:
    try:
        return job_id(jsjson.fields(payload))
    except PayloadError:
        return None


def job_id(fields: dict[str, Any]) -> str | None:
    """The id that a payload brings, None where it has none that could be used. In place of one that is too long to be shown
    and kept about stands a digest of it, so that the job has the same id wherever it is read."""
    value = fields.get("id")
    if not isinstance(value, str) or not value or not value.isprintable():
        return None
    return value if len(value) <= LONGEST_ID else _digest(value.encode())


def _text(value: str) -> str:
    return jsjson.stringify(jsjson.clean(value))


def _cut(value: str) -> str:
    # one that was cut before says how much it lacks, and is a little longer
    return value if len(value) <= LONGEST + _SLACK else f"{value[:LONGEST]}… ({len(value) - LONGEST} more characters)"


def _last(lines: Sequence[str]) -> Sequence[str]:
    return lines if len(lines) <= LINES + 1 else (f"… ({len(lines) - LINES} more lines)", *lines[-LINES:])


def decode_failure(entry: bytes) -> Failure:
    """The failure in an entry by spoolq, node-resque, Ruby or anybody else. Never raises: an entry that can't be read gives a
    Failure that says so and has the entry itself as its payload.

    The same entry always has the same id. `failed_at` is 0.0 where the entry has no time that can be read.
    """
    digest = _digest(entry)
    try:
        return _read(entry, digest)
    except (PayloadError, ValueError, RecursionError) as error:
        return Failure(
            id=digest,
            queue="",
            worker="",
            exception="PayloadError",
            error=f"this entry of the failure log can't be read, and is kept as it is: {error}",
            backtrace=(),
            failed_at=0.0,
            payload=entry,
        )


def may_have(entry: bytes, ids: Collection[str]) -> bool:
    """Whether `decode_failure` could find one of these ids in the entry: False is certain, and quickly said. Never raises."""
    if len(ids) > FEW or b"\\u" in entry or b"base64" in entry:  # these two write an id in other bytes than its own
        return True
    return any(len(id) == DIGEST or set(id) & set('"\\/') or id.encode(errors="replace") in entry for id in ids)


def nameless(entry: bytes, failure: Failure) -> bool:
    """Whether the entry, read as that failure, brings no id, so that an equal one may be of another job."""
    return len(failure.id) == DIGEST and failure.id == _digest(entry)


def _digest(entry: bytes) -> str:
    return hashlib.sha256(entry).hexdigest()[:DIGEST]


def _read(entry: bytes, digest: str) -> Failure:
    fields = jsjson.parse(entry)
    raw = _member(entry.decode(), "payload") if isinstance(fields, dict) else None
    if raw is None:
        raise PayloadError("it has no payload")
    shown = fields["payload"]
    try:
        payload = _exact(fields, shown)
    except (PayloadError, ValueError):
        payload = None
    if payload is None:
        payload = jsjson.compact(raw).encode()
    job = shown if isinstance(shown, dict) else {}
    return Failure(
        id=_own_id(payload) or job_id(fields) or digest,
        queue=_name(fields.get("queue")) or _name(job.get("queue")),
        worker=_word(fields.get("worker")),
        exception=_word(fields.get("exception")),
        error=_word(fields.get("error")),
        backtrace=_lines(fields.get("backtrace")),
        failed_at=stamps.epoch(fields.get("failed_at")),
        payload=payload,
        attempts=_count(fields.get("attempts")) or _count(job.get("attempt")) + _count(job.get("crashes")) + 1,
        history=history.read(fields.get("history")) or history.read(job.get("history")),
        host=_name(fields.get("host")),
        pid=_count(fields.get("pid")) or None,
        versions=_versions(fields.get("versions")),
    )


def _versions(value: Any) -> dict[str, str]:
    texts = value.items() if isinstance(value, dict) else ()
    return {_name(name): _name(version) for name, version in texts if isinstance(version, str)}


def _member(text: str, name: str) -> str | None:
    return {key: raw for key, _, raw in jsjson.members(text)}.get(name)


def _exact(fields: dict[str, Any], shown: Any) -> bytes | None:
    """What `encode_failure` put beside the payload, which counts only while it fits what is shown."""
    exact, kept = fields.get("raw"), fields.get("unreadable")
    if isinstance(exact, str) and jsjson.stringify(jsjson.parse(exact)) == jsjson.stringify(shown):
        return exact.encode()
    if isinstance(kept, str) and isinstance(shown, dict) and shown.get("class") == UNREADABLE:
        match kept, shown.get("args"):
            case "text", [str(text)]:
                return text.encode()
            case "base64", [str(text)]:
                return base64.b64decode(text, validate=True)
    return None


def _word(value: Any) -> str:
    if isinstance(value, str):
        return jsjson.clean(value)
    return "" if value is None else json.dumps(value)


def _name(value: Any) -> str:
    return jsjson.clean(value) if isinstance(value, str) else ""


def _lines(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(_word(value).splitlines())
    return tuple(map(_word, value)) if isinstance(value, list) else ()


def _count(value: Any) -> int:
    # Bounded as in `wire`: Python writes no integer of more than 4300 digits
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < jsjson.SAFE else 0
