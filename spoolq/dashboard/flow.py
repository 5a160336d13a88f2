"""What came and went over time, out of the samples that the stores keep."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from spoolq.store.tally import ALL, Sample, Span


class Stretch(NamedTuple):
    """A time to look back over: in words, whose samples, in steps of so many seconds, and how many of these."""

    words: str
    span: Span
    step: int
    steps: int

    @property
    def seconds(self) -> int:
        """How long it is."""
        return self.step * self.steps


STRETCHES = {
    "1h": Stretch("hour", "minute", 60, 60),
    "1d": Stretch("day", "minute", 1800, 48),
    "30d": Stretch("30 days", "hour", 86_400, 30),
}


def flow(samples: Sequence[Sample], words: Iterable[str], stretch: Stretch, now: float, queue: str = ALL) -> dict[int, int]:
    """How many jobs (of one queue, where its own numbers are in the samples: the busiest) went the ways of these words in each
    step of the stretch, by the time at which the step begins. A step
    without a sample is left out; what came between two samples belongs to the step of the later one, and where the store has
    lost its count nothing is told of that step."""
    words, first = tuple(words), begin(now - stretch.seconds + stretch.step, stretch.step)
    found: dict[int, int] = {}
    for before, after in itertools.pairwise(one for one in samples if queue in one.rows):
        step = begin(after.at, stretch.step)
        if first <= step <= now:
            more = _total(after, words, queue) - _total(before, words, queue)
            found[step] = found.get(step, 0) + max(0, more)
    return found


def together(now: float, stretch: Stretch, *flows: dict[int, int]) -> list[tuple[int, ...]]:
    """Rows of a chart: the time of each step, and of each flow the number, 0 where it has none; from the first step that any of
    them has."""
    known = [step for one in flows for step in one]
    if not known:
        return []
    steps = range(min(known), begin(now, stretch.step) + 1, stretch.step)
    return [(step, *(one.get(step, 0) for one in flows)) for step in steps]


def add(one: dict[int, int], other: dict[int, int]) -> dict[int, int]:
    """Both."""
    return {step: one.get(step, 0) + other.get(step, 0) for step in {**one, **other}}


def begin(at: float, step: int) -> int:
    """When the step in which that time lies began."""
    return math.floor(at / step) * step


def _total(sample: Sample, words: tuple[str, ...], queue: str) -> int:
    row = sample.rows.get(queue, {})
    return sum(row.get(word, 0) for word in words)
