"""spoolq: enqueue to Redis, and to a local SQLite spool when Redis is gone.

Importing this package connects to nothing and loads the standard library only.
"""

from __future__ import annotations

from spoolq.app import SpoolQ
from spoolq.cancelling import Cancellation
from spoolq.chains import Batch
from spoolq.current import current as current_job
from spoolq.errors import (
    ConfigError,
    Discard,
    EnqueueError,
    JobCancelled,
    JobDiscarded,
    JobExpired,
    JobFailed,
    MaybeStored,
    NoResult,
    NotStored,
    PayloadError,
    ResultLost,
    ResultTimeout,
    Retry,
    SoftTimeLimit,
    SpoolFull,
    SpoolqError,
    TimeLimit,
    UnknownTask,
    WorkerDied,
)
from spoolq.job import Attempt, Job, Receipt
from spoolq.middleware import Middleware
from spoolq.tracking import Status
from spoolq.version import VERSION

__all__ = [
    "Attempt",
    "Batch",
    "Cancellation",
    "ConfigError",
    "Discard",
    "EnqueueError",
    "Job",
    "JobCancelled",
    "JobDiscarded",
    "JobExpired",
    "JobFailed",
    "MaybeStored",
    "Middleware",
    "NoResult",
    "NotStored",
    "PayloadError",
    "Receipt",
    "ResultLost",
    "ResultTimeout",
    "Retry",
    "SoftTimeLimit",
    "SpoolFull",
    "SpoolQ",
    "SpoolqError",
    "Status",
    "TimeLimit",
    "UnknownTask",
    "WorkerDied",
    "current_job",
]
__version__ = VERSION
