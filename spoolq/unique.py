"""Unique jobs: which ones count as equal, and the names of the guards that keep a second one out. Pure.

An equal job is one of the same task and queue with the same arguments: then its guard is the very key of node-resque's QueueLock,
`lock:TASK:QUEUE:ARGS`, so that each keeps the other's out. With a function of the arguments it is `unique:TASK:` and its result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from spoolq import jsjson
from spoolq.errors import ConfigError, PayloadError
from spoolq.job import Job, Unique
from spoolq.jsonable import check
from spoolq.spans import Seconds, above_0

Until = Literal["until_start", "until_done"]
Key = Callable[..., object]

UNIQUE_FOR = 3600.0
"""Seconds for which a guard lasts by default, as node-resque's lock: what bounds the harm of one that nobody frees."""

LONGEST_KEY, MOST_PLACES = 500, 1000
_WORDS: Mapping[str, Literal["start", "done"]] = {"until_start": "start", "until_done": "done"}


def lock_of(task: str, queue: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The name of the guard that a job holds while it runs, where equal ones must not run beside it: that of node-resque's
    JobLock. The arguments are as JSON gave them."""
    like = named(task, queue, list(args), dict(kwargs), "done")
    return f"workers{like.key}" if like.delayed else f"exclusive{like.key.removeprefix('unique')}"


@dataclass(frozen=True, slots=True)
class Uniqueness:
    """What a task says of its jobs. `key` makes of a job's arguments what equal ones have in common; None: all of them."""

    until: Literal["start", "done"]
    key: Key | None = None
    seconds: float = UNIQUE_FOR

    def of(self, task: str, queue: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Unique:
        """That of one job. Raises PayloadError for arguments that JSON can't hold, or a key that is none."""
        if self.key is None:
            return named(task, queue, _plain("args", list(args)), _plain("kwargs", dict(kwargs)), self.until, self.seconds)
        try:
            found = self.key(*args, **kwargs)
        except Exception as error:
            raise PayloadError(f"{task}: its unique_key raised {type(error).__name__}: {error}; nothing was stored") from error
        if isinstance(found, bool) or not isinstance(found, str | int) or not 0 < len(key := str(found)) <= LONGEST_KEY:
            raise PayloadError(
                f"{task}: its unique_key gave {found!r:.100}; a text of 1 to {LONGEST_KEY} characters is needed, or an integer"
            )
        if not key.isprintable():
            raise PayloadError(f"{task}: its unique_key gave {found!r:.100}, which can't be printed; leave such characters out")
        return Unique(f"unique:{_part(task)}:{key}", self.until, self.seconds)


def declared(task: str, unique: Until | None, key: Key | None, seconds: Seconds | None) -> Uniqueness | None:
    """From a task's options; None where its jobs aren't unique. Raises ConfigError that names what is wrong."""
    if unique is None:
        given = "unique_key" if key is not None else "unique_for" if seconds is not None else None
        if given is not None:
            raise ConfigError(f"{task}: {given}= says nothing without unique=: 'until_start' or 'until_done'")
        return None
    if not isinstance(unique, str) or unique not in _WORDS:
        raise ConfigError(
            f"{task}: unique={unique!r}: 'until_start' (a second job may be queued once one has begun) or 'until_done'"
        )
    if key is not None and not callable(key):
        raise ConfigError(
            f"{task}: unique_key={key!r} is no function: it gets a job's arguments and returns what equal jobs share"
        )
    try:
        lasts = UNIQUE_FOR if seconds is None else above_0(seconds, "unique_for")
    except PayloadError as error:
        raise ConfigError(f"{task}: {error}") from None
    return Uniqueness(_WORDS[unique], key, lasts)


def exclusive_for(task: str, exclusive: bool | Seconds | None) -> float | None:
    """Seconds for which a running job keeps equal ones from running at most, from a task's option; None: it doesn't. Raises
    ConfigError."""
    if exclusive is None or exclusive is False:
        return None
    try:
        return UNIQUE_FOR if exclusive is True else above_0(exclusive, "exclusive")
    except PayloadError as error:
        raise ConfigError(f"{task}: {error}; True, or the seconds for which a job keeps equal ones out at most") from None


def places(task: str, concurrency: int | None) -> tuple[str, ...]:
    """The names of the guards of which a running job of this task holds one. Raises ConfigError."""
    if concurrency is None:
        return ()
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or not 1 <= concurrency <= MOST_PLACES:
        raise ConfigError(f"{task}: concurrency={concurrency!r}: a whole number from 1 to {MOST_PLACES} is needed")
    return tuple(f"concurrency:{task}:{place}" for place in range(concurrency))


def named(task: str, queue: str, args: Any, kwargs: Any, until: Literal["start", "done"], seconds: float = UNIQUE_FOR) -> Unique:
    """That of a job whose arguments, as JSON gives them back, are its key."""
    text, as_node = _text(args)
    if kwargs or not as_node:  # node-resque doesn't see them: to it, jobs that differ would be equal
        said = f":{_text(dict(sorted(kwargs.items())))[0]}" if kwargs else ""
        return Unique(f"unique:{_part(task)}:{queue}:{text}{said}", until, seconds)
    delayed = f'timestamps:{{"class":{jsjson.stringify(task)},"queue":{jsjson.stringify(queue)},"args":{text}}}'
    return Unique(f"lock:{task}:{queue}:{text}", until, seconds, delayed)


def written(unique: Unique, job: Job) -> dict[str, Any]:
    """As this job's payload carries it: the key only where it isn't that of the arguments beside it, which a hook may have
    changed. Raises PayloadError for arguments that JSON can't hold."""
    fields: dict[str, Any] = {"until": unique.until, "for": int(unique.seconds) if unique.seconds % 1 == 0 else unique.seconds}
    beside = unique.delayed and named(
        job.task, job.queue, _plain("args", list(job.args)), _plain("kwargs", dict(job.kwargs)), unique.until
    )
    return fields if beside and beside.key == unique.key else {**fields, "key": unique.key}


def read(fields: Mapping[str, Any]) -> Unique | None:
    """That of a payload's fields; None where there is none, or none that can be understood."""
    match fields.get("unique"):
        case {"until": "start" | "done" as until, "for": int() | float() as seconds, **more} if 0 < seconds < 1e12:
            match more.get("key"):
                case str(key) if key and jsjson.encodable(key):
                    return Unique(key, until, float(seconds))
                case None:
                    queue, args = fields.get("queue"), fields.get("args", [])
                    name = fields["class"] if isinstance(queue, str) and isinstance(args, list) else None
                    return None if name is None else named(name, str(queue), args, None, until, float(seconds))
    return None


def _text(value: Any) -> tuple[str, bool]:
    """A value as JSON, and whether that is what node-resque would write: JavaScript rounds integers from 2^53 on, and jobs for
    neighbours among them are not equal."""
    text = jsjson.stringify(value)
    return (text, True) if jsjson.parse(text) == value else (json.dumps(value, separators=(",", ":")), False)


def _part(task: str) -> str:
    """A task's name as one part of a guard's: `a:b` with the key `c` isn't `a` with the key `b:c`."""
    return task.replace("%", "%25").replace(":", "%3A")


def _plain(name: str, value: Any) -> Any:
    """The value as JSON gives it back."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        check(value, name, javascript=False)
        raise PayloadError(f"{name}: it can't be written as JSON") from None
