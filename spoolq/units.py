"""Durations and sizes as people write them, both ways; counts and times as they are said."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_SPAN = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SIZE = {"": 1, "b": 1}
for _power, _prefix in enumerate("kmgt", 1):
    _SIZE |= {_prefix: 1024**_power, f"{_prefix}ib": 1024**_power, f"{_prefix}b": 1000**_power}


MANY = 100_000
"""Up to here counts who looks often; one more says that there are more."""

_LONGEST = 1e12  # seconds that are said: what was divided by next to nothing has no end


def duration(value: object) -> float:
    """Seconds from `30`, `30s`, `5m`, `250ms`, `1h30m`, a number or a timedelta. Raises ValueError."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str):
        text = value.strip().lower()
        if re.fullmatch(r"\d+(\.\d+)?|\.\d+", text):
            return float(text)
        if not re.fullmatch(r"(?:\d+(?:\.\d+)?\s*(?:ms|s|m|h|d)\s*)+", text):
            raise ValueError(value)
        return sum(float(number) * _SPAN[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", text))
    return number(value)


def size(value: object) -> int:
    """Bytes from `512MiB`, `1GB`, `64k` or a whole number; `MiB` and `M` count by 1024, `MB` by 1000. Raises ValueError."""
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", value.strip().lower())
        if not match or match[2] not in _SIZE:
            raise ValueError(value)
        return int(float(match[1]) * _SIZE[match[2]]) if "." in match[1] else int(match[1]) * _SIZE[match[2]]
    return whole(value)


def number(value: object) -> float:
    """A finite number, also from its text. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(value)  # noqa: TRY004 (one error for whatever can't be read)
    found = float(value)
    if found != found or abs(found) == float("inf"):
        raise ValueError(value)
    return found


def whole(value: object) -> int:
    """A whole number, also from its text. Raises ValueError."""
    found = number(value)
    if found != int(found):
        raise ValueError(value)
    return int(value) if isinstance(value, str) else int(found)


def sane(value: object) -> bool:
    """Whether it is no number, or one that can be counted with: for what somebody else has written. NaN and infinity are not."""
    return not isinstance(value, int | float) or abs(value) < 1e18


def say_duration(seconds: float) -> str:
    """A setting's duration in the shortest form that `duration` reads back: `250ms`, `30s`, `7d`."""
    if seconds and seconds < 1:
        return f"{seconds * 1000:g}ms"
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


def say_size(count: float) -> str:
    """Bytes for people, by 1024: `0 B`, `1 MiB`, `1.4 GiB`."""
    amount, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while abs(amount) >= 1024 and len(units) > 1:
        amount, units = amount / 1024, units[1:]
    return f"{amount:.0f} {units[0]}" if amount >= 100 or amount == int(amount) else f"{amount:.1f} {units[0]}"


def say_age(seconds: float | None) -> str:
    """An age or a time left, in one or two units: `0.4 s`, `4 min 12 s`, `3 d 2 h`; `-` for None."""
    if seconds is None:
        return "-"
    seconds = min(max(0.0, seconds), _LONGEST)
    if seconds < 10:
        return f"{seconds:.1f} s"
    left = round(seconds)
    lengths = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    first = next(place for place, (_, length) in enumerate(lengths) if left >= length)
    parts = []
    for unit, length in lengths[first : first + 2]:
        amount, left = divmod(left, length)
        if amount:
            parts.append(f"{amount} {unit}")
    return " ".join(parts)


def jobs(count: int, noun: str = "job") -> str:
    """`1 job`, `12,000 jobs`, `more than 100,000 jobs` for what was counted up to that only."""
    return f"{f'more than {MANY:,}' if count == MANY + 1 else f'{count:,}'} {noun}{'' if count == 1 else 's'}"


def kept(count: int) -> str:
    """`1 job is safe`, `12 jobs are safe`."""
    return f"{jobs(count)} {'is' if count == 1 else 'are'} safe"


def when(at: float | None) -> str | None:
    """Epoch seconds as ISO 8601 in UTC, for JSON. None for a time that no calendar has: a foreign job may bring any number."""
    if at is None:
        return None
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None
