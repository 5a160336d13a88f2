"""On PYTHONPATH of a process whose wall clock is to be set: `time.time` is off by the seconds in the file that
SPOOLQ_TORTURE_CLOCK names. The monotonic clock goes on, as it does when somebody sets the clock of a host."""

import os
import time

_real, _path = time.time, os.environ.get("SPOOLQ_TORTURE_CLOCK")


def _set() -> float:
    try:
        with open(_path) as file:  # type: ignore[arg-type]
            return _real() + float(file.read() or 0)
    except (OSError, ValueError):
        return _real()


if _path:
    time.time = _set
