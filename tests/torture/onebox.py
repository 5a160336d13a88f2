"""One box without Redis: a worker on an SQLite file is killed again and again; every job runs at least once.

python -m tests.torture.onebox [--jobs 50000] [--kills 10] [--seed 1]
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

from spoolq import SpoolQ
from tests.waiting import while_moving

APP = """
import os
from spoolq import SpoolQ, current_job
q = SpoolQ.from_env()
journal = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

@q.task(queue="torture", max_crashes=100)
def note(number):
    job = current_job()
    os.write(journal, f"{job.id} {int(job.fresh)}\\n".encode())
"""


def run(jobs: int, kills: int, seed: int = 1, threads: int = 2) -> dict[str, Any]:
    """One run; returns the figures, with the broken invariants under `broken`."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="spoolq-torture-") as folder:
        url = f"sqlite:///{folder}/jobs.db"
        Path(folder, "app_under_torture.py").write_text(APP)
        journal = Path(folder, "journal")
        journal.touch()
        environment = os.environ | {
            "SPOOLQ_URL": url,
            "JOURNAL": str(journal),
            "SPOOLQ_LEASE": "2s",
            "SPOOLQ_SPOOL_MIN_FREE": "0",
        }
        environment["PYTHONPATH"] = os.pathsep.join([folder, os.getcwd()])
        with SpoolQ(url, spool_min_free=0, disk_limit=60.0) as q:  # however busy the disk is
            task = q.remote("note", queue="torture")
            ids = [receipt.id for receipt in q.enqueue_many([task.job(number) for number in range(jobs)])]
        command = [sys.executable, "-m", "spoolq", "worker", "app_under_torture:q", "--threads", str(threads)]

        def size() -> int:
            return journal.stat().st_size

        began = time.monotonic()
        with open(Path(folder, "stderr.log"), "ab") as errors:
            for kill in range(kills):
                process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=errors, cwd=folder)
                try:
                    target = size() + jobs * 45 // (kills * 2) * rng.uniform(0.5, 1.5)
                    while_moving(lambda p=process, t=target: size() > t or p.poll() is not None, size)
                finally:
                    process.kill()
                    process.wait()
                if process.returncode == 0:
                    raise AssertionError(f"the worker ended before kill {kill + 1}")
            last = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=errors, cwd=folder)
            try:
                with SpoolQ(url, disk_limit=60.0) as q:
                    while_moving(lambda: not any(d.ready or d.claimed or d.scheduled for d in q.primary.depths()), size)
            finally:
                last.terminate()
                last.wait(60)
        lines = [line.split() for line in journal.read_text().splitlines()]
        runs, fresh = Counter(id for id, _ in lines), Counter(id for id, is_fresh in lines if is_fresh == "1")
        with SpoolQ(url, disk_limit=60.0) as q:
            depths, failures = q.primary.depths(), q.primary.failures.count()
        broken = {
            "1 lost": sorted(set(ids) - runs.keys()),
            "2 claimed afresh twice": sorted(id for id, count in fresh.items() if count > 1),
            "4 run, never enqueued": sorted(runs.keys() - set(ids)),
        }
        return {
            "jobs": jobs,
            "kills": kills,
            "runs": sum(runs.values()),
            "run more than once": sum(count > 1 for count in runs.values()),
            "left": [depth for depth in depths if depth.ready or depth.claimed or depth.scheduled],
            "failures": failures,
            "exit": last.returncode,
            "seconds": round(time.monotonic() - began, 1),
            "stderr": Path(folder, "stderr.log").read_text(errors="replace")[-2000:],
            "broken": {rule: found for rule, found in broken.items() if found},
        }


def main() -> int:
    """The long form."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture.onebox", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=50_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    figures = run(options.jobs, options.kills, options.seed)
    stderr = figures.pop("stderr")
    for name, value in figures.items():
        print(f"{name:<20} {json.dumps(value, default=str)[:200]}")
    bad = bool(figures["broken"] or figures["left"] or figures["exit"])
    if bad:
        print(stderr, file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
