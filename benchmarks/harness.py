"""Timing side by side: blocks of calls, interleaved, because one machine's speed changes from second to second."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

Call = Callable[[], object]


@dataclass
class Row:
    """One line of the table. `ratio` is ours over the raw one's, the median of interleaved pairs."""

    name: str
    ours: float
    unit: str
    raw: float | None = None
    raw_name: str = ""
    ratio: float | None = None
    more: dict[str, float] = field(default_factory=dict)


CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []  # before anything is pinned
PINNED = len(CORES) > 1


def pin(core: int, pid: int = 0) -> None:
    """Keep a process (0: this one) on one of the cores that we were given. Without two of them nothing is pinned."""
    if PINNED:
        os.sched_setaffinity(pid, {CORES[core]})


def block(call: Call, times: int) -> float:
    """Seconds for so many calls."""
    began = time.perf_counter()
    for _ in range(times):
        call()
    return time.perf_counter() - began


def side_by_side(name: str, ours: Call, raw: Call, raw_name: str, *, calls: int = 100, blocks: int = 60) -> Row:
    """Both in turn, a block each; rates per second by the median block, and the median ratio of neighbours."""
    block(ours, calls)
    block(raw, calls)
    pairs = [(block(ours, calls), block(raw, calls)) for _ in range(blocks)]
    return Row(
        name,
        calls / statistics.median(ours_s for ours_s, _ in pairs),
        "calls/s",
        calls / statistics.median(raw_s for _, raw_s in pairs),
        raw_name,
        statistics.median(raw_s / ours_s for ours_s, raw_s in pairs),
    )


def percentiles(call: Call, times: int) -> dict[str, float]:
    """p50, p99 and worst of single calls, in milliseconds."""
    took = sorted(block(call, 1) * 1000 for _ in range(times))
    return {"p50_ms": took[times // 2], "p99_ms": took[times * 99 // 100], "worst_ms": took[-1]}


def table(rows: Iterable[Row]) -> str:
    """The rows as aligned text."""
    lines = [f"{'what':<44}{'spoolq':>14}  {'beside it':>14}  {'ratio':>6}  of what"]
    for row in rows:
        raw = f"{row.raw:>14,.0f}" if row.raw is not None else f"{'':>14}"
        ratio = f"{row.ratio:>6.2f}" if row.ratio is not None else f"{'':>6}"
        more = "".join(f"  {key}={value:.3g}" for key, value in row.more.items())
        lines.append(f"{row.name:<44}{row.ours:>14,.0f}  {raw}  {ratio}  {row.unit}, {row.raw_name}{more}")
    return "\n".join(lines)
