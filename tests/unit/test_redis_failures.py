"""How much of the log one reply brings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from spoolq.errors import StoreUnavailable
from spoolq.store.redis.failures import BYTES, FIRST, PAGE, RedisFailures
from spoolq.store.redis.names import Names
from spoolq.store.redis.store import RedisStore
from tests.servers import Server


class Log:
    """A `failed` list of entries so large, read at most `most` bytes a call: more is a time-out."""

    def __init__(self, *sizes: int, most: int = 1 << 40, reason: str = "timeout") -> None:
        self.entries = [
            json.dumps({"payload": {"class": "t", "id": str(n), "args": ["x" * size]}}).encode() for n, size in enumerate(sizes)
        ]
        self.most, self.reason = most, reason
        self.replies: list[int] = []
        self.tried = 0

    def call(self, verb: bytes, _key: bytes, first: bytes, last: bytes) -> Any:
        assert verb == b"LRANGE"
        self.tried += 1
        found = self.entries[max(0, len(self.entries) + int(first)) : max(0, len(self.entries) + int(last) + 1)]
        if sum(map(len, found)) > self.most:
            raise StoreUnavailable("too slow", reason=self.reason)
        self.replies.append(len(found))
        return found

    def open(self) -> RedisFailures:
        return RedisFailures(self.call, lambda *_: 0, Names("resque"))


def test_pages_of_small_entries_grow_to_the_most() -> None:
    log = Log(*[10] * 1000)
    assert len(log.open().entries()) == 1000
    assert log.replies[:3] == [FIRST, 2 * FIRST, 4 * FIRST]
    assert max(log.replies) == PAGE


@pytest.mark.parametrize("size", [100_000, 1_000_000])
def test_pages_of_large_entries_are_bounded_by_bytes(size: int) -> None:
    log = Log(*[size] * 60)
    failures = log.open()
    assert [failure.id for failure in failures.page(0, 60)] == [str(n) for n in range(60)][::-1]
    assert max(log.replies[1:]) * size <= BYTES
    assert log.replies[0] == FIRST


def test_what_is_too_slow_is_asked_for_in_smaller_parts() -> None:
    log = Log(*[10] * 400, *[1000] * 5, *[10] * 400, most=3000)
    assert len(log.open().entries()) == 805
    assert log.tried > len(log.replies)


def test_one_that_is_too_slow_alone_is_a_time_out() -> None:
    log = Log(10, 5000, 10, most=3000)
    with pytest.raises(StoreUnavailable, match="too slow"):
        log.open().entries()
    assert log.tried <= 10


def test_another_fault_is_not_tried_again() -> None:
    log = Log(10, 5000, 10, most=3000, reason="refused")
    with pytest.raises(StoreUnavailable, match="too slow"):
        log.open().entries()
    assert log.tried == 1


def test_one_is_removed_wherever_it_has_moved_to(server: Server) -> None:
    """Others come, go, and are equal to it."""
    with server.client() as control:
        store = RedisStore(server.url, deadline=20.0, timeout=20.0)
        entries = [json.dumps({"payload": {"class": "t", "id": str(n)}, "queue": "q"}).encode() for n in range(100)]
        control.rpush("resque:failed", *entries)
        failures = store.failures
        seen = [(-60, entries[40]), (-30, entries[70])]
        control.rpush("resque:failed", *[b"later"] * 5)  # near
        assert failures._delete(seen) == 2
        seen = [(-60, entries[41]), (-2, b"nobody"), (-61, entries[39])]
        control.rpush("resque:failed", *[b"later"] * 50)  # far
        assert failures._delete(seen) == 2
        assert failures._delete([(7, entries[6]), (20, entries[3])], oldest=True) == 2
        assert failures._delete([(-1, b"later")] * 3) == 3
        left = control.lrange("resque:failed", 0, -1)
        assert [entry for entry in left if entry != b"later"] == [
            entry for n, entry in enumerate(entries) if n not in (40, 70, 41, 39, 6, 3)
        ]
        assert len(left) == 94 + 52
        store.close()


def test_several_who_retire_at_once_leave_the_newest(server: Server) -> None:
    with server.client() as control:
        store, other = RedisStore(server.url, deadline=20.0, timeout=20.0), RedisStore(server.url, deadline=20.0, timeout=20.0)
        control.rpush("resque:failed", *[json.dumps({"payload": {"class": "t", "id": str(n)}}) for n in range(30)])
        failures = store.failures
        ask, run = failures._command, failures._scripted

        def asked(*args: Any) -> Any:
            answer = ask(*args)
            other.failures.retire(keep=20)
            return answer

        def ran(name: str, args: Sequence[bytes]) -> Any:
            other.failures.retire(keep=20)
            return run(name, args)

        failures._command, failures._scripted = asked, ran
        assert failures.retire(keep=20) == 0
        assert other.failures.count() == 20
        store.close()
        other.close()
