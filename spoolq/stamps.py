"""Times as people and Resque's peers write them, and epoch seconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_JAVASCRIPT = re.compile(r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) (\d{1,2}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT([+-])(\d\d)(\d\d)")
_RUBY = re.compile(r"(\d{4})/(\d\d)/(\d\d) (\d\d):(\d\d):(\d\d)(?: ?([+-])(\d\d):?(\d\d))?")


def iso(at: float) -> str:
    """A time (epoch seconds) as `2026-11-24T09:03:37Z`, with microseconds where it has them. What isn't a time becomes 1970."""
    try:
        when = _EPOCH + timedelta(seconds=round(at, 6))
    except (OverflowError, ValueError):
        when = _EPOCH
    return when.isoformat().replace("+00:00", "Z")


def epoch(value: Any) -> float:
    """Epoch seconds from a `failed_at`: ISO 8601, JavaScript's Date text, Ruby's, RFC 2822, or a number; 0.0 for anything else.

    A time zone that is only a name (`CET`) is taken as UTC: names say different things in different places.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if abs(value) < 1e12 else 0.0
    if not isinstance(value, str):
        return 0.0
    for read in (_iso, _javascript, _ruby, _mail):
        try:
            found = read(value)
            if found is not None:
                return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError, TypeError, IndexError):
            continue
    return 0.0


def moment(text: str | bytes) -> float:
    """Epoch seconds from the text of their number; 0.0 for anything else."""
    try:
        return epoch(float(text))
    except ValueError:
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


def _mail(text: str) -> datetime:
    from email.utils import parsedate_to_datetime  # loads much of `email` and `socket`, for a form that is seldom met

    return parsedate_to_datetime(text)


def _zone(sign: str, hours: str, minutes: str) -> timezone:
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-offset if sign == "-" else offset)
