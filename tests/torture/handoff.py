"""Producers enqueue while the server is killed and restarted, and drainers run: every acknowledged id arrives once.

    python -m tests.torture.handoff [--jobs 100000] [--producers 4] [--drainers 2] [--every 3.0] [--seed 1]

The server keeps an append-only file synced at every write, so that what it acknowledged survives the kill. `--no-markers` is the
control: ids are forgotten at each restart, and jobs must end up queued twice.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.servers import Server
from tests.torture.books import Books
from tests.torture.check import Log, verdict
from tests.waiting import eventually


def run(
    jobs: int, producers: int = 4, drainers: int = 2, every: float = 3.0, seed: int = 1, *, forget: bool = False
) -> dict[str, Any]:
    """One run; returns the figures, with the broken invariants under `broken`."""
    rng = random.Random(seed)
    with (
        tempfile.TemporaryDirectory(prefix="spoolq-torture-") as folder,
        Server(appendonly=True, appendfsync="always") as server,
        Books(server.url, Path(folder, "spool.db")) as books,
    ):
        spool, logs = Path(folder, "spool.db"), [Path(folder, f"producer-{n}.log") for n in range(producers)]
        environment = os.environ | {"SPOOLQ_URL": server.url, "SPOOLQ_SPOOL": str(spool), "SPOOLQ_SPOOL_MIN_FREE": "0"}
        errors = open(Path(folder, "stderr.log"), "ab")  # noqa: SIM115
        working = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.torture.producer", server.url, str(spool), str(path), str(jobs // producers)],
                stderr=errors,
            )
            for path in logs
        ]
        command = [sys.executable, "-m", "spoolq", "drain", "-q"]
        draining = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=errors) for _ in range(drainers)]
        kills = 0
        try:
            while any(process.poll() is None for process in working):
                pause = time.monotonic() + every * rng.uniform(0.6, 1.4)
                eventually(lambda until=pause: time.monotonic() > until, within=60)
                server.kill()
                kills += 1
                pause = time.monotonic() + rng.uniform(0.05, 0.8)
                eventually(lambda until=pause: time.monotonic() > until, within=60)
                server.start()
                if forget:
                    server.client().delete("resque:spoolq:markers")
            died = [process.returncode for process in working if process.returncode != 0]
            once = subprocess.run(
                [*command, "--once", "--timeout", "60"], env=environment, stdout=subprocess.DEVNULL, stderr=errors, check=False
            )
            died += [process.returncode for process in draining if process.poll() is not None]
        finally:
            for process in (*working, *draining):
                process.terminate()
                process.wait(60)
            errors.close()
        control = server.client(socket_timeout=30.0)
        arrived = Counter(json.loads(item)["id"] for item in control.lrange("resque:queue:torture", 0, -1))
        log, total = Log.read(logs), books.close().total
        broken = verdict(log, arrived) | {"5 doesn't balance": books.broken}
        if total.all_came != arrived.total() or total.there != arrived.total():
            broken["5 doesn't balance"].append(f"{total.all_came} came and {total.there} are there, of {arrived.total()}")
        return {
            "tried": len(log.tried),
            "acknowledged": len(log.acknowledged),
            "by route": dict(Counter(log.acknowledged.values())),
            "raised": dict(Counter(log.raised.values())),
            "arrived": len(arrived),
            "kills": kills,
            "slowest ms": max(log.took, default=0.0),
            "p99 ms": sorted(log.took)[len(log.took) * 99 // 100] if log.took else 0.0,
            "markers left": control.zcard("resque:spoolq:markers"),
            "drain exit": once.returncode,
            "died": died,
            "stderr": Path(folder, "stderr.log").read_text(errors="replace")[-2000:],
            "books": f"{books.looks} looks, {books.busy} at jobs; {dict(total.came)} came, {total.missing} missing",
            "broken": {rule: ids for rule, ids in broken.items() if ids},
        }


def main() -> int:
    """The long form."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture.handoff", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--producers", type=int, default=4)
    parser.add_argument("--drainers", type=int, default=2)
    parser.add_argument("--every", type=float, default=3.0, help="seconds between kills, about")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-markers", action="store_true", help="the control: markers are deleted after each kill")
    options = parser.parse_args()
    began = time.monotonic()
    figures = run(options.jobs, options.producers, options.drainers, options.every, options.seed, forget=options.no_markers)
    stderr = figures.pop("stderr")
    for name, value in figures.items():
        print(f"{name:<14} {value if name != 'broken' else {rule: len(ids) for rule, ids in value.items()}}")
    print(f"{'took':<14} {time.monotonic() - began:.0f} s")
    if figures["broken"]:
        print(stderr, file=sys.stderr)
    return 1 if figures["broken"] or figures["died"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
