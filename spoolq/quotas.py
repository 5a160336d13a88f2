"""The limits of queues, as settings say them: `mail=3` jobs at a time, `mail=100/m` jobs a minute. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from spoolq.errors import ConfigError
from spoolq.store.quota import Quota
from spoolq.tasks import queue_name

CONCURRENCY = "queues and how many of their jobs may run at a time, such as mail=3,media=1"
RATES = "queues and how many of their jobs may begin, such as mail=100/m,api=5/s (s, m, h or d)"

_PERIODS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_RATE = re.compile(r"\s*([0-9]{1,9})\s*/\s*([smhd])\s*", re.ASCII)
_STEP = 0.05
_MOST = 100_000

T = TypeVar("T")


class Rate(NamedTuple):
    """So many jobs in each second, minute, hour or day."""

    jobs: int
    unit: str

    @property
    def interval(self) -> float:
        """Seconds between two jobs, in whole microseconds: never a job more than that."""
        return math.ceil(_PERIODS[self.unit] / self.jobs * 1e6) / 1e6

    @property
    def ahead(self) -> float:
        """Seconds of jobs that may begin at once: none where they are so far apart that workers can wait for each."""
        return _STEP if self.interval < _STEP else 0.0

    def __str__(self) -> str:
        return f"{self.jobs}/{self.unit}"


@dataclass(frozen=True, slots=True)
class PerQueue(Generic[T]):
    """(queue, value) of each queue that has one."""

    pairs: tuple[tuple[str, T], ...] = ()

    def __str__(self) -> str:
        return ",".join(f"{queue}={value}" for queue, value in self.pairs) or "none"


def concurrency(value: object) -> PerQueue[int]:
    """The setting `concurrency`. Raises ValueError for what is no such list, ConfigError for what in it can't be."""
    return _read("concurrency", value, _number)


def rates(value: object) -> PerQueue[Rate]:
    """The setting `rate_limits`. Raises as `concurrency` does."""
    return _read("rate_limits", value, _rate)


def quotas(most: PerQueue[int], rates: PerQueue[Rate]) -> tuple[Quota, ...]:
    """What claims are told."""
    at_a_time, spaced = dict(most.pairs), dict(rates.pairs)
    return tuple(
        Quota(queue, at_a_time.get(queue, 0), *((rate.interval, rate.ahead) if (rate := spaced.get(queue)) else ()))
        for queue in dict.fromkeys((*at_a_time, *spaced))
    )


def words(most: PerQueue[int], rates: PerQueue[Rate]) -> dict[str, str]:
    """The limits of each queue that has one, for people: `3 at a time, 100/m`."""
    found: dict[str, list[str]] = {}
    for queue, count in most.pairs:
        found.setdefault(queue, []).append(f"{count} at a time")
    for queue, rate in rates.pairs:
        found.setdefault(queue, []).append(str(rate))
    return {queue: ", ".join(limits) for queue, limits in found.items()}


def _read(name: str, value: object, read: Callable[[object], T | None]) -> PerQueue[T]:
    if isinstance(value, PerQueue):
        value = dict(value.pairs)
    if isinstance(value, str):
        text = value.strip()
        parts = [part.partition("=") for part in text.split(",")] if text and text != "none" else []
        if not all(equals for _, equals, _ in parts):
            raise ValueError(value)
        pairs: list[tuple[object, object]] = [(queue.strip(), said.strip()) for queue, _, said in parts]
    elif isinstance(value, Mapping):
        pairs = list(value.items())
    else:
        raise ValueError(value)  # noqa: TRY004  (as all readers of settings)
    found: dict[str, T] = {}
    for queue, said in pairs:
        try:
            where = queue_name(queue)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from None
        limit = read(said)
        if limit is None:
            expected = f"a whole number from 1 to {_MOST:,}" if read is _number else "a number and s, m, h or d, such as 100/m"
            raise ConfigError(f"{name}: {where} = {said!r}: expected {expected}")
        if where in found:
            raise ConfigError(f"{name}: the queue {where!r} is there twice")
        found[where] = limit
    return PerQueue(tuple(found.items()))


def _number(said: object) -> int | None:
    if isinstance(said, str) and said.isascii() and said.isdigit() and len(said) < 10:
        said = int(said)
    return said if isinstance(said, int) and not isinstance(said, bool) and 1 <= said <= _MOST else None


def _rate(said: object) -> Rate | None:
    if isinstance(said, Rate):
        said = str(said)
    match = _RATE.fullmatch(said) if isinstance(said, str) else None
    return Rate(int(match[1]), match[2]) if match and int(match[1]) else None
