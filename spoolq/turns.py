"""Whose turn it is: the order in which each claim goes through the queues of a selection. Pure, and without chance.

Weighted queues share by the jobs that were taken, not by the calls: who has had the least for its weight goes first. While a
queue of weight w always has a job, of any N jobs taken from queues whose weights are W together, at least
w/W × (N - q × L) - L are its own: q is how many others there are, L the most that one call takes. What a queue that is empty
leaves goes to the others, and isn't made good to it later.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from spoolq.selection import Selection


class Shares:
    """Who has had the least for its weight. Names without a weight have 1."""

    def __init__(self, weights: Mapping[str, int] | None = None) -> None:
        weights = weights or {}
        self._whole = math.lcm(*weights.values())
        self._weights = weights
        self._had: dict[str, int] = {}

    def order(self, names: Iterable[str]) -> list[str]:
        """These, who has had the least first; those who are equal as they come. A new one is equal to the first."""
        names = list(names)
        least = min((self._had[name] for name in names if name in self._had), default=0)
        self._had = {name: self._had.get(name, least) - least for name in names}
        return sorted(names, key=self._had.__getitem__)

    def took(self, jobs: Mapping[str, int], empty: Collection[str]) -> None:
        """So many jobs were taken from each, and these are empty now: they save up nothing while they are."""
        for name, count in jobs.items():
            self._had[name] += count * (self._whole // self._weights.get(name, 1))
        least = min((had for name, had in self._had.items() if name not in empty), default=None)
        for name in self._had.keys() & set(empty):
            self._had[name] = 0 if least is None else max(self._had[name], least)


class Turns:
    """The turns of one selection, call by call."""

    def __init__(self, selection: Selection) -> None:
        self._runs = [
            (tuple(entry.name for entry in run), None if run[0].weight is None else Shares({e.name: e.weight or 1 for e in run}))
            for run in selection.runs
        ]
        self._within = {entry.name: Shares() for entry in selection.entries if entry.open and entry.weight is not None}
        self._queues: Mapping[str, tuple[str, ...]] = {}

    def order(self, queues: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
        """All queues in the order of the next call, where `queues` are those of each entry (`Selection.expand`)."""
        self._queues = queues
        order: list[str] = []
        for names, shares in self._runs:
            for name in names if shares is None else shares.order(name for name in names if queues[name]):
                within = self._within.get(name)
                order += queues[name] if within is None else within.order(queues[name])
        return tuple(order)

    def took(self, order: Sequence[str], jobs: Mapping[str, int], *, all_of_it: bool) -> None:
        """The call of that order took so many jobs from each queue; `all_of_it`: there were no more.

        Each queue before the last one that gave a job was emptied: the call went on to the next.
        """
        last = len(order) if all_of_it else max((place for place, queue in enumerate(order) if queue in jobs), default=0)
        empty = set(order[:last])
        for names, shares in self._runs:
            if shares is None:
                continue
            members = {name: self._queues[name] for name in names if self._queues[name]}
            for name, queues in members.items():
                if (within := self._within.get(name)) is not None:
                    within.took({queue: jobs[queue] for queue in queues if queue in jobs}, empty & set(queues))
            shares.took(
                {name: sum(jobs.get(queue, 0) for queue in queues) for name, queues in members.items()},
                {name for name, queues in members.items() if empty.issuperset(queues)},
            )
