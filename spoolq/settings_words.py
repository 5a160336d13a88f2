"""The values of settings as people read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spoolq.priorities import Priorities
from spoolq.units import say_duration, say_size

DURATIONS = (
    *("deadline", "disk_limit", "keep", "lease", "grace", "horizon", "failure_log_max_age", "failures_max_age"),
    *("scale_target", "scale_idle", "scale_delay", "scale_check"),
)
SIZES = ("max_payload", "spool_max_bytes", "spool_min_free", "failure_log_size", "failure_log_outbox")


def plain(value: Any) -> Any:
    """A setting's value for JSON."""
    if isinstance(value, Priorities):
        return dict(value.pairs)
    return str(value) if isinstance(value, Path) else value


def words(name: str, value: Any) -> str:
    """A setting's value for a person; secrets were masked before (`Settings.shown`)."""
    if value is None or value == ():
        return {"spool": "-"}.get(name, "none")
    if name in DURATIONS:
        return say_duration(value)
    if isinstance(value, tuple):
        return ", ".join(value)
    if name in SIZES:
        return say_size(value)
    return str(value)
