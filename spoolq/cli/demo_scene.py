"""The stage of `spoolq demo`: the files that are worked on, the worker's process, who enqueues, and what the runs left behind."""

from __future__ import annotations

import json
import logging
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import click

from spoolq.app import SpoolQ
from spoolq.job import Receipt

WORDS = (
    "queue",
    "worker",
    "spool",
    "redis",
    "outage",
    "retry",
    "claim",
    "lease",
    "drain",
    "job",
    "disk",
    "order",
    "host",
    "pager",
)
STUCK = 30.0  # seconds without a single run: the demo gives up
SETTLING = 30.0  # seconds for the worker's end at TERM


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of a job left behind. `fresh`: its claim was no rescued or released one. `local`: it came from the spool."""

    id: str
    fresh: bool
    local: bool


class Scene:
    """A directory with `count` files of random words, one for each job. Every line is told with the seconds since the start."""

    def __init__(self, directory: Path, count: int) -> None:
        self.directory = directory
        self.receipts: list[Receipt] = []
        self.slowest = 0.0  # seconds, of all enqueues
        self._began = time.monotonic()
        self._paths = iter(_files(directory / "files", count))
        self._launches: Iterator[Callable[[str], Receipt]] = iter(())  # from `application` on
        self._worker_log = directory / "worker.log"

    def say(self, text: str) -> None:
        """A line of the story."""
        head = f"{time.monotonic() - self._began:6.2f} s  "
        hanging = " " * (len(head) + len(text) - len(text.lstrip()))
        width = max(60, shutil.get_terminal_size((100, 24)).columns - 1)
        click.echo(textwrap.fill(head + text, width, subsequent_indent=hanging, break_on_hyphens=False, break_long_words=False))

    @contextmanager
    def application(self, q: SpoolQ) -> Iterator[None]:
        """The web application: it knows its jobs by name, as a webhead that doesn't import the tasks does. What it logs is told
        in its place."""
        self._launches = cycle((q.remote("checksum", queue="checksums").enqueue, q.remote("count_words", queue="words").enqueue))
        log, handler = logging.getLogger("spoolq"), _Told(self)
        log.addHandler(handler)
        log.propagate, before = False, log.propagate
        try:
            yield
        finally:
            log.removeHandler(handler)
            log.propagate = before
            q.close()

    def enqueue(self, count: int, over: float = 0.0) -> Receipt | None:
        """So many jobs, spread over that many seconds; each is timed. Returns the last receipt."""
        receipt = None
        for path, launch in islice(zip(self._paths, self._launches, strict=False), count):
            began = time.perf_counter()
            receipt = launch(str(path))
            self.slowest = max(self.slowest, time.perf_counter() - began)
            self.receipts.append(receipt)
            if over:
                time.sleep(over / count)
        return receipt

    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        """`spoolq worker` in a process of its own, as an operator would start it."""
        command = [sys.executable, "-m", "spoolq", "worker", "spoolq.cli.demo_tasks:q", "--threads", "2"]
        with open(self._worker_log, "ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603
        try:
            yield process
        finally:
            try:
                process.send_signal(signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(SETTLING)
            finally:  # also when a second signal ends the wait
                process.kill()
                process.wait()

    def runs(self) -> list[Run]:
        """What the jobs left behind so far. A line without its end is of a run that is not over."""
        try:
            data = (self.directory / "runs.jsonl").read_bytes()
        except FileNotFoundError:
            return []
        lines = map(json.loads, data[: data.rfind(b"\n") + 1].splitlines())
        return [Run(line["id"], line["fresh"], line["store"] == "spool") for line in lines]

    def wait(self, over: Callable[[], bool], within: float) -> bool:
        """Until it is so, or for that many seconds. Returns whether it is so."""
        until = time.monotonic() + within
        while not (so := over()) and time.monotonic() < until:
            time.sleep(0.03)
        return so

    def finish(self, worker: subprocess.Popen[bytes]) -> bool:
        """Until every job has run, told from time to time. False, with the end of the worker's log, when it doesn't come."""
        wanted = {receipt.id for receipt in self.receipts}
        moved, seen, told, pause = time.monotonic(), -1, time.monotonic(), 1.5
        while True:
            runs, now = self.runs(), time.monotonic()
            left = len(wanted - {run.id for run in runs})
            if not left:
                self.say(f"all {len(wanted)} jobs have run")
                return True
            if len(runs) != seen:
                moved, seen = now, len(runs)
            if now - moved > STUCK or worker.poll() is not None:
                self.say(f"{left} of {len(wanted)} jobs did not run. The end of the worker's log:")
                click.echo(self._worker_log.read_text(errors="replace")[-1500:], err=True)
                return False
            if now - told > pause:
                self.say(f"  {left} to go")
                told, pause = now, pause * 1.5
            time.sleep(0.05)


class _Told(logging.Handler):
    """What the application logs, as a line of the story instead of in between."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(logging.WARNING)
        self._scene = scene

    def emit(self, record: logging.LogRecord) -> None:
        """Tell it, without the name of the directory, which is long."""
        self._scene.say(f"  it logs: {record.getMessage().replace(f'{self._scene.directory}/', '')}")


def _files(folder: Path, count: int) -> list[Path]:
    rng = random.Random(1)
    folder.mkdir()
    paths = [folder / f"{number:05}.txt" for number in range(count)]
    for path in paths:
        path.write_text(" ".join(rng.choices(WORDS, k=rng.randint(50, 400))))
    return paths
