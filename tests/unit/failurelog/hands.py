"""Failures to write, and a bucket that fails when told to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from spoolq.failurelog.bucket import BucketError, Found
from spoolq.job import Failure

THEN = 1_795_683_600.0  # 2026-11-26T09:00:00Z


def failure(
    id: str = "a", *, run: int = 0, attempts: int = 4, args: tuple[Any, ...] = ("x@example.com",), at: float = THEN
) -> Failure:
    payload = {"class": "send", "queue": "mail", "args": list(args), "id": id} | ({"run": run} if run else {})
    trace = ('File "shop.py", line 9', "ValueError: no address")
    return Failure(
        id,
        "mail",
        "web1:42:mail",
        "ValueError",
        "no address",
        trace,
        at,
        json.dumps(payload, separators=(",", ":")).encode(),
        attempts=attempts,
    )


def lines(folder: Path) -> list[bytes]:
    """All lines of the files there, the oldest first."""
    return [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines()]


class FakeBucket:
    """`fault` raises at every call until it is taken away; `refuses` are keys that it takes never."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.puts: list[str] = []
        self.fault: BucketError | None = None
        self.refuses: set[str] = set()

    def put(self, objects: Sequence[tuple[str, bytes]]) -> list[BucketError | None]:
        return [self._put(key, data) for key, data in objects]

    def _put(self, key: str, data: bytes) -> BucketError | None:
        if self.fault is not None:
            return self.fault
        self.puts.append(key)
        if key in self.refuses:
            return BucketError("not this one", "unreachable")
        self.held.setdefault(key, data)
        return None

    def get(self, key: str) -> bytes:
        return self.held[key]

    def folders(self, below: str) -> list[str]:
        raise AssertionError("nobody should ask for this")

    def objects(self, below: str) -> Iterator[Found]:
        raise AssertionError("nobody should ask for this")
