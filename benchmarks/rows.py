"""What is measured: the rows of the goals, what `bench` adds to them, and what `full` adds to those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from benchmarks.contenders import CONTENDERS, HERE, WAYS, Contender
from benchmarks.measures import Measure, imports, in_flight, memory, outage, pick_up, ready, told, work


@dataclass(frozen=True)
class Row:
    """One line of the goals.

    measure      "one", "many" or "async" for calls, which all contenders make in turn, in blocks of `size`
    figure       which of its figures counts
    size         how much is done in a round; but for calls a quick run does a part of it
    who          how the names begin of those that take part, in this order
    peer         the same of the one that takes part beside few
    ways         all ways to run a library's worker take part, not the first alone
    fault        how the server fails after the first calls
    once         one round is enough: it counts, and nothing is timed
    environment  of their processes
    depth        jobs that wait before it is measured
    workers      that are registered before
    """

    name: str
    measure: Measure | Literal["one", "many", "async"]
    figure: str
    size: int
    who: tuple[str, ...]
    goal: str = ""
    peer: str = "huey"
    ways: bool = False
    fault: str = ""
    once: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    depth: int = 0
    workers: int = 0

    def contenders(self, words: tuple[str, ...], also: Sequence[Path] = (), *, few: bool = False) -> list[Contender]:
        """Those that take part, of them the ones that are of one of the packages `words` (none: all; of `few` its peer and the
        limit, in one way if `who` doesn't name more in full), spoolq also as it is in the checkouts `also`."""
        found = [one for who in self.who for one in CONTENDERS if one.name.startswith(who)]
        if words:
            found = [one for one in found if one.package in words]
        elif few:
            found = [one for one in found if one.package in HERE or one.name.startswith(self.peer)]
        if few or not self.ways:
            first = {(one.package, one.on): one for one in reversed(found)}
            found = [one for one in found if first[one.package, one.on] is one or one.name in self.who]
        return [each for one in found for each in (one, *(one.of(root) for root in also if one.package == "spoolq"))]


REDIS = (
    "spoolq, Redis",
    "raw, Redis",
    "huey, Redis",
    "dramatiq, Redis",
    "rq, Redis",
    "celery, Redis",
    "saq, Redis",
    "arq, Redis",
)
FILE = ("spoolq, SQLite", "raw, SQLite", "huey, SQLite", "litequeue, SQLite")
SPOOL = ("spoolq, Redis", "raw, SQLite")
BOTH = ("spoolq, Redis", "raw, Redis")
LARGE = {"BENCH_BYTES": "500"}


def _ways(place: str) -> tuple[str, ...]:
    return (f"spoolq, {place}", *(f"spoolq with {way}, {place}" for way, *_ in WAYS))


UP = Row(
    "enqueue, Redis up, one caller",
    "one",
    "per_second",
    100,
    (*REDIS[:2], "raw: the same request, Redis", *REDIS[2:]),
    "0.95 of raw",
)
GONE = Row("enqueue, Redis gone, one caller", "one", "per_second", 100, SPOOL, "0.75 of raw; p99 under 1 ms", fault="refused")
CROWD = {"BENCH_THREADS": "16"}
CROWDED = "2.8 of raw, which has one caller; worst under 10 ms"
DRAIN = Row("drain", told("drain"), "per_second", 50_000, BOTH, "90,000/s")
TUNED = "dramatiq, Redis, prefetch 200"
WORK = Row("work, Redis", work, "per_second", 40_000, REDIS, "5 of dramatiq with prefetch", TUNED, ways=True)
WORK_FILE = Row("work, SQLite", work, "per_second", 40_000, FILE, "5 of huey, synced", ways=True)

GOALS = (
    UP,
    GONE,
    Row("enqueue, Redis gone, 16 threads", "one", "per_second", 800, SPOOL, CROWDED, fault="refused", environment=CROWD),
    Row("enqueue_many, 100 a call", "many", "per_second", 4, (*BOTH, "rq, Redis"), "80,000/s", "rq"),
    DRAIN,
    WORK,
    WORK_FILE,
    Row("pick-up, Redis", pick_up, "p50_ms", 200, REDIS, "under 0.9 ms; idle under 10 commands/s, CPU under 1 %", ways=True),
    Row("pick-up, SQLite", pick_up, "p50_ms", 200, FILE, "under 5 ms; idle CPU under 1 %", ways=True),
    Row("import", imports, "ms", 10, REDIS, "under redis-py"),
    Row(
        "memory of a job of 500 bytes, Redis", memory, "bytes_per_job", 100_000, REDIS, "1.3 of raw", once=True, environment=LARGE
    ),
    Row(
        "file of a job of 500 bytes, spool",
        told("spooled"),
        "bytes_per_job",
        100_000,
        REDIS[:1],
        "800",
        once=True,
        environment=LARGE,
    ),
)
MORE = (
    Row("enqueue, write-ahead, one caller", "one", "per_second", 100, SPOOL, environment={"BENCH_ACCEPT": "spool"}),
    *(
        Row(f"a call when Redis is {fault}", outage, "p50_ms", 2000, REDIS, fault=fault, once=True)
        for fault in ("refused", "stopped", "black-holed", "full")
    ),
    Row("enqueue, Redis up, asyncio, 100 in flight", "async", "per_second", 500, (*BOTH, "saq, Redis", "arq, Redis")),
    Row("work, Redis, in other ways", work, "per_second", 20_000, (*_ways("Redis"), "saq, Redis", "arq, Redis"), ways=True),
    Row("work, SQLite, in other ways", work, "per_second", 20_000, _ways("SQLite"), ways=True),
    Row("time to READY", ready, "seconds", 1, ("spoolq, Redis", "spoolq, SQLite", "spoolq drain"), ways=True),
    Row(
        "memory of a job of 500 bytes that runs, Redis",
        in_flight,
        "bytes_per_job",
        10_000,
        REDIS[:1],
        once=True,
        environment=LARGE,
    ),
)


def _at(row: Row, what: str, size: int = 0, **more: object) -> Row:
    """Beside the raw limit alone: it says what grows with depth, queues and workers."""
    name = f"{row.name.removesuffix(', one caller')}, {what}"
    return replace(row, name=name, goal="", size=size or row.size, who=row.who[:2], ways=False, **more)  # type: ignore[arg-type]


def _crowd(row: Row, number: int, what: str) -> Row:
    variable = f"BENCH_{what.upper()}"
    return _at(row, f"{number} {what}", 100 * number, environment={**row.environment, variable: str(number)})


def _queues(row: Row, queues: int) -> Row:
    return _at(row, f"{queues:,} queues", environment={**row.environment, "BENCH_QUEUES": str(queues)})


CROWDS = (4, 16, 64)
PROCESSES = (2, 4, 8)
DEPTHS = (10_000, 1_000_000, 10_000_000)
QUEUES = (10, 100, 1_000)
WORKERS = 1_000

FULL = (
    *(_crowd(UP, threads, "threads") for threads in CROWDS),
    *(_crowd(GONE, threads, "threads") for threads in CROWDS if threads != 16),
    *(_crowd(row, processes, "processes") for row in (UP, GONE) for processes in PROCESSES),
    *(_at(row, f"{depth:,} jobs wait", depth=depth) for row in (UP, WORK, WORK_FILE) for depth in DEPTHS),
    *(_at(DRAIN, f"{size:,} rows", size) for size in DEPTHS),
    *(_queues(row, queues) for row in (UP, WORK) for queues in QUEUES),
    *(_at(row, f"{WORKERS:,} workers", workers=WORKERS) for row in (UP, WORK)),
)
