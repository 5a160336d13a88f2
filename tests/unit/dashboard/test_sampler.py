"""One looks for all: how often, who waits for it, and who doesn't."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from spoolq.dashboard import sampler
from spoolq.dashboard.sampler import Sampler
from spoolq.facts import Facts, Side
from tests.clock import Clock
from tests.waiting import eventually


class Looks:
    """Counts looks; `gate` holds them up, `error` has them fail."""

    def __init__(self) -> None:
        self.count = 0
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    def __call__(self) -> Facts:
        self.count += 1
        self.gate.wait(60.0)
        if self.error is not None:
            raise self.error
        return Facts(Side("sqlite", "x", "up"), None, at=float(self.count))


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Looks]:
    monkeypatch.setattr(sampler, "WATCHED", 0.2)
    looks = Looks()
    yield looks
    looks.gate.set()


def test_a_hundred_pages_cost_one_look(looks: Looks) -> None:
    one = Sampler(looks, every=5.0, wait=40.0, clock=Clock())  # no time passes, however late the last of them comes
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(one.latest())) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40.0)
    assert {sample.number for sample in found} == {1}
    assert looks.count == 1


def test_a_page_waits_no_longer_than_it_may(looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "FIRST_WAIT", 0.05)
    looks.gate.clear()
    one = Sampler(looks, every=5.0, wait=0.05)
    assert one.latest() is None
    looks.gate.set()
    assert eventually(one.latest).number == 1  # type: ignore[union-attr]


def test_after_a_change_a_page_sees_what_was_looked_at_later(looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "FRESH", 3600.0)  # for nothing else is there another look
    one = Sampler(looks, every=60.0, wait=40.0)
    assert one.latest().facts.at == 1.0  # type: ignore[union-attr]
    assert one.latest().facts.at == 1.0  # type: ignore[union-attr]
    one.forget()
    assert one.latest().facts.at == 2.0  # type: ignore[union-attr]


def test_a_page_isnt_shown_what_was_seen_long_ago(looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    one = Sampler(looks, every=60.0, wait=40.0, clock=clock)
    assert one.latest().number == 1  # type: ignore[union-attr]
    clock.later(sampler.FRESH / 2)
    assert one.latest().number == 1  # type: ignore[union-attr]
    clock.later(sampler.FRESH)
    assert one.latest().number == 2  # type: ignore[union-attr]


def test_a_look_that_fails_leaves_the_last_one_and_goes_on(looks: Looks, caplog: pytest.LogCaptureFixture) -> None:
    one = Sampler(looks, every=0.01, wait=0.05)
    assert eventually(one.latest) is not None
    looks.error = OSError("disk")
    before = looks.count
    eventually(lambda: one.latest() and looks.count > before + 2)
    assert one.latest() is not None
    assert "could not be looked at" in caplog.text
    looks.error = None
    number = one.latest().number  # type: ignore[union-attr]
    eventually(lambda: one.latest().number > number)  # type: ignore[union-attr]


def test_without_anybody_it_stops_and_it_begins_again(looks: Looks) -> None:
    one = Sampler(looks, every=0.01, wait=40.0)
    assert one.latest() is not None
    eventually(lambda: one._thread is None, what="the end of the thread")
    seen = looks.count
    eventually(lambda: one.latest().number > seen)  # type: ignore[union-attr]


def test_streams_share_it_and_a_slow_one_holds_up_nobody(looks: Looks) -> None:
    one = Sampler(looks, every=0.02)

    async def scene() -> tuple[list[int], list[int]]:
        quick: list[int] = []
        slow: list[int] = []

        async def follow(into: list[int], misses: int, enough: int) -> None:
            async for sample in one.samples(0.0):
                into.append(sample.number)
                await asyncio.sleep(0.0)
                if len(into) >= enough:
                    return
                while misses and looks.count <= sample.number + misses:
                    await asyncio.sleep(0.01)

        await asyncio.wait_for(asyncio.gather(follow(quick, 0, 20), follow(slow, 3, 3)), 60.0)
        return quick, slow

    quick, slow = asyncio.run(scene())
    assert quick == sorted(set(quick))
    assert slow == sorted(set(slow))
    assert slow[-1] - slow[0] > 2  # it missed some, and got the newest
    assert one.streams == 0


def test_a_stream_gets_no_more_than_it_asked_for(looks: Looks) -> None:
    one = Sampler(looks, every=0.01)

    async def scene() -> float:
        began = time.monotonic()
        count = 0
        async for _ in one.samples(0.3):
            count += 1
            if count == 3:
                return time.monotonic() - began
        return 0.0

    assert asyncio.run(asyncio.wait_for(scene(), 30.0)) >= 0.6


def test_streams_keep_it_awake(looks: Looks) -> None:
    one = Sampler(looks, every=0.05)

    async def scene() -> int:
        last = 0
        async for sample in one.samples(0.0):
            last = sample.number
            if last >= 12:  # beyond the time for which a page keeps it awake
                return last
        return last

    assert asyncio.run(asyncio.wait_for(scene(), 30.0)) >= 12
