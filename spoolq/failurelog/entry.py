"""A failure as files and buckets hold it: the entry of the store's list, one JSON object, unless a hook took something out."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from spoolq import jsjson, stamps, wire
from spoolq.job import Failure
from spoolq.reruns import run_of

log = logging.getLogger("spoolq.failures")

Redact = Callable[[dict[str, Any]], Any]
"""Called with a copy of an entry, as a dictionary: changes it in place and returns None, or returns another one."""

REDACTED = "redacted"
"""The member of an entry from which a hook took something: it can be looked at, and not be run again."""

_HARMLESS = frozenset({"worker", "queue", "exception", "failed_at", "attempts", "host", "pid", "versions", "id"})
_NAMING = frozenset({"class", "queue", "id", "run", "attempt"})
_LONGEST = 80  # characters of an id in a key
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


class Record(NamedTuple):
    """An entry that was read, and its bytes. `run` is the launch that failed, counted by an operator's re-runs; `name` is the
    same for each copy of one failure."""

    failure: Failure
    run: int
    redacted: bool
    line: bytes

    @property
    def readable(self) -> bool:
        """Whether it is an entry at all."""
        return self.failure.payload != self.line

    @property
    def name(self) -> str:
        """`id.run.attempts.time`, in characters that every file system and bucket takes. The time is that of the failure: others
        than spoolq put a job back as it was, and then it fails again with the same numbers."""
        id = self.failure.id
        if len(id) > _LONGEST or not _PLAIN.issuperset(id):
            readable = "".join(char if char in _PLAIN else "_" for char in id[:_LONGEST])
            id = f"{readable}-{sha256(id.encode(errors='replace')).hexdigest()[:12]}"
        return f"{id}.{self.run}.{self.failure.attempts}.{_time(self.failure.failed_at)}"

    @property
    def key(self) -> str:
        """Its object in a bucket: `2026/11/26/id.run.attempts.090000.json`, by the day on which it failed (UTC)."""
        return f"{day(self.failure.failed_at)}/{self.name}.json"


def day(at: float) -> str:
    """`2026/11/26`, of epoch seconds."""
    return stamps.iso(at)[:10].replace("-", "/")


def _time(at: float) -> str:
    """`090000`, or `090000250000` with microseconds, of epoch seconds."""
    return "".join(filter(str.isdigit, stamps.iso(at)[11:]))


def read(line: bytes) -> Record:
    """The failure in an entry. Never raises: what can't be read is a failure that says so, as `wire.decode_failure` gives it."""
    failure = wire.decode_failure(line)
    redacted = b'"redacted"' in line and _member(line, REDACTED) is not None
    return Record(failure, run_of(failure), redacted, line)


def _member(line: bytes, name: str) -> Any:
    try:
        fields = json.loads(line)
        return fields.get(name) if isinstance(fields, dict) else None
    except (ValueError, RecursionError):
        return None


def written(failure: Failure, redact: Redact | None = None) -> bytes:
    """The entry to be written, without a line's end. A hook that fails costs what it was to look at: the entry is written without
    arguments, texts and backtraces, and that is told. Never raises."""
    line = wire.encode_failure(failure)
    if redact is None:
        return line
    fields = json.loads(line)
    fields.pop("raw", None)  # the same arguments in other words, which a hook would overlook
    try:
        answer = redact(fields)
        left = fields if answer is None else answer
        if not isinstance(left, Mapping):
            raise TypeError(f"it returned {type(left).__name__}, not a dictionary")
        if "raw" not in left and _same(left, line):
            return line
        return json.dumps({**left, REDACTED: True}, allow_nan=False, separators=(",", ":")).encode()
    except BaseException as error:  # the application's own code
        log.error(  # noqa: TRY400 (its traceback may show what was to be hidden)
            "the redact function failed (%s): failure %s is written without its arguments, texts and backtrace",
            type(error).__name__,
            failure.id,
        )
        return _bare(line, type(error).__name__)


def _same(left: Mapping[str, Any], line: bytes) -> bool:
    before: dict[str, Any] = json.loads(line)
    before.pop("raw", None)
    return dict(left) == before


def _bare(line: bytes, why: str) -> bytes:
    fields = json.loads(line)
    payload = fields.get("payload")
    shown = {key: value for key, value in payload.items() if key in _NAMING} if isinstance(payload, dict) else {}
    left = {key: value for key, value in fields.items() if key in _HARMLESS}
    error = f"(left out, since the redact function raised {why})"
    left |= {"payload": {**shown, "args": []}, "error": error, "backtrace": [], REDACTED: True}
    return jsjson.stringify(left).encode()
