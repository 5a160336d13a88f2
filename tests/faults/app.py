"""What the fault tests have in common: an application between a real server and a real disk, and the count at the end."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spoolq import SpoolQ
from spoolq.drain import Drained
from tests.servers import Server

DEADLINE = 0.25
COMMIT = 0.05  # seconds for a synced commit and the first opening of the spool, by far


def application(url: str, folder: Path, **settings: Any) -> SpoolQ:
    """A queue whose spool lies in `folder`."""
    return SpoolQ(url, spool=folder / "spool.db", spool_min_free=0, **({"deadline": DEADLINE} | settings))


def arrived(server: Server, queue: str = "work") -> Counter[str]:
    """The ids in a queue of the server, counted."""
    with server.client() as control:
        return Counter(json.loads(item)["id"] for item in control.lrange(f"resque:queue:{queue}", 0, -1))


def drain(q: SpoolQ) -> Drained:
    """Empty the spool of a healed application."""
    drainer = q.drainer()
    try:
        return drainer.run_once(20.0)
    finally:
        drainer.stop()  # or closing waits until the ids of the last puts may be forgotten
        drainer.close()


class Unscheduled:
    """How long this process wasn't scheduled, as a thread that only sleeps for a millisecond at a time sees it.

    A deadline is a promise about spoolq, not about a machine that gives it no time.
    """

    def __init__(self) -> None:
        self.lost = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Unscheduled:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        before = time.monotonic()
        while not self._ended.wait(0.001):
            now = time.monotonic()
            self.lost += max(0.0, now - before - 0.002)
            before = now


@contextmanager
def within(limit: float) -> Iterator[None]:
    """What happens inside must not take longer, apart from the time in which nothing here was scheduled."""
    with Unscheduled() as control:
        began = time.monotonic()
        yield
        took = time.monotonic() - began
    assert took <= limit + control.lost, (
        f"took {took:.3f} s, the limit is {limit:.3f} s and {control.lost:.3f} s were unscheduled"
    )
