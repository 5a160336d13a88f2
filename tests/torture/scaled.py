"""A real pool under a load that comes and goes: jobs that compute, on this machine.

    python -m tests.torture.scaled [--store redis|sqlite] [--processes 1:4] [--seconds 240] [--cpu 0.9|none] [--out DIRECTORY]

A sixth of the time is quiet, a third has jobs for one and a half cores, then it is quiet again. Writes down each second what is
wanted, what is there and what waits: `scaled.csv` and `scaled.svg`; prints the figures. Others on the machine are part of it.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import re
import signal
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from spoolq.autoscale import assembly, board
from spoolq.autoscale.host import Probe
from tests.faults.working import Place, at
from tests.servers import Server
from tests.torture.plot import Line, Panel, svg
from tests.waiting import pass_time, while_moving

JOB = 0.25
"""Seconds of a core that a job takes."""

COLUMNS = (
    "second",
    "enqueued",
    "done",
    "wanted",
    "ready",
    "leaving",
    "backlog",
    "oldest",
    "cpu",
    "stall",
    "load",
    "cause",
    "why",
)


def run(
    seconds: float,
    store: str = "redis",
    processes: str = "1:4",
    cpu: str = "0.9",
    idle: str = "20s",
    cores: float = 1.5,
    target: str = "10s",
) -> dict[str, Any]:
    """One run. Returns the figures, with the rows of all seconds under `rows`."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spoolq-torture-")))
        url = f"sqlite:///{folder}/jobs.db" if store == "sqlite" else stack.enter_context(Server()).url
        place = stack.enter_context(at(folder, url))
        place.environment["RUNTIME_DIRECTORY"] = os.environ["RUNTIME_DIRECTORY"] = str(folder)
        settings = {"SCALE_CPU": cpu, "SCALE_IDLE": idle, "SCALE_TARGET": target}
        worker = place.worker("--processes", processes, threads=1, **settings)
        rows, ids = _load(place, seconds, cores / JOB)
        while_moving(lambda: not place.left(), lambda: len(place.trace()))
        worker.send(signal.SIGTERM)
        code = worker.process.wait(60)
        runs = place.runs()
        changes = [
            (int(found[1]), int(found[2]), found[3])
            for line in worker.said("pool: from ")
            if (found := re.search(r"from (\d+) to (\d+) process\(es\): (.*)", line))
        ]
        ups = [later > sooner for sooner, later, _ in changes]
        return {
            "store": store,
            "jobs": len(ids),
            "run once": sum(count == 1 for count in runs.values()),
            "lost": len(set(ids) - runs.keys()),
            "exit": code,
            "changes": changes,
            "turns": sum(one != other for one, other in itertools.pairwise(ups)),
            "most": max(row["ready"] for row in rows),
            "at the end": rows[-1]["wanted"],
            "longest wait": max(row["oldest"] for row in rows),
            "target met": sum(row["oldest"] <= 10.0 for row in rows) / len(rows),
            "rows": rows,
        }


def _load(place: Place, seconds: float, rate: float) -> tuple[list[dict[str, Any]], list[str]]:
    launch, probe = place.q.remote("crunching", "work"), Probe()
    files = assembly.folder(place.q.settings)
    rows: list[dict[str, Any]] = []
    ids: list[str] = []
    owed, began = 0.0, time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        owed += rate if seconds / 6 <= passed < seconds / 2 else 0.2
        ids += [launch.enqueue(JOB).id for _ in range(int(owed))]
        owed -= int(owed)
        rows.append({"second": round(passed, 2), "enqueued": len(ids), **_seen(place, files, probe)})
        pass_time(max(0.0, began + len(rows) - time.monotonic()))
    return rows, ids


def _seen(place: Place, files: Any, probe: Probe) -> dict[str, Any]:
    now = time.monotonic()
    state = next(iter(board.states(files, now)), None)
    host, depths = probe.look(now), place.store.depths()
    return {
        "done": len(place.trace()),
        "wanted": 0 if state is None else state.wanted,
        "ready": 0 if state is None else state.ready,
        "leaving": 0 if state is None else state.leaving,
        "backlog": sum(depth.ready for depth in depths),
        "oldest": round(max((depth.oldest or 0.0 for depth in depths), default=0.0), 2),
        "cpu": None if host.cpu is None else round(host.cpu, 3),
        "stall": host.stall,
        "load": None if host.load is None else round(host.load, 2),
        "cause": "" if state is None else state.cause,
        "why": "" if state is None else state.why,
    }


def picture(figures: dict[str, Any]) -> str:
    """The run as an SVG."""
    rows = figures["rows"]

    def line(label: str, column: str, steps: bool = False, by: float = 1.0) -> Line:
        return Line(label, [None if row[column] is None else row[column] * by for row in rows], steps)

    return svg(
        [row["second"] for row in rows],
        [
            Panel("processes", [line("wanted", "wanted", steps=True), line("at work", "ready", steps=True)]),
            Panel("jobs that wait", [line("backlog", "backlog")]),
            Panel("seconds that the oldest has waited (the target is 10)", [line("age", "oldest")]),
            Panel("per cent of the two cores used, by anybody", [line("cpu", "cpu", by=100)], 100.0),
        ],
        "A pool under a load that comes and goes",
    )


def write(figures: dict[str, Any], folder: Path) -> None:
    """`scaled.csv` and `scaled.svg`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "scaled.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(figures["rows"])
    (folder / "scaled.svg").write_text(picture(figures), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", choices=["redis", "sqlite"], default="redis")
    parser.add_argument("--processes", default="1:4")
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--cpu", default="0.9")
    parser.add_argument("--idle", default="20s")
    parser.add_argument("--cores", type=float, default=1.5, help="that the jobs ask for while there is load")
    parser.add_argument("--out", type=Path, default=Path("scaled"))
    given = parser.parse_args()
    figures = run(given.seconds, given.store, given.processes, given.cpu, given.idle, given.cores)
    write(figures, given.out)
    print(json.dumps({name: value for name, value in figures.items() if name != "rows"}, indent=1))


if __name__ == "__main__":
    main()
