"""A search through queues that change meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from spoolq import wire
from spoolq.job import Job
from spoolq.store.redis.names import Names
from spoolq.store.redis.waiting import RedisWaitingJobs


@pytest.mark.parametrize(("page", "removed"), [(1000, 200), (21, 10)])
def test_one_that_moves_up_as_others_are_removed_is_found(page: int, removed: int) -> None:
    """As two people cancel many jobs of one queue."""
    queue = [wire.encode(Job(f"j{n:05}", "t", "q", ())) for n in range(3 * page)]
    target = len(queue) - page - 1  # the first of the second page, from the end

    def scripted(name: str, args: Sequence[bytes], fits: object) -> list[object]:
        start, needle = int(args[1]), args[2]
        some = queue[::-1][start : start + page]
        if not start:
            del queue[-removed:]
        return [start + len(some), int(start + len(some) >= len(queue)), [one for one in some if needle in one]]

    jobs = RedisWaitingJobs(lambda *given: iter(()), scripted, print, lambda: ["q"], Names("n"), lambda: 0.0)
    assert jobs.find(f"j{target:05}")
