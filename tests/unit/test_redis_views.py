"""What `INFO memory` says, as the drainer wants to know it."""

from __future__ import annotations

from typing import Any

import pytest

from spoolq.store.redis.views import memory

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
