"""What the fault tests have in common: an application between a real server and a real disk, and the count at the end."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from spoolq import SpoolQ
from spoolq.sieve import Drained
from tests.servers import Server

DEADLINE = 0.25
COMMIT = 0.05  # seconds for a commit and the first opening of the spool, by far, and SYNCS of them are the disk's
SYNCS = 5


def application(url: str, folder: Path, **settings: Any) -> SpoolQ:
    """A queue whose spool lies in `folder`. Its disk may be busy: that is no fault of the spool's."""
    own = {"deadline": DEADLINE, "disk_limit": 20.0}
    return SpoolQ(url, spool=folder / "spool.db", spool_min_free=0, **(own | settings))


def arrived(server: Server, queue: str = "work", prefix: str = "resque") -> Counter[str]:
    """The ids in a queue of the server, counted."""
    with server.client() as control:
        return Counter(json.loads(item)["id"] for item in control.lrange(f"{prefix}:queue:{queue}", 0, -1))


def drain(q: SpoolQ, patience: float | None = None, away: float = 20.0) -> Drained:
    """Empty the spool of a healed application. `patience`: seconds that one put may take, where it matters that none is late;
    `away`: for which it bears that Redis takes nothing."""
    drainer = q.drainer()
    if patience is not None:
        drainer._timeout = drainer._hand._timeout = patience
    try:
        return drainer.run_once(away)
    finally:
        drainer.stop()  # or closing waits until the ids of the last puts may be forgotten
        drainer.close()


def queued(process: int | str) -> dict[str, float]:
    """Seconds for which each of a process's threads has been ready to run and wasn't: the second field of schedstat
    (Documentation/scheduler/sched-stats in the kernel)."""
    waited = {}
    for task in Path(f"/proc/{process}/task").iterdir():
        with suppress(OSError):  # it has ended
            waited[task.name] = int((task / "schedstat").read_text().split()[1]) / 1e9
    return waited


class Control:
    """What this machine can't give meanwhile: `unscheduled`, the seconds in which a thread that only sleeps for a millisecond at
    a time wasn't run, and those in which two of the process's threads (a caller, and who writes for it) waited for a core;
    `sync`, the longest that the disk of `folder` took over a small synced write.

    A deadline is a promise about spoolq, not about a machine that gives it no time, nor about the disk under others' load. The
    sleeper sees a held interpreter, but the kernel runs what slept before what worked: a caller may wait where it doesn't.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.sync = 0.0
        self._folder = folder
        self._slept = (0.0, math.inf)  # what was lost until when; one tuple, since the sleeper goes on while somebody reads it
        self._ended = threading.Event()
        turns = [self._sleep] if folder is None else [self._sleep, self._write]
        self._threads = [threading.Thread(target=turn, daemon=True) for turn in turns]

    @property
    def unscheduled(self) -> float:
        """So far. What the sleeper is overdue counts, also when whoever reads this was woken before it."""
        lost, until = self._slept
        return lost + max(0.0, time.monotonic() - until - 0.002)

    def __enter__(self) -> Control:
        self._slept = (0.0, time.monotonic())
        for thread in self._threads:
            thread.start()
        self._waited = self._queued()
        return self

    def __exit__(self, *exc: object) -> None:
        waited = sorted(waited - self._waited.get(task, 0.0) for task, waited in self._queued().items())
        lost = self.unscheduled + sum(waited[-2:])
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._slept = (lost, math.inf)

    def _queued(self) -> dict[str, float]:
        own = {str(thread.native_id) for thread in self._threads}
        return {task: waited for task, waited in queued("self").items() if task not in own}

    def _sleep(self) -> None:
        while not self._ended.wait(0.001):
            self._slept = (self.unscheduled, time.monotonic())

    def _write(self) -> None:
        assert self._folder is not None
        with (self._folder / "control").open("wb", buffering=0) as file:
            while not self._ended.wait(0.005):
                began = time.monotonic()
                file.write(bytes(4096))
                os.fsync(file.fileno())
                self.sync = max(self.sync, time.monotonic() - began)


@contextmanager
def at_once(seconds: float) -> Iterator[None]:
    """What happens inside takes less than so many seconds, but for those in which this process was given no core."""
    with Control() as control:
        began = time.monotonic()
        yield
        took = time.monotonic() - began
    assert took < seconds + control.unscheduled, f"took {took:.3f} s, of them {control.unscheduled:.3f} s unscheduled"


@contextmanager
def within(seconds: float, folder: Path) -> Iterator[None]:
    """What happens inside must take no longer than so many seconds and a commit, apart from what the control saw."""
    with Control(folder) as control:
        began = time.monotonic()
        yield
        took = time.monotonic() - began
    limit = seconds + COMMIT + SYNCS * control.sync + control.unscheduled
    assert took <= limit, (
        f"took {took:.3f} s, the limit is {limit:.3f} s; a sync took up to {control.sync:.3f} s, "
        f"{control.unscheduled:.3f} s were unscheduled"
    )
