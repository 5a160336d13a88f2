"""When a periodic job is due: cron expressions, intervals, and which ticks are to be enqueued. Pure.

A tick is a whole second (epoch). It is the same on every host, and so is its job's id: that is what makes it one job, however
many schedulers enqueue it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import islice
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from spoolq import stamps, units
from spoolq.errors import ConfigError
from spoolq.importing import importing
from spoolq.job import Job

if TYPE_CHECKING:
    from cronsim import CronSim

Missed = Literal["latest", "all", "skip"]

LATE = 300.0
"""Seconds by which a tick may be late and still be no missed one: who enqueues it in that time asks no policy."""

MOST = 1000
"""Missed ticks that are enqueued at once, the latest."""

_LONGEST = 366 * 86_400
_HORIZON = 50 * 366  # days without a tick after which there is none
_ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


class When(Protocol):
    """What a schedule goes by."""

    @property
    def text(self) -> str:
        """As it was written."""

    @property
    def tz(self) -> str:
        """The time zone by name."""

    def words(self) -> str:
        """For people."""

    def after(self, at: float) -> Iterator[int]:
        """The ticks later than that time, the earliest first, without an end."""

    def until(self, at: float) -> Iterator[int]:
        """The ticks up to that time, the latest first."""


@dataclass(frozen=True, slots=True)
class Every:
    """An interval. Ticks are the multiples of so many seconds since 1970 (UTC): the same on every host, and after a restart."""

    seconds: int
    tz: str = "UTC"

    @property
    def text(self) -> str:
        return f"every {units.say_duration(self.seconds)}"

    def words(self) -> str:
        return self.text

    def after(self, at: float) -> Iterator[int]:
        tick = math.floor(at) // self.seconds * self.seconds
        while True:
            tick += self.seconds
            yield tick

    def until(self, at: float) -> Iterator[int]:
        for number in range(math.floor(at) // self.seconds, -1, -1):
            yield number * self.seconds


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression of five fields, in a time zone.

    Where clocks change it does as Debian's cron does. With a time of day (neither minute nor hour begins with `*`) a tick that
    the clocks skip comes right after the gap, and one whose time they show twice comes the first time. With a wildcard the
    clock's face counts: a repeated hour has its ticks twice, a skipped one has none.
    """

    text: str
    tz: str = "UTC"

    def words(self) -> str:
        return f"{_parsed(self.text).explain()}{'' if self.tz == 'UTC' else f', {self.tz}'}"

    def after(self, at: float) -> Iterator[int]:
        last = at
        for tick in self._ticks(at, 1):
            if tick > last:
                last = tick
                yield tick

    def until(self, at: float) -> Iterator[int]:
        last = math.floor(at) + 1
        for tick in self._ticks(at, -1):
            if tick < last:
                last = tick
                yield tick

    def _ticks(self, at: float, step: int) -> Iterator[int]:
        """Day by day from the day before (or after) that time, forward or backward; some twice, where a gap moved them."""
        cron, zone = _parsed(self.text), _zone(self.tz)
        day = datetime.fromtimestamp(at, zone).date() - timedelta(step)
        idle = 0
        while idle < _HORIZON:
            idle += 1
            if day.month in cron.months and cron.match_day(day):
                for tick in _of_day(self.text, self.tz, day)[::step]:
                    idle = 0
                    yield tick
            try:
                day += timedelta(step)
            except OverflowError:
                return


@dataclass(frozen=True, slots=True)
class Entry:
    """A periodic job: its name, when, the job with a given id, and what becomes of ticks that nobody enqueued in time."""

    name: str
    when: When
    make: Callable[[str], Job]
    missed: Missed = "latest"

    def id(self, tick: int) -> str:
        """The id of that tick's job, the same wherever it is made."""
        return f"{self.name}@{stamps.iso(tick)}"

    def following(self, count: int, at: float) -> list[int]:
        """So many ticks from that time on."""
        return list(islice(self.when.after(at), count))


class Entries(dict[str, Entry]):
    """The periodic jobs of an application, by name."""

    def add(self, entry: Entry) -> None:
        """Register it. Raises ConfigError where another has that name."""
        known = self.get(entry.name)
        if known is not None and (known.when, _launched(known)) != (entry.when, _launched(entry)):
            raise ConfigError(
                f"two schedules named {entry.name!r} ({known.when.text}, and {entry.when.text}): give one of them a name of its"
                f" own, name={entry.name + '-2'!r}"
            )
        self[entry.name] = entry


def timing(when: object, tz: str | None = None) -> When:
    """A schedule from a cron expression (`"*/5 * * * *"`, `"@daily"`), or an interval in seconds or as a timedelta.

    Raises ConfigError for what is none, or never comes. Where cronsim isn't installed, an expression is looked at by who runs it.
    """
    if isinstance(when, str):
        return _cron(when, "UTC" if tz is None else tz)
    if isinstance(when, timedelta):
        when = when.total_seconds()
    if isinstance(when, bool) or not isinstance(when, int | float):
        raise ConfigError(f"periodic({when!r}): say when: a cron expression such as '*/5 * * * *', or seconds such as 60")
    if not (1 <= when <= _LONGEST and when == int(when)):
        raise ConfigError(
            f"periodic({when!r}): an interval is a whole number of seconds from 1 to {_LONGEST} (a year), such as 60"
        )
    if tz is not None:
        raise ConfigError(f"periodic({when!r}, tz={tz!r}): an interval has no time zone; leave tz out, or give a cron expression")
    return Every(int(when))


def policy(missed: object) -> Missed:
    """A policy for missed ticks. Raises ConfigError."""
    for known in get_args(Missed):
        if missed == known:
            return known  # type: ignore[no-any-return]
    raise ConfigError(f"missed={missed!r}: 'latest' (one run makes up for all), 'all' or 'skip'")


def entry_name(name: object) -> str:
    """A name that an entry can have. Raises ConfigError."""
    if not isinstance(name, str) or not 1 <= len(name) <= 100 or not name.isprintable() or " " in name:
        raise ConfigError(f"name={name!r}: a schedule's name is 1 to 100 printable characters without a space, such as 'nightly'")
    return name


def due(entry: Entry, since: float, now: float) -> list[int]:
    """The ticks to enqueue, the earliest first, where all up to `since` were.

    Those that are late by LATE at most always. Of older ones the policy decides: `all`, the latest MOST of them; `latest`, the
    latest one, and none where there is a newer tick; `skip`, none.
    """
    found: list[int] = []
    missed = 0
    for tick in entry.when.until(now):
        if tick <= since:
            break
        if tick < now - LATE:
            missed += 1
            if entry.missed == "skip" or missed > MOST or (entry.missed == "latest" and found):
                break
        found.append(tick)
    return found[::-1]


def _launched(entry: Entry) -> tuple[object, ...]:
    job = entry.make(entry.id(0))
    return job.task, job.queue, tuple(job.args), dict(job.kwargs)


class _NoReader(ConfigError):
    """What reads cron expressions isn't installed: a web application that only declares them needn't have it."""


_FIELDS = "expected five fields (minute, hour, day of month, month, day of week), such as '*/5 * * * *' or '30 2 * * MON-FRI'"


def _cron(given: str, tz: str) -> Cron:
    text = _ALIASES.get(given.strip().lower(), " ".join(given.split()))
    if text.startswith("@"):
        raise ConfigError(f"periodic({given!r}): {_FIELDS}, or one of {', '.join(_ALIASES)}")
    if len(text.split()) != 5:
        raise ConfigError(f"periodic({given!r}): {_FIELDS}; an interval is a number of seconds, such as 300")
    _zone(tz)
    cron = Cron(text, tz)
    try:
        never = next(cron.after(0.0), None) is None
    except _NoReader:
        return cron
    except ConfigError as error:
        raise ConfigError(f"periodic({given!r}): {error}; {_FIELDS}") from error
    if never:
        raise ConfigError(f"periodic({given!r}): no year has such a day; {_FIELDS}")
    return cron


@functools.lru_cache(maxsize=256)
def _parsed(text: str) -> CronSim:
    try:
        with importing():
            from cronsim import CronSim, CronSimError
    except ModuleNotFoundError as error:
        raise _NoReader(f"the schedule {text!r} needs: pip install 'spoolq[worker]'") from error
    try:
        return CronSim(text, datetime(2000, 1, 1, tzinfo=UTC))
    except (CronSimError, ValueError, AssertionError, TypeError) as error:  # it says what is wrong, or just fails on it
        raise ConfigError(f"{error if isinstance(error, CronSimError) else 'it is no cron expression'}") from error


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    with importing():
        from zoneinfo import ZoneInfo
    try:
        return ZoneInfo(name)
    except Exception as error:  # what it raises depends on how the name is wrong: KeyError, ValueError, OSError, TypeError
        raise ConfigError(
            f"tz={name!r}: no such time zone; expected a name such as 'Europe/Paris' or 'UTC' (a system without time zones needs:"
            " pip install tzdata)"
        ) from error


@functools.lru_cache(maxsize=256)
def _of_day(text: str, tz: str, day: date) -> tuple[int, ...]:
    """The ticks of one matching day, in order."""
    cron, zone = _parsed(text), _zone(tz)
    at_a_time = not any(part.startswith("*") for part in text.split()[:2])
    midnight = datetime(day.year, day.month, day.day)
    times = [midnight + timedelta(hours=hour, minutes=minute) for hour in sorted(cron.hours) for minute in sorted(cron.minutes)]
    begin, end = (zone.utcoffset(at) for at in (midnight, midnight + timedelta(1)))
    if begin == end and begin is not None:  # clocks don't change
        return tuple(_epoch(at.replace(tzinfo=UTC) - begin) for at in times)
    found = set[int]()
    for at in times:
        first, second = (at.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
        while at_a_time and not _real(first):
            first += timedelta(minutes=1)  # of the clock's face
        found.update(_epoch(one) for one in ((first,) if at_a_time else (first, second)) if _real(one))
    return tuple(sorted(found))


def _real(at: datetime) -> bool:
    """Whether a clock there ever shows that time."""
    return at.astimezone(UTC).astimezone(at.tzinfo).replace(tzinfo=None) == at.replace(tzinfo=None)


def _epoch(at: datetime) -> int:
    return round(at.timestamp())
