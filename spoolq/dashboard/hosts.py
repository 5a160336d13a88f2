"""What is known of the worker processes of this very host beyond what they tell the stores: memory, and whether their threads get
their turn. By the files that they keep locked as long as they live, never by a process id alone."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from spoolq import presence

if TYPE_CHECKING:
    from spoolq.app import SpoolQ


class Process(NamedTuple):
    """A process: bytes of memory, None where that can't be told; by how many seconds its latest thread or event loop was late,
    and how many jobs have ended in it, None where it hasn't said so lately."""

    memory: int | None
    late: float | None
    ran: int | None


_LATELY = 30.0  # seconds


def processes(q: SpoolQ) -> dict[str, Process]:
    """Those of this user on this host, by the keys of their workers."""
    folder = q.workers_folder()
    found = {}
    for name in presence.names(folder):
        with suppress(OSError, ValueError), presence.Seen(folder, name, lockable=False) as seen:
            pulse = seen.pulse
            fresh = pulse.at > 0 and time.monotonic() - pulse.at < _LATELY
            found[seen.info.key] = Process(
                _memory(seen.info.pid, seen.info.started_at), pulse.late if fresh else None, pulse.ran if fresh else None
            )
    return found


def _memory(pid: int, started_at: float) -> int | None:
    """Of the process of that id, if it is old enough to be the one that is meant."""
    try:
        import psutil
    except ImportError:
        return None
    try:
        process = psutil.Process(pid)
        return int(process.memory_info().rss) if process.create_time() <= started_at + 1.0 else None
    except psutil.Error:
        return None
