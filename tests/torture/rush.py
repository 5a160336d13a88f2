"""The application's side of `tests.torture.deadline`: many callers at once, each call timed."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from tests.faults.app import Control
from tests.faults.caller import Desk, Watched, serve


class Rush(Desk):
    """Several applications in one process, each with its connections and its spool."""

    def __init__(self) -> None:
        self.apps: list[Watched] = []
        self.wrong = ""

    def fresh(self, url: str, folder: str, apps: int, deadline: float, threads: int, warm: bool) -> None:
        """New applications, without a connection or with one for each thread."""
        import redis.connection  # noqa: F401 - loading the driver is not what is measured

        for q in self.apps:
            q.close(0.01)
        self.apps = [
            Watched(
                url,
                spool=Path(folder, f"spool-{n}.db"),
                spool_min_free=0,
                deadline=deadline,
                namespace="{resque}",
                disk_limit=30.0,
            )
            for n in range(apps)
        ]
        for q in self.apps:
            q.breaker._hint = None  # or the first to find out would spare the others the wait that is measured
            link: Any = q.primary._transport  # type: ignore[attr-defined]
            end = time.monotonic() + 10.0
            while warm and len(link._idle) < threads:
                q.breaker.succeeded()
                self._together([q], threads, "warm")
                assert time.monotonic() < end, f"{len(link._idle)} of {threads} connections"

    def rush(self, threads: int) -> dict[str, Any]:
        """One call for each thread of each application, all at once: how long each took, and the spool's part of it."""
        with Control() as control:
            calls = self._together(self.apps, threads, "work")
        return {"calls": calls, "unscheduled": control.unscheduled}

    def drain_all(self) -> None:
        for q in self.apps:
            self.q = q
            self.drain(within=60.0)

    def shut(self) -> None:
        for q in self.apps:
            q.close()

    def stock_client(self, host: str, port: int) -> bool:
        """A plain client with the library's own settings, connected."""
        import redis

        self.plain = redis.Redis(host=host, port=port, username="app", password="secret")
        return bool(self.plain.ping())

    def held(self, seconds: float) -> bool:
        """Whether its `RPUSH` is still waiting after so long."""
        thread = threading.Thread(target=lambda: self.plain.rpush("plain", "x"), daemon=True)
        thread.start()
        thread.join(seconds)
        return thread.is_alive()

    def _together(self, apps: list[Watched], threads: int, queue: str) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []
        start = threading.Barrier(len(apps) * threads)

        def one(q: Watched) -> None:
            task = q.remote("t", queue)
            q.spooling.took = 0.0
            start.wait()
            began = time.monotonic()
            receipt = task.enqueue()
            took = time.monotonic() - began
            calls.append({"id": receipt.id, "route": receipt.route, "took": took, "spooling": q.spooling.took})

        workers = [threading.Thread(target=one, args=(q,)) for q in apps for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return calls


if __name__ == "__main__":
    serve(Rush())
