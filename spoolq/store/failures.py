"""The failures that a store keeps. The docstrings are the specification."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from spoolq.job import Failure


class FailureLog(Protocol):
    """The failures that a store keeps, newest first. In Redis this is Resque's `failed` list."""

    def count(self, most: int | None = None) -> int:
        """How many there are. With `most`, one who would have to count them counts up to that only."""

    def page(self, start: int = 0, limit: int = 100) -> list[Failure]:
        """Up to `limit` failures, newest first, the first `start` of them left out. An entry that can't be read is shown as
        such, never an error."""

    def get(self, id: str, *, newest: int | None = None) -> Failure | None:
        """The newest failure of this job id; where a log must be gone through, only among so many of its newest (None: all)."""

    def entries(self, ids: Collection[str] | None = None) -> dict[str, int]:
        """How many entries there are of each of these job ids (None: of each id that there is), the newest id first. Ids that
        aren't there are left out."""

    def retry(self, ids: Collection[str]) -> int:
        """Put these jobs back into their queues as new launches (`run` + 1, attempt 0) and out of the log, each in one
        atomic step.

        A job goes back once, from its newest entry that can be read; older entries of it only go out of the log. Those of the
        same id with another task or other arguments stay in it. Of entries without an id each is a job. Returns how many jobs
        were put back. Ids that aren't there are passed over, and so are payloads that can't be read.
        """

    def remove(self, ids: Collection[str], *, runs: Mapping[str, int] | None = None) -> int:
        """Delete all entries of these job ids, with `runs` only those of the id's launches up to that one: a later launch may
        have failed meanwhile. Returns how many there were."""

    def scan(self, after: Any = None, limit: int = 100) -> tuple[list[Failure], Any]:
        """A page of up to `limit` failures, newest first, and what the next page begins `after`, None at the end. A page costs
        the same however long the log is. Of what is added or removed meanwhile, some may be seen twice or passed over."""

    def add(self, failures: Sequence[Failure]) -> None:
        """Put these into the log, as its newest: all or nothing. Ids that are there get another entry. Raises `StoreFull`."""

    def prune(self, before: float) -> int:
        """Delete what failed before that time; entries whose time can't be read stay. Returns how many."""

    def retire(self, *, before: float = 0.0, keep: int | None = None, limit: int = 500) -> int:
        """Delete up to `limit` of the oldest failures: those that failed before that time, and those beyond the newest `keep`.
        Returns how many.

        The cost is that of what it deletes, however long the log is: only the oldest are looked at, so that one which a stock
        worker with a slow clock wrote behind newer ones may stay a while longer than `prune` would let it.
        """
