"""Where all threads stand, written to standard error when a signal asks for it.

`faulthandler.register` writes from within the signal's handler, while other threads run on: with busy ones that kills the process
(CPython 3.11: one signal in a hundred). Here the interpreter only notes the signal, also while its main thread hangs in a call,
and a thread of ours writes: the others stand still meanwhile.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import tempfile
import threading
from contextlib import suppress

_file = -1  # where the interpreter notes signals, as long as this process is one that says where it stands


def listen(number: signal.Signals) -> None:
    """Write the stacks at each such signal from now on, before its handler, which must be one of Python's. Only from the main
    thread, and once until `end`."""
    global _file
    end()
    if sys.stderr is None:
        return
    noted, _file = os.pipe()
    os.set_blocking(_file, False)
    signal.set_wakeup_fd(_file, warn_on_full_buffer=False)
    threading.Thread(target=_write, args=(noted, number), name="spoolq-stacks", daemon=True).start()


def end() -> None:
    """No more."""
    global _file
    if _file >= 0:
        if (found := signal.set_wakeup_fd(-1)) != _file:  # somebody else's by now
            signal.set_wakeup_fd(found)
        os.close(_file)
        _file = -1


def _write(noted: int, number: int) -> None:
    with open(noted, "rb", buffering=0) as signals:
        while several := signals.read(512):
            if number in several:
                with suppress(OSError, ValueError):
                    _say()


def _say() -> None:
    """First into a file: whoever reads standard error may be slow, and the interpreter can't go on while stacks are written."""
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        sys.stderr.write(file.read().decode(errors="replace"))
        sys.stderr.flush()
