"""spoolq: enqueue to Redis, and to a local SQLite spool when Redis is gone.

Importing this package connects to nothing and loads the standard library only.
"""

from __future__ import annotations

from spoolq.errors import (
    ConfigError,
    Discard,
    EnqueueError,
    MaybeStored,
    NotStored,
    PayloadError,
    Retry,
    SpoolFull,
    SpoolqError,
    UnknownTask,
)
from spoolq.job import Job, Receipt

__all__ = [
    "ConfigError",
    "Discard",
    "EnqueueError",
    "Job",
    "MaybeStored",
    "NotStored",
    "PayloadError",
    "Receipt",
    "Retry",
    "SpoolFull",
    "SpoolqError",
    "UnknownTask",
]
__version__ = "0.1.0"
