"""Entries of Resque's `failed` list: written so that node-resque finds them by their bytes and resque-web can show them,
read whoever wrote them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from spoolq import jsjson
from spoolq.errors import PayloadError
from spoolq.job import Failure

UNREADABLE = "(unreadable)"
"""The class under which a payload that isn't a job is shown. No task can have it; the payload's text is its one argument."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_JAVASCRIPT = re.compile(r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) (\d{1,2}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT([+-])(\d\d)(\d\d)")
_RUBY = re.compile(r"(\d{4})/(\d\d)/(\d\d) (\d\d):(\d\d):(\d\d)(?: ?([+-])(\d\d):?(\d\d))?")


def encode_failure(failure: Failure) -> bytes:
    """The entry for `failed`: compact JSON that JavaScript writes back byte for byte.

    The payload is shown as the job it is, unknown fields included. Where JavaScript would change it (`1.0`, large integers) it
    is shown in JavaScript's form with its exact text beside it (`raw`); where it isn't a job, as one of class `(unreadable)`
    whose argument is its text (or base64, where it isn't UTF-8). Nothing is lost, and it never raises.
    """
    shown, beside = _shown(failure.payload, failure.queue)
    if failure.id and not _own_id(failure.payload):
        beside["id"] = failure.id
    members = {
        "worker": _text(failure.worker),
        "queue": _text(failure.queue),
        "payload": shown,
        "exception": _text(failure.exception),
        "error": _text(failure.error),
        "backtrace": "[" + ",".join(map(_text, failure.backtrace)) + "]",
        "failed_at": _text(iso(failure.failed_at)),
        "attempts": jsjson.stringify(failure.attempts),
        **{key: _text(value) for key, value in beside.items()},
    }
    return ("{" + ",".join(f'"{key}":{value}' for key, value in members.items()) + "}").encode()


def _shown(payload: bytes, queue: str) -> tuple[str, dict[str, str]]:
    try:
        fields = jsjson.fields(payload)
        text = payload.decode()
        if jsjson.shallow(text):
            shown = jsjson.stringify(fields)
            return shown, {} if shown == text else {"raw": text}
    except PayloadError:
        pass
    try:
        text, kept = payload.decode(), "text"
    except UnicodeDecodeError:
        text, kept = base64.b64encode(payload).decode(), "base64"
    return f'{{"class":{_text(UNREADABLE)},"queue":{_text(queue)},"args":[{_text(text)}]}}', {"unreadable": kept}


def _own_id(payload: bytes) -> str | None:
    try:
        return job_id(jsjson.fields(payload))
    except PayloadError:
        return None


def job_id(fields: dict[str, Any]) -> str | None:
    """The id that a payload brings, None where it has none that could be used."""
    value = fields.get("id")
    return value if isinstance(value, str) and value and value.isprintable() else None


def _text(value: str) -> str:
    return jsjson.stringify(value.encode(errors="backslashreplace").decode())


def iso(at: float) -> str:
    """A time (epoch seconds) as `2026-11-24T09:03:37Z`, with microseconds where it has them. What isn't a time becomes 1970."""
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=round(at, 6))
    except (OverflowError, ValueError):
        moment = datetime(1970, 1, 1, tzinfo=UTC)
    return moment.isoformat().replace("+00:00", "Z")


def decode_failure(entry: bytes) -> Failure:
    """The failure in an entry by spoolq, node-resque, Ruby or anybody else. Never raises: an entry that can't be read gives a
    Failure that says so and has the entry itself as its payload.

    The same entry always has the same id. `failed_at` is 0.0 where the entry has no time that can be read.
    """
    digest = hashlib.sha256(entry).hexdigest()[:20]
    try:
        fields = jsjson.parse(entry)
        raw = _member(entry.decode(), "payload") if isinstance(fields, dict) else None
    except PayloadError as error:
        return _unreadable(entry, digest, f"this entry of the failure log can't be read ({error}); it is kept as it is")
    if raw is None:
        return _unreadable(entry, digest, "this entry of the failure log isn't one: it has no payload; it is kept as it is")
    payload = _payload(fields, raw)
    job = fields["payload"] if isinstance(fields["payload"], dict) else {}
    return Failure(
        id=_own_id(payload) or job_id(fields) or digest,
        queue=_word(fields.get("queue")) or _word(job.get("queue")),
        worker=_word(fields.get("worker")),
        exception=_word(fields.get("exception")),
        error=_word(fields.get("error")),
        backtrace=_lines(fields.get("backtrace")),
        failed_at=moment(fields.get("failed_at")),
        payload=payload,
        attempts=_count(fields.get("attempts")) or _count(job.get("attempt")) + 1,
    )


def _unreadable(entry: bytes, digest: str, error: str) -> Failure:
    return Failure(digest, "", "", "PayloadError", error, (), 0.0, entry)


def _member(text: str, name: str) -> str | None:
    return {key: raw for key, _, raw in jsjson.members(text)}.get(name)


def _payload(fields: dict[str, Any], raw: str) -> bytes:
    exact, kept, shown = fields.get("raw"), fields.get("unreadable"), fields["payload"]
    if isinstance(exact, str):
        return exact.encode(errors="backslashreplace")
    if isinstance(shown, dict) and shown.get("class") == UNREADABLE and isinstance(shown.get("args"), list) and shown["args"]:
        text = shown["args"][0]
        if kept == "text" and isinstance(text, str):
            return text.encode(errors="backslashreplace")
        if kept == "base64" and isinstance(text, str):
            try:
                return base64.b64decode(text, validate=True)
            except binascii.Error:
                pass
    return jsjson.compact(raw).encode()


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    return "" if value is None else json.dumps(value)


def _lines(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(_word(value).splitlines())
    return tuple(map(_word, value)) if isinstance(value, list) else ()


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def moment(value: Any) -> float:
    """Epoch seconds from a `failed_at`: ISO 8601, JavaScript's Date text, Ruby's, RFC 2822, or a number; 0.0 for anything else.

    A time zone that is only a name (`CET`) is taken as UTC: names say different things in different places.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if abs(value) < 1e12 and math.isfinite(value) else 0.0
    if not isinstance(value, str):
        return 0.0
    for read in (_iso, _javascript, _ruby, parsedate_to_datetime):
        try:
            found = read(value)
        except (ValueError, OverflowError, TypeError, IndexError):
            continue
        if found is not None:
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    return 0.0


def _iso(text: str) -> datetime:
    return datetime.fromisoformat(text.strip())


def _javascript(text: str) -> datetime | None:
    found = _JAVASCRIPT.match(text)
    if not found:
        return None
    month, day, year, hour, minute, second, *zone = found.groups()
    return datetime(int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second), tzinfo=_zone(*zone))


def _ruby(text: str) -> datetime | None:
    found = _RUBY.match(text)
    if not found:
        return None
    *parts, sign, hours, minutes = found.groups()
    year, month, day, hour, minute, second = map(int, parts)
    return datetime(year, month, day, hour, minute, second, tzinfo=_zone(sign, hours, minutes) if sign else UTC)


def _zone(sign: str, hours: str, minutes: str) -> timezone:
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-offset if sign == "-" else offset)
