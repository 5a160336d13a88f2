"""Spans and points in time, as callers give them. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from spoolq.errors import PayloadError

Seconds = float | timedelta
When = float | datetime

LONGEST = 250_000_000_000.0  # seconds: the year 9892 as a time, and as a span from now still a time that stores can hold


def seconds(value: Seconds, what: str) -> float:
    """A span in seconds. Raises PayloadError for what isn't one."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value:
        if abs(value) > LONGEST:
            raise PayloadError(f"{what}={value!r} is too far away: {LONGEST:.3g} seconds at most")
        return float(value)
    raise PayloadError(f"{what}={value!r} is not a number of seconds or a timedelta")


def above_0(value: Seconds, what: str) -> float:
    """A span in seconds that isn't over before it began. Raises PayloadError."""
    if (span := seconds(value, what)) <= 0:
        raise PayloadError(f"{what}={value!r}: more than 0 seconds")
    return span


def epoch(value: When, what: str) -> float:
    """A point in time as epoch seconds. Raises PayloadError for a naive datetime, which could mean any of 38 hours."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise PayloadError(
                f"{what}={value.isoformat()} has no time zone: say which, for instance with "
                "datetime.now(timezone.utc) or value.replace(tzinfo=ZoneInfo('Europe/Paris'))"
            )
        return value.timestamp()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise PayloadError(f"{what}={value!r} is not a datetime with a time zone, nor a number of epoch seconds")
    return seconds(value, what)
