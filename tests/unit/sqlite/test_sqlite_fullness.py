"""How full a spool is, by whichever bound is nearest; each mark is told once, and again only after it fell well below."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from spoolq.errors import StoreFull
from spoolq.store.sqlite import SQLiteStore
from spoolq.store.sqlite.fullness import MARKS, fullest, passed
from spoolq.store.sqlite.reserve import Reserve
from spoolq.store.sqlite.settings import MIB, Settings
from tests.unit.sqlite.helpers import claim, message, worker

Open = Callable[..., SQLiteStore]
DAY = 86_400.0
GIB = 1 << 30


@pytest.fixture
def settings(path: Path) -> Settings:
    return Settings(str(path), "spool", "", True, 7 * DAY, 100 * MIB, None, 10 * MIB, 2.0, "FULL", time.time)


def test_the_nearest_bound_decides(settings: Settings) -> None:
    by_bytes = fullest(settings, used=19 * MIB, free=GIB, rows=None, age=None)
    assert by_bytes == (pytest.approx(0.2), "spool_max_bytes")
    by_disk = fullest(settings, used=19 * MIB, free=11 * MIB, rows=None, age=None)
    assert by_disk == (pytest.approx(0.95), "spool_min_free")
    by_rows = fullest(replace(settings, max_rows=10), used=MIB, free=GIB, rows=8, age=1.0)
    assert by_rows == (pytest.approx(0.8), "spool_max_rows")
    by_age = fullest(settings, used=MIB, free=GIB, rows=5, age=3 * DAY)
    assert by_age == (pytest.approx(0.5), "horizon")


def test_on_a_disk_below_its_floor_it_is_full(settings: Settings) -> None:
    assert fullest(settings, used=1, free=0, rows=None, age=None) == (1.0, "spool_min_free")


def test_a_queue_has_no_age_bound(settings: Settings) -> None:
    """A job scheduled for next year isn't late, and nothing but a spool's row is in doubt."""
    assert fullest(replace(settings, role="primary"), used=1, free=GIB, rows=None, age=300 * DAY).bound != "horizon"


def test_each_mark_is_told_once_and_again_after_it_fell_well_below() -> None:
    shares = [0.1, 0.5, 0.6, 0.49, 0.5, 0.81, 0.79, 0.81, 0.74, 0.8, 0.96, 0.99, 0.1, 0.97]
    before, told = 0, list[float | None]()
    for share in shares:
        now = passed(share, before)
        told.append(MARKS[now - 1] if now > before else None)
        before = now
    assert told == [None, 0.5, None, None, None, 0.8, None, None, None, 0.8, 0.95, None, None, 0.95]


def test_a_spool_that_fills_says_so_at_each_mark(open_store: Open, caplog: pytest.LogCaptureFixture) -> None:
    spool = open_store(role="spool", max_rows=100)
    for n in range(100):
        spool._limits._marked = float("-inf")  # a second later
        spool.spool([message(str(n))])
    assert [line.split("passed ")[1][:4] for line in caplog.messages if "passed" in line] == ["50 %", "80 %", "95 %"]
    assert "it is 50 % full, by spool_max_rows. At 100 % jobs are refused, none is dropped" in caplog.text
    with pytest.raises(StoreFull, match="drain, or raise the limit"):
        spool.spool([message("more")])
    info = spool.info()
    assert (info.share, info.bound) == (1.0, "spool_max_rows")


def test_all_processes_tell_a_mark_once_and_that_it_was_left(open_store: Open) -> None:
    one, other = open_store(role="spool", max_rows=10), open_store(role="spool", max_rows=10)
    for n in range(9):
        for store in (one, other):
            store._limits._marked = float("-inf")
        (one, other)[n % 2].spool([message(str(n))])
    assert [event.detail["mark"] for event in one.events.page(kinds=["watermark"])] == [0.8, 0.5]
    other.events.sample()
    one.ack(claim(one, 9))
    other.events.sample()
    one.events.sample()
    down, *_ = one.events.page(kinds=["watermark"])
    assert (down.detail["direction"], down.detail["mark"]) == ("down", 0.8)
    assert down.text.startswith("the spool is well below 80 % again")
    assert len(one.events.page(kinds=["watermark"])) == 3


def test_bytes_are_told_too(open_store: Open, caplog: pytest.LogCaptureFixture) -> None:
    spool = open_store(role="spool", max_bytes=4 * MIB)
    with suppress(StoreFull):
        for n in range(4000):
            spool.spool([message(str(n), payload=b"x" * 2000)])
    assert [line.split("passed ")[1][:4] for line in caplog.messages if "passed" in line] == ["50 %", "80 %", "95 %"]


def test_old_rows_are_told_before_they_are_set_aside(open_store: Open, caplog: pytest.LogCaptureFixture) -> None:
    now = [time.time()]
    spool = open_store(role="spool", clock=lambda: now[0])
    spool.spool([message("old")])
    now[0] += 5 * DAY
    spool._limits._marked = float("-inf")  # a second later
    spool.spool([message("new")])
    assert "passed 80 %: it is 83 % full, by horizon. What is in doubt and older is set aside" in caplog.text
    spool.ack(claim(spool, 1))
    assert spool.info().bound != "horizon"


# the reserve


def test_it_is_made_given_up_in_parts_and_made_whole_again(path: Path) -> None:
    reserve = Reserve(str(path), 2 * MIB)
    reserve.look(3 * MIB)  # a disk with so little is left alone
    assert (reserve.held(), reserve.wants) == (None, 0)
    reserve.look(4 * MIB)
    assert (reserve.held(), reserve.wants) == (2 * MIB, 0)
    assert path.with_name("jobs.db-reserve").stat().st_blocks * 512 >= 2 * MIB
    assert reserve.give_up(MIB // 2)
    assert (reserve.held(), reserve.wants) == (1.5 * MIB, 1.5 * MIB)
    assert reserve.give_up()
    assert not reserve.give_up()
    other = Reserve(str(path), 2 * MIB)
    other.look(2 * MIB)
    assert (other.held(), other.wants) == (0, 3 * MIB)
    other.look(3 * MIB)
    assert (other.held(), other.wants) == (2 * MIB, 0)


def test_while_it_is_given_up_puts_are_refused_and_the_rest_goes_on(path: Path, open_store: Open) -> None:
    spool = open_store(role="spool", min_free=0)
    spool.spool([message("1")])
    free = shutil.disk_usage(path.parent).free
    session = spool._writer._transactions._session
    assert session is not None
    session.reserve.size = free * 2  # more than there is: it can't be made whole
    session.reserve.met_full = True
    with pytest.raises(StoreFull, match="for the reserve that was given up to a full disk"):
        spool.spool([message("2")])
    taken = spool.take(worker("d", kind="drainer"), 10, MIB, 0.0)
    spool.handed_over(taken)
    assert len(taken) == 1


def test_it_is_among_the_facts(open_store: Open) -> None:
    spool = open_store(role="spool")
    spool.spool([message("1")])
    assert spool.info().reserve == 8 * MIB
