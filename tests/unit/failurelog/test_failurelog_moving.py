"""Failures back into queues and lists."""

from __future__ import annotations

from dataclasses import replace

from spoolq.errors import PayloadError
from spoolq.failurelog import entry
from spoolq.failurelog.moving import Moved, put_back
from spoolq.job import Message
from tests.unit.failurelog.hands import failure


def test_one_that_the_store_can_not_carry_holds_up_no_other() -> None:
    stored: list[str] = []

    def put(messages: list[Message]) -> list[bool]:
        if any("\n" in message.queue for message in messages):
            raise PayloadError("a queue has no line feed")
        stored.extend(message.queue for message in messages)
        return [True] * len(messages)

    failures = [replace(failure(f"j{n}"), queue=queue) for n, queue in enumerate(["a", "b\nc", "d", "e"])]
    moved = put_back((entry.read(entry.written(one)) for one in failures), put, lambda id: -1)
    assert moved == Moved(done=3, bad=1)
    assert stored == ["a", "d", "e"]
