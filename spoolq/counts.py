"""What one process counts as it goes: a number under a name and its labels, for metrics. Adding one takes no lock.

Each thread adds to a dictionary of its own; who reads adds them up. Names are those of the metrics, and as texts (`encoded`) they
are the names of a store's series:

    spoolq_redis_errors_total<TAB>refused<TAB>put          a count
    spoolq_job_wait_seconds<TAB>mail<TAB>0.5               of a histogram: how many took up to 0.5 s, and over the one before
    spoolq_job_wait_seconds<TAB>mail<TAB>sum               their sum, in microseconds

An increment that a signal handler makes in the middle of another one of its own thread may be lost, and nothing else.
"""

from __future__ import annotations

import threading
import weakref
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Any

ENQUEUE, DURATION, WAIT = "spoolq_enqueue_duration_seconds", "spoolq_job_duration_seconds", "spoolq_job_wait_seconds"
BOUNDS: Mapping[str, tuple[float, ...]] = {
    ENQUEUE: (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
    DURATION: (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0),
    WAIT: (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0, 86400.0),
}
"""Of each histogram the upper bounds of its buckets, in seconds; the last one, without a bound, is `+Inf`."""

OTHER = "_other"
"""In the place of a label's value that is one too many, or that anybody could have made up."""

MOST_VALUES = 100
"""Different values that a label of an open set (queues, tasks) has in one process."""

SEPARATOR, SUM, REST = "\t", "sum", "+Inf"
Key = tuple[str, ...]
Cell = list[Any]
"""What one thread has counted under one name and its labels: of a count the one number, of a histogram how many there are in each
bucket, and their sum in seconds."""


class Counts:
    """The counts of one process, from its beginning, or from its fork on.

    here   each thread's own, for who counts at every job and keeps its cells at hand there: it is gone with a fork
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.here = threading.local()
        self._threads: list[tuple[weakref.ref[_Alive], dict[Key, Cell]]] = []
        self._over: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._lock = threading.Lock()  # of those who read
        self._known: set[str] = {OTHER}

    def add(self, name: str, *labels: str, by: int = 1) -> None:
        """Count `by` more. Labels of open sets are given as `bounded` has them."""
        self.cell((name, *labels))[0] += by

    def observe(self, key: Key, seconds: float) -> None:
        """One more of a histogram: `key` is its name, and its labels."""
        measure(self.cell(key), BOUNDS[key[0]], seconds)

    def cell(self, key: Key) -> Cell:
        """What this thread counts under that key; nobody else adds to it."""
        try:
            found: Cell = self.here.numbers[key]
        except (AttributeError, KeyError):
            bounds = BOUNDS.get(key[0])
            found = self._mine().setdefault(key, [0] if bounds is None else [0] * (len(bounds) + 1) + [0.0])
        return found

    def bounded(self, value: str) -> str:
        """The value of a label, `_other` for one beyond the first hundred of this process."""
        known = self._known
        if value not in known:
            if len(known) >= MOST_VALUES:
                return OTHER
            known.add(value)
        return value

    def totals(self) -> dict[str, int]:
        """All that was counted, by the names of series."""
        with self._lock:
            return self._totals()

    def take(self) -> dict[str, int]:
        """What was counted since the last time, by the names of series; it counts as told."""
        with self._lock:
            totals, told = self._totals(), self._told
            self._told = totals
            return {name: new for name, n in totals.items() if (new := n - told.get(name, 0))}

    def give_back(self, taken: Mapping[str, int]) -> None:
        """These could not be told: the next `take` has them again."""
        with self._lock:
            self._told = {name: n - taken.get(name, 0) for name, n in self._told.items()}

    def after_fork(self) -> None:
        """In a forked child: what its parent has counted is the parent's to tell."""
        self._begin()

    def _mine(self) -> dict[Key, Cell]:
        try:
            numbers: dict[Key, Cell] = self.here.numbers
        except AttributeError:
            numbers = self.here.numbers = {}
            self.here.alive = alive = _Alive()
            self._threads.append((weakref.ref(alive), numbers))
        return numbers

    def _totals(self) -> dict[str, int]:
        threads = self._threads
        for one in [one for one in threads if one[0]() is None]:  # it has ended, and adds nothing more
            threads.remove(one)
            _sum_up(self._over, one[1])
        totals = dict(self._over)
        for _, numbers in list(threads):
            _sum_up(totals, numbers.copy())  # in one step: its thread goes on
        return totals


class _Alive:
    """Lives as long as the thread that made it."""


def measure(cell: Cell, bounds: tuple[float, ...], seconds: float) -> None:
    """One more in the cell of a histogram with these bounds."""
    cell[bisect_left(bounds, seconds)] += 1
    cell[-1] += seconds


def _sum_up(totals: dict[str, int], numbers: Mapping[Key, Cell]) -> None:
    for key, cell in numbers.items():
        for name, n in _series(key, cell):
            if n:
                totals[name] = totals.get(name, 0) + n


def _series(key: Key, cell: Cell) -> Iterator[tuple[str, int]]:
    front = encoded(*key)
    if key[0] not in BOUNDS:
        yield front, cell[0]
        return
    for bound, n in zip((*map(str, BOUNDS[key[0]]), REST), cell, strict=False):
        yield front + SEPARATOR + bound, n
    yield front + SEPARATOR + SUM, round(cell[-1] * 1e6)


def encoded(*key: str) -> str:
    """The name of a series."""
    return SEPARATOR.join(part if part.isprintable() else ascii(part)[1:-1] for part in key)
