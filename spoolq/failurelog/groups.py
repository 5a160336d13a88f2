"""Failures that are the same fault, as far as can be told: of one task and one class of error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice

from spoolq.failurelog.choice import task_of
from spoolq.failurelog.moving import walk
from spoolq.job import Failure
from spoolq.store.failures import FailureLog
from spoolq.units import when

NEWEST = 10_000
"""Failures that a look at a log goes through, the newest: it costs the same however long the log is."""


@dataclass
class Group:
    """`first` and `last` are the earliest and the latest time among them (epoch seconds, 0.0: not known); `queues` how many of
    each; `id` and `error` those of the one that was seen first, which is the newest."""

    exception: str
    task: str
    id: str
    error: str
    count: int = 0
    first: float = 0.0
    last: float = 0.0
    queues: dict[str, int] = field(default_factory=dict)

    def add(self, failure: Failure) -> None:
        """One more of them."""
        self.count += 1
        self.queues[failure.queue] = self.queues.get(failure.queue, 0) + 1
        if failure.failed_at > 0:
            self.first = min(self.first or failure.failed_at, failure.failed_at)
            self.last = max(self.last, failure.failed_at)

    def document(self) -> dict[str, object]:
        """For JSON."""
        return {**asdict(self), "first": when(self.first or None), "last": when(self.last or None)}


def groups(failures: Iterable[Failure]) -> list[Group]:
    """These by class of error and task, the group with the most first. Newest first is how they are to come."""
    found: dict[tuple[str, str], Group] = {}
    for failure in failures:
        key = failure.exception, task_of(failure)
        if key not in found:
            found[key] = Group(*key, failure.id, failure.error)
        found[key].add(failure)
    return sorted(found.values(), key=lambda group: (-group.count, -group.last))


def newest(log: FailureLog, most: int = NEWEST) -> Iterator[Failure]:
    """Up to `most` failures of a store's list, newest first."""
    return islice(walk(log), most)
