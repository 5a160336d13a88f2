"""Where a task was: its traceback or stack, without the steps by which a worker came to call it."""

from __future__ import annotations

import gc
import os
import sys
import threading
import traceback
from types import FrameType

_WORKER = (  # whose files those steps are in
    os.path.dirname(os.path.abspath(__file__)) + os.sep,
    os.path.join(os.path.dirname(threading.__file__), "asyncio") + os.sep,
    threading.__file__,
    "<frozen ",
)


_alone = threading.Lock()  # of those who ask for frames: none is to have garbage collected while another asks


def _after_fork() -> None:
    global _alone
    _alone = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def of_error(error: BaseException) -> list[str]:
    """Its traceback, line by line, as Python shows it; of one that was never raised its notes. Never raises."""
    trace = error.__traceback__
    if trace is None:
        return [line for note in getattr(error, "__notes__", ()) for line in note.splitlines()]
    while trace.tb_next is not None and trace.tb_frame.f_code.co_filename.startswith(_WORKER):
        trace = trace.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, trace)).splitlines()
    except Exception as broken:  # notes, texts and lazy sources may be the user's own code
        return [f"(its traceback can't be had: {type(broken).__name__})"]


def frame_of(ident: int | None) -> FrameType | None:
    """What a thread is at now, None where there is no such thread.

    CPython 3.11 makes these frames under a lock of the interpreter's: garbage that is collected then and holds a
    `threading.local` wants it too, and the whole process stands still for ever (python/cpython#106883).
    """
    with _alone:
        collects = gc.isenabled()
        gc.disable()
        try:
            return sys._current_frames().get(ident or 0)
        finally:
            if collects:
                gc.enable()


def of_thread(ident: int | None) -> str:
    """The stack of a thread as it is now; empty where there is no such thread."""
    frame = frame_of(ident)
    return "" if frame is None else "".join(traceback.format_list(_of_task(traceback.extract_stack(frame))))


def of_frame(frame: FrameType) -> str:
    """The one step that this frame is at."""
    return "".join(traceback.format_list(traceback.extract_stack(frame, 1)))


def _of_task(steps: traceback.StackSummary) -> list[traceback.FrameSummary]:
    first = next((number for number, step in enumerate(steps) if not step.filename.startswith(_WORKER)), 0)
    return list(steps)[first:]
