"""How long this thread had to wait for a core, or had one."""

from __future__ import annotations

import os
import time

_STAT = "/proc/thread-self/schedstat"


def starved() -> float:
    """Seconds so far for which the calling thread was ready to go on and no core ran it. 0.0 where the system doesn't tell.

    Linux does: nanoseconds, the second number of `schedstat` (Documentation/scheduler/sched-stats.rst of the kernel).
    """
    try:
        file = os.open(_STAT, os.O_RDONLY)  # `open` would let go of the interpreter twice as often
        try:
            return int(os.read(file, 100).split()[1]) / 1e9
        finally:
            os.close(file)
    except (OSError, IndexError, ValueError):
        return 0.0


def busy() -> float:
    """Seconds so far for which the calling thread ran or was ready to: the rest of the time it waited for somebody else."""
    return time.thread_time() + starved()
