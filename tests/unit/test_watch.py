"""The watcher over a real spool, and a primary that answers as told. Real servers that lose data are in tests/faults."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from spoolq.errors import StoreUnavailable
from spoolq.job import Job
from spoolq.store.base import Life, WorkerInfo
from spoolq.store.sqlite import SQLiteStore
from spoolq.watch import Watcher
from spoolq.wire import message

DRAINER = WorkerInfo("drainer-1", "host", 1, (), kind="drainer")
LIFE = Life("run", "line", 7)


class Primary:
    """Remembers all ids but those that it has `lost`."""

    def __init__(self) -> None:
        self.now = LIFE
        self.lost: set[str] = set()
        self.says: bool | None = True
        self.asked: list[bool] = []
        self.forgotten: list[str] = []
        self.error: StoreUnavailable | None = None
        self.then: Life | None = None

    def life(self, timeout: float) -> Life:
        if self.error is not None:
            raise self.error
        return self.now

    def persisted(self, *, replica: bool, timeout: float) -> bool | None:
        self.asked.append(replica)
        self.now = self.then or self.now
        return self.says

    def remembers(self, ids: Sequence[str]) -> list[bool]:
        return [id not in self.lost for id in ids]

    def forget(self, ids: Sequence[tuple[str, float]]) -> None:
        self.forgotten += [id for id, _ in ids]


class Rig:
    """A spool at a time of its own, with rows that are kept for 5 seconds."""

    def __init__(self, folder: Path) -> None:
        self.time = 1_700_000_000.0
        self.spool = SQLiteStore(folder / "spool.db", role="spool", min_free=0, timeout=20.0, clock=lambda: self.time)
        self.primary = Primary()

    def keep(self, *ids: str, life: Life = LIFE, given: bool = False) -> None:
        self.spool.spool([message(Job(id, "t", "q", given=given))._replace(keep=5.0) for id in ids])
        self.spool.keep(self.spool.take(DRAINER, 1000, 1 << 20, 1.0), life)

    def turn(self, **options: Any) -> float:
        return Watcher(self.spool, cast(Any, self.primary), **options).turn()

    @property
    def state(self) -> tuple[int, int]:
        """How many wait, and how many are kept."""
        info = self.spool.info()
        return info.rows, info.kept


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.spool.close()


def test_a_row_stays_until_its_time_is_up(rig: Rig) -> None:
    rig.keep("a", "b")
    assert 0.5 <= rig.turn() <= 2.0
    assert (rig.state, rig.primary.asked) == ((0, 2), [])
    rig.time += 6
    rig.turn()
    assert (rig.state, rig.primary.forgotten) == ((0, 0), ["a", "b"])


def test_nobody_is_asked_about_nothing(rig: Rig) -> None:
    rig.primary.error = StoreUnavailable("away", reason="refused")
    rig.turn()


def test_a_row_stays_for_as_long_as_the_primary_has_not_persisted_it(rig: Rig) -> None:
    rig.keep("a")
    rig.time += 1000
    rig.primary.says = False
    rig.turn()
    assert (rig.state, rig.primary.forgotten) == ((0, 1), [])
    rig.primary.says = True
    rig.turn(replica=True)
    assert (rig.state, rig.primary.asked) == ((0, 0), [False, True])


def test_time_alone_decides_where_the_primary_cannot_tell(rig: Rig) -> None:
    rig.keep("a")
    rig.primary.says = None
    rig.turn()
    assert rig.state == (0, 1)
    rig.time += 6
    rig.turn()
    assert rig.state == (0, 0)


@pytest.mark.parametrize("now", [Life("another", "line", 9), Life("run", "another", 9), Life("run", "line", 6)])
def test_another_life_sends_again_what_was_handed_over_before_it(rig: Rig, now: Life) -> None:
    rig.keep("a", "b")
    rig.keep("later", life=now)
    rig.primary.now = now
    rig.turn()
    assert (rig.state, rig.primary.forgotten) == ((2, 1), [])


def test_what_one_life_persisted_says_nothing_of_the_next(rig: Rig) -> None:
    """The primary is restarted between its answer and the look at the ids, which the next life has, but not on its disk yet."""
    rig.keep("a")
    rig.time += 6
    rig.primary.then = Life("another", "line", 9)
    rig.turn()
    assert (rig.state, rig.primary.forgotten) == ((0, 1), [])
    rig.turn()
    assert rig.state == (1, 0)


def test_a_life_that_cannot_be_told_is_always_the_same(rig: Rig) -> None:
    rig.keep("a", life=Life())
    rig.primary.now = Life()
    rig.turn()
    assert rig.state == (0, 1)


def test_what_the_primary_no_longer_knows_is_sent_again_and_the_rest_let_go(rig: Rig) -> None:
    rig.keep(*(f"j{n}" for n in range(700)))
    rig.primary.lost = {"j1", "j600"}
    rig.time += 6
    rig.turn()
    assert rig.state == (2, 0)
    assert len(rig.primary.forgotten) == 698
    assert rig.primary.lost.isdisjoint(rig.primary.forgotten)


def test_a_given_id_stays_remembered_in_the_primary(rig: Rig) -> None:
    rig.keep("mine", given=True)
    rig.time += 6
    rig.turn()
    assert (rig.state, rig.primary.forgotten) == ((0, 0), [])


def test_every_row_stays_while_the_primary_is_away(rig: Rig) -> None:
    rig.keep("a")
    rig.time += 1000
    rig.primary.error = StoreUnavailable("away", reason="refused")
    with pytest.raises(StoreUnavailable):
        rig.turn()
    assert rig.state == (0, 1)
