"""What `INFO memory` says, as the drainer wants to know it."""

from __future__ import annotations

from typing import Any

import pytest

from spoolq import wire
from spoolq.job import Job
from spoolq.store.redis.views import depth, memory

INFO = b"# Memory\r\nused_memory:1000\r\nused_memory_human:1K\r\nmaxmemory:4000\r\nmem_not_counted_for_evict:100\r\n"


def test_used_and_limit_as_redis_counts_them_before_it_refuses() -> None:
    assert memory(INFO) == (900, 4000)


def test_a_client_that_was_handed_in_has_parsed_it() -> None:
    assert memory({"used_memory": 1000, "maxmemory": 4000}) == (1000, 4000)


@pytest.mark.parametrize(
    "info", [b"", b"used_memory:1\r\nmaxmemory:0\r\n", b"maxmemory:5\r\n", b"used_memory:x\r\nmaxmemory:5", {}]
)
def test_no_limit_or_no_sense_is_no_limit(info: Any) -> None:
    assert memory(info) == (None, None)


def oldest(payload: bytes) -> float | None:
    """As depths.lua answers of such a head."""
    return depth((b"q", 1, payload[-512:], b"0", b"0"), 100.0).oldest


@pytest.mark.parametrize("size", [1, 300, 400, 450, 500, 600, 5000])
def test_the_age_of_a_job_is_read_from_its_end(size: int) -> None:
    job = Job("a", "t", "q", ("é" * size,), {"enqueued_at": 1.0}, enqueued_at=40.0, expires_at=500.0, extra={"x": [{}]})
    assert oldest(wire.encode(job)) == 60.0


@pytest.mark.parametrize(
    "end",
    [
        b'[{"a":1,"enqueued_at":40.0}]}',
        b'{"a":1,"enqueued_at":40.0}}',
        b'"enqueued_at"}',
        b'"\\",\\"enqueued_at\\":40.0}"}',
        b'1,"enqueued_at":"40"}',
        b'1,"enqueued_at":40.0',
    ],
)
def test_an_age_that_is_not_the_jobs_own_is_none(end: bytes) -> None:
    assert oldest(b'{"class":"t","pad":"' + b"x" * 600 + b'","args":' + end) is None
    assert oldest(b'{"class":"t","args":' + end) is None
