"""Declaring tasks: what `@q.task(…)` takes, and the task that it makes of a function or class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypedDict

from spoolq.errors import ConfigError, PayloadError
from spoolq.retry import MAX_CRASHES, RetryPolicy
from spoolq.spans import Seconds, above_0
from spoolq.tasks import Launch, Submit, Task, performer, queue_name, tracked
from spoolq.unique import Key, Until, declared


class TaskOptions(TypedDict, total=False):
    """The options of a task, as `SpoolQ.task` explains them. A class may have them as attributes; None is as good as absent."""

    name: str | None
    queue: str | None
    priority: str | None
    retries: int | None
    backoff: object | None
    retry_on: tuple[type[BaseException], ...] | None
    give_up_on: tuple[type[BaseException], ...] | None
    retry_for: Seconds | None
    max_crashes: int | None
    timeout: Seconds | None
    soft_timeout: Seconds | None
    expires: Seconds | None
    result_ttl: Seconds | None
    track: bool | None
    unique: Until | None
    unique_key: Key | None
    unique_for: Seconds | None
    exclusive: bool | Seconds | None
    concurrency: int | None


class Defaults(Protocol):
    """Of the settings those that tasks go by."""

    @property
    def retries(self) -> int:
        """How often a failed job is tried again."""


class Owner(Submit, Protocol):
    """Whose task it will be: the application object."""

    @property
    def settings(self) -> Defaults:
        """Its settings."""


def known(options: Mapping[str, object]) -> None:
    """Raises TypeError for an option that there isn't."""
    if strange := sorted(options.keys() - TaskOptions.__annotations__.keys()):
        there = ", ".join(TaskOptions.__annotations__)
        raise TypeError(f"task() has no option {strange[0]!r}; there are {there}")


def declare(owner: Owner, target: Callable[..., Any], options: Mapping[str, Any]) -> Task[..., Any]:
    """The task of a function, or of a class with `perform`. Raises ConfigError."""
    if isinstance(target, Launch):
        raise ConfigError(f"{target.name} is a task already")
    body = performer(target) if isinstance(target, type) else target
    if not callable(body):
        raise ConfigError(f"{target!r} can't be a task: a task is a function, or a class with perform")
    named = options.get("name") or getattr(body, "__name__", "<")
    if not isinstance(named, str) or options.get("name") == "" or (not options.get("name") and named.startswith("<")):
        raise ConfigError(f"{target!r} has no name to be called by: give it one, q.task(name=…)")  # a lambda, a partial

    def option(key: str, default: Any = None) -> Any:
        own = getattr(target, key, None) if isinstance(target, type) else None
        given = options.get(key)
        return given if given is not None else own if own is not None else default

    lasting, stale = option("retry_for"), option("expires")
    policy = RetryPolicy(
        retries=option("retries", owner.settings.retries if lasting is None else None),
        backoff=option("backoff"),
        retry_on=option("retry_on", (Exception,)),
        give_up_on=option("give_up_on", ()),
        retry_for=lasting,
        max_crashes=option("max_crashes", MAX_CRASHES),
    )
    queue, priority = _place(owner, target, named, options.get("queue"), options.get("priority"))
    return Task(
        body,
        name=named,
        queue=queue,
        priority=priority,
        owner=owner,
        policy=policy,
        timeout=option("timeout"),
        soft_timeout=option("soft_timeout"),
        expires=None if stale is None else _stale_after(named, stale),
        tracked=tracked(named, option("track"), option("result_ttl")),
        unique=declared(named, option("unique"), option("unique_key"), option("unique_for")),
        exclusive=option("exclusive"),
        concurrency=option("concurrency"),
    )


def _stale_after(named: str, expires: Seconds) -> float:
    try:
        return above_0(expires, "expires")
    except PayloadError as error:
        raise ConfigError(f"{named}: {error}") from error


def _place(owner: Owner, target: object, named: str, queue: str | None, priority: str | None) -> tuple[str, str | None]:
    """The queue of a task, and the priority that it has for that. A class's own attributes count where neither is given."""
    if queue is None and priority is None and isinstance(target, type):
        queue, priority = getattr(target, "queue", None), getattr(target, "priority", None)
    if priority is None:
        return queue_name("default" if queue is None else queue), None
    if queue is not None:
        raise ConfigError(f"{named}: queue={queue!r} and priority={priority!r}: a priority is a queue; give one of them")
    return owner.priority_queue(priority), priority
