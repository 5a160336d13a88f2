"""What Redis keeps of jobs that are done: nothing. Its memory is O(in flight), not O(jobs).

    python -m tests.torture.memory [--jobs 1000000] [--given]

Half of the jobs go straight to Redis, half through the spool and a drainer; a worker claims and acknowledges them all, a few
thousand in flight at a time. What Redis uses is looked at after half of the jobs and after all, each time when nothing is in
flight: the slope between the two is what a job leaves behind, in bytes. `--given` is the control: ids that callers chose are
remembered for the horizon, so the slope is what a remembered id takes. Exits 1 when a job is missing, or leaves more than a byte.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spoolq import SpoolQ
from spoolq.job import Claim, Job
from tests.servers import Server
from tests.waiting import eventually

QUEUE, AT_ONCE, IN_FLIGHT = "work", 500, 4000
MOST = 1.0
"""Bytes that a job may leave behind: a leak of one byte shows, the allocator's changes from look to look don't."""


TIMELY = (b"resque:spoolq:series", b"resque:spoolq:history:")
"""What is counted and sampled every few seconds."""


class Look(NamedTuple):
    """At a server with nothing in flight: bytes in use, ids remembered, keys but for those that come with time, not with jobs.
    The least of three seconds: buffers of connections that are idle are made smaller when Redis has the time."""

    used: int
    ids: int
    keys: int


class Rig:
    """A producer, a drainer and a worker in one process: what is measured is the server."""

    def __init__(self, server: Server, folder: Path, *, given: bool) -> None:
        self.q = SpoolQ(server.url, spool=folder / "spool.db", spool_min_free=0, deadline=30.0, disk_limit=60.0)
        self._drainer, self._worker = self.q.drainer(), self.q.worker_info((QUEUE,), 1)
        self.peak = self.done = self._made = self._call = 0
        self._given = given
        self._claims: Sequence[Claim] = ()
        self._control = server.client(socket_timeout=60.0)

    def go(self, jobs: int) -> None:
        """So many jobs, from end to end."""
        for first in range(0, jobs, IN_FLIGHT):
            here = min(IN_FLIGHT, jobs - first)
            self._put(here - here // 2, spooled=False)
            self._put(here // 2, spooled=True)
            self._drainer.run_once(60.0)
            self.peak = max(self.peak, self._used())
            self._work()

    def _put(self, count: int, *, spooled: bool) -> None:
        spool = self.q.spool
        assert spool is not None
        while count:
            some = min(AT_ONCE, count)
            jobs = [self._job() for _ in range(some)]
            if spooled:
                spool.spool([self.q.message(job) for job in jobs], timeout=60.0)
            elif self._given:  # the client would ask the spool of each: a sync a job
                self.q.primary.put([self.q.message(job) for job in jobs], timeout=30.0)
            else:
                self.q.enqueue_many(jobs)
            count -= some

    def _job(self) -> Job:
        self._made += 1
        return Job(f"job-{self._made:032}", "t", QUEUE, ("x" * 100,), given=self._given)

    def _work(self) -> None:
        while True:
            self._call += 1
            claimed = self.q.primary.claim(self._worker, self._call, [QUEUE], AT_ONCE, ack=self._claims, timeout=30.0)
            assert not claimed.lost
            self.done += len(self._claims)
            self._claims = claimed.claims
            if not claimed.claims:
                return

    def _used(self) -> int:
        used: int = self._control.info("memory")["used_memory"]
        return used

    def look(self) -> Look:
        """When the last ids may be forgotten, and are: a drainer's attempt may be applied for two seconds."""
        until = self.q.primary.now() + 2.0 + 0.6
        eventually(lambda: self.q.primary.now() > until)
        self.q.primary.forget(())
        seen, end = [self._used()], time.monotonic() + 3.0
        eventually(lambda: seen.append(self._used()) or time.monotonic() > end)
        return Look(
            min(seen),
            self._control.zcard("resque:spoolq:markers"),
            len([key for key in self._control.scan_iter(count=1000) if not key.startswith(TIMELY)]),
        )

    def close(self) -> None:
        """Both ends."""
        self._drainer.leave()
        self.q.close()
        self._control.close()


def run(jobs: int, *, given: bool = False) -> dict[str, Any]:
    """Half of them, a look, the other half, a look. Without the log of slow commands, which holds their arguments for a time."""
    with tempfile.TemporaryDirectory(prefix="spoolq-memory-") as folder, Server(slowlog_max_len=0) as server:
        rig = Rig(server, Path(folder), given=given)
        try:
            rig.go(2 * IN_FLIGHT)  # what the first jobs allocate stays: scripts, connections
            empty, peak = rig.look(), rig.peak
            began = time.monotonic()
            rig.go(jobs // 2)
            half = rig.look()
            rig.go(jobs - jobs // 2)
            whole = rig.look()
            took = time.monotonic() - began
        finally:
            rig.close()
    return {
        "jobs": jobs,
        "missing": jobs + 2 * IN_FLIGHT - rig.done,
        "seconds": round(took, 1),
        "bytes in use": [empty.used, half.used, whole.used],
        "most in use": [peak, rig.peak],
        "ids remembered": [empty.ids, half.ids, whole.ids],
        "keys": [empty.keys, half.keys, whole.keys],
        "bytes a job": round((whole.used - half.used) / (jobs - jobs // 2), 3),
    }


def main() -> int:
    """The long form."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.memory", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--given", action="store_true", help="the control: ids that the caller chose")
    options = parser.parse_args()
    figures = run(options.jobs, given=options.given)
    for name, value in figures.items():
        print(f"{name:<15} {value}")
    return 1 if figures["missing"] or figures["bytes a job"] > MOST else 0


if __name__ == "__main__":
    raise SystemExit(main())
