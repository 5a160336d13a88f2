"""spoolq: enqueue to Redis, and to a local SQLite spool when Redis is gone.

Importing this package connects to nothing and loads the standard library only.
"""

from __future__ import annotations

from spoolq.app import SpoolQ
from spoolq.chains import Batch
from spoolq.errors import (
    ConfigError,
    Discard,
    EnqueueError,
    MaybeStored,
    NotStored,
    PayloadError,
    Retry,
    SoftTimeLimit,
    SpoolFull,
    SpoolqError,
    TimeLimit,
    UnknownTask,
    WorkerDied,
)
from spoolq.job import Attempt, Job, Receipt
from spoolq.runner import current as current_job
from spoolq.version import VERSION

__all__ = [
    "Attempt",
    "Batch",
    "ConfigError",
    "Discard",
    "EnqueueError",
    "Job",
    "MaybeStored",
    "NotStored",
    "PayloadError",
    "Receipt",
    "Retry",
    "SoftTimeLimit",
    "SpoolFull",
    "SpoolQ",
    "SpoolqError",
    "TimeLimit",
    "UnknownTask",
    "WorkerDied",
    "current_job",
]
__version__ = VERSION
