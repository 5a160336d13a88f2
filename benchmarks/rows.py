"""What is measured: the rows of the goals, and what `full` adds to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.measures import Measure, idle, imports, memory, pick_up, start, told, work


@dataclass(frozen=True)
class Row:
    """One line of the goals. `figure` is what its measure gives that counts, `size` how much is done in a round; a quick run does
    a quarter of it.

    `measure` is "one" or "many" for calls, which all contenders make in turn. `who` are the packages or names of those that take
    part, in this order; `environment` is spoolq's and the raw limit's. Before it is measured `depth` jobs wait, and `workers` are
    known.
    """

    name: str
    measure: Measure | Literal["one", "many"]
    figure: str
    size: int
    who: tuple[str, ...]
    goal: str = ""
    gone: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    depth: int = 0
    workers: int = 0

    def contenders(self, words: tuple[str, ...], also: Sequence[Path] = ()) -> list[Contender]:
        """Those that take part, of them the ones that are of one of the packages `words` (none: all), spoolq also as it is in the
        checkouts `also`. Of a library that has several ways to run its worker, callers have the first."""
        found = [
            one for who in self.who for one in CONTENDERS if one.name.startswith(who) and (not words or one.package in words)
        ]
        if self.measure not in (work, pick_up):
            first = {(one.package, one.on): one for one in reversed(found)}
            found = [one for one in found if first[one.package, one.on] is one]
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
LARGE = {"BENCH_BYTES": "500"}

GOALS = (
    Row("enqueue, Redis up, one caller", "one", "per_second", 100, REDIS, "0.95 of raw"),
    Row("enqueue, Redis gone, one caller", "one", "per_second", 100, SPOOL, "0.75 of raw; p99 under 1 ms", gone=True),
    Row(
        "enqueue, Redis gone, 16 threads",
        "one",
        "per_second",
        1600,
        SPOOL,
        "2.8 of raw, which has one caller; worst under 10 ms",
        gone=True,
        environment={"BENCH_THREADS": "16"},
    ),
    Row("enqueue, write-ahead, one caller", "one", "per_second", 100, SPOOL, environment={"BENCH_ACCEPT": "spool"}),
    Row(
        "enqueue_many, 100 a call",
        "many",
        "per_second",
        4,
        ("spoolq, Redis", "raw, Redis", "rq, Redis"),
        "80,000/s",
    ),
    Row("drain", told("drain"), "per_second", 20_000, ("spoolq, Redis", "raw, Redis"), "90,000/s"),
    Row("work, Redis", work, "per_second", 20_000, REDIS, "5 of dramatiq with prefetch"),
    Row("work, SQLite", work, "per_second", 20_000, FILE, "5 of huey, synced"),
    Row("pick-up, Redis", pick_up, "p50_ms", 200, REDIS, "under 0.9 ms"),
    Row("pick-up, SQLite", pick_up, "p50_ms", 200, FILE, "under 5 ms"),
    Row("idle worker, commands", idle, "commands_per_second", 8, REDIS[:1] + REDIS[2:], "under 10/s; CPU under 1 %"),
    Row("start of a worker to its 100th job", start, "seconds", 1, REDIS[:1] + REDIS[2:]),
    Row("import", imports, "ms", 1, REDIS, "under redis-py"),
    Row("memory of a job of 500 bytes, Redis", memory, "bytes_per_job", 100_000, REDIS[:2], "1.3 of raw", environment=LARGE),
    Row("file of a job of 500 bytes, spool", told("spooled"), "bytes_per_job", 100_000, REDIS[:1], "800", environment=LARGE),
)
UP, GONE, WORK, WORK_FILE = GOALS[0], GOALS[1], GOALS[6], GOALS[7]


def _at(row: Row, what: str, size: int = 0, **more: object) -> Row:
    """Beside the raw limit alone: it says what grows with depth, queues and workers."""
    name = f"{row.name.removesuffix(', one caller')}, {what}"
    return replace(row, name=name, goal="", size=size or row.size, who=row.who[:2], **more)  # type: ignore[arg-type]


def _threads(row: Row, threads: int) -> Row:
    return _at(row, f"{threads} threads", 100 * threads, environment={**row.environment, "BENCH_THREADS": str(threads)})


def _queues(row: Row, queues: int) -> Row:
    return _at(row, f"{queues:,} queues", environment={**row.environment, "BENCH_QUEUES": str(queues)})


FULL = (
    *(_threads(row, threads) for row, crowds in ((UP, (4, 16, 64)), (GONE, (4, 64))) for threads in crowds),
    *(
        _at(row, f"{depth:,} jobs wait", depth=depth)
        for row in (UP, WORK, WORK_FILE)
        for depth in (10_000, 1_000_000, 10_000_000)
    ),
    *(_at(GOALS[5], f"{size:,} rows", size) for size in (10_000, 1_000_000, 10_000_000)),
    *(_queues(row, queues) for row in (UP, WORK) for queues in (10, 100, 1_000)),
    *(_at(row, "1,000 workers", workers=1_000) for row in (UP, WORK)),
)
