"""Processes that a task has forked itself: copies of the worker, which must not go on as one."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress


def end_here(pid: int, error: BaseException | None = None) -> None:
    """Called where a task comes back, with the worker's process id. In a copy of the worker that the task has forked, and not
    ended, this ends it: with what `sys.exit` was given, 1 after another error, which is printed, else 0. It would run the
    worker's jobs a second time."""
    if os.getpid() == pid:
        return
    code = 0
    with suppress(BaseException):
        if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
            code = (error.code or 0) & 0xFF
        elif error is not None:
            code = 1
            traceback.print_exception(error)
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
    os._exit(code)
