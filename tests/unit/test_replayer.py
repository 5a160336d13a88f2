"""What ended workers wrote down is told by its own verb, fenced by its token; what can't be told stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from spoolq.errors import StoreUnavailable
from spoolq.job import Claim
from spoolq.journal import LEASE, Owed, settlement
from spoolq.outcome import PROCESSED, Outcome, RetryLater
from spoolq.replayer import Replayer
from spoolq.store.journal import Settlement
from spoolq.store.sqlite import SQLiteStore
from tests.clock import Clock
from tests.unit.hands import Flaky, claim, failed, file, held, info, jobs, left, warnings


class Rig:
    """A primary, and a spool at a time of its own, with what the worker `w` wrote down."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.primary = Flaky(file(folder / "primary.db"))
        self.spool: SQLiteStore = file(folder / "spool.db", role="spool", clock=self.clock)
        self.answers = True
        self.replayer = self.another()

    def another(self) -> Replayer:
        return Replayer(
            self.spool.settlements,
            self.primary,  # type: ignore[arg-type]
            info("later"),
            answers=lambda: self.answers,
            clock=self.clock,
        )

    def write(self, *owed: tuple[Claim, Outcome | None], lease: float = 0.0) -> None:
        self.spool.settlements.keep("w", [settlement(Owed(*one)) for one in owed], (), lease)

    @property
    def written(self) -> int:
        return self.spool.info().settlements

    def close(self) -> None:
        self.primary.store.close()
        self.spool.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def test_each_verb_is_told_and_struck_out(rig: Rig) -> None:
    a, b, c, d, e = claim(rig.primary, 5)
    rig.primary.put(jobs(6)[5:])
    rig.write((a, PROCESSED), (d, None), (b, RetryLater(b.payload, 0.0, "it raised")), (c, failed(c)), (e, None))
    assert rig.replayer.turn() == 1.0
    assert (rig.written, held(rig.primary.store)) == (0, 0)
    assert left(rig.primary.store) == ["j0001", "j0003", "j0004", "j0005"], "what was put back is where it was"
    assert [failure.id for failure in rig.primary.failures.page()] == ["j0002"]
    counts = {"processed": 1, "processed:host:4242": 1, "retried": 1, "failed": 1, "failed:host:4242": 1}
    assert dict(rig.primary.counters()) == counts


def test_while_the_primary_is_away_nothing_is_taken(rig: Rig) -> None:
    (a,) = claim(rig.primary, 1)
    rig.write((a, PROCESSED))
    rig.answers = False
    assert rig.replayer.turn() < 1.0
    assert len(rig.spool.settlements.take("x", 10, 1.0)) == 1


def test_an_outage_in_between_leaves_the_rest_to_anybody(rig: Rig) -> None:
    a, b, c = claim(rig.primary, 3)
    rig.write((a, PROCESSED), (b, RetryLater(b.payload, 0.0, "it raised")), (c, PROCESSED))
    rig.primary.inject("refused", "retry")
    with pytest.raises(StoreUnavailable):
        rig.replayer.turn()
    assert rig.written == 2
    rig.another().turn()
    assert (rig.written, held(rig.primary.store)) == (0, 0)


def test_a_lost_answer_is_no_second_settling(rig: Rig) -> None:
    (a,) = claim(rig.primary, 1)
    rig.write((a, RetryLater(a.payload, 0.0, "it raised")))
    rig.primary.inject("lost", "retry")
    with pytest.raises(StoreUnavailable):
        rig.replayer.turn()
    rig.replayer.turn()
    assert (rig.written, left(rig.primary.store)) == (0, ["j0000"])


def test_what_somebody_took_over_is_dropped_with_one_line(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    (a,) = claim(rig.primary, 1)
    rig.primary.release([a])
    rig.write((a, PROCESSED))
    rig.replayer.turn()
    assert (rig.written, left(rig.primary.store)) == (0, ["j0000"])
    assert len(warnings(caplog)) == 1


def test_what_is_refused_for_its_own_sake_stays_and_holds_up_nothing(rig: Rig) -> None:
    a, b = claim(rig.primary, 2)
    rig.write((a, failed(a)), (b, PROCESSED))
    rig.primary.inject("own", "fail")
    rig.replayer.turn()
    assert rig.written == 1
    rig.replayer.turn()
    assert rig.primary.calls["fail"] == 1, "not before its time"
    rig.clock.now += 31
    rig.replayer.turn()
    assert (rig.written, rig.primary.failures.count()) == (0, 1)


def test_what_a_newer_spoolq_wrote_stays(rig: Rig) -> None:
    (a,) = claim(rig.primary, 1)
    rig.spool.settlements.keep("newer", [Settlement(a, cast(Any, "ponder"))], (), 0.0)
    rig.replayer.turn()
    assert (rig.written, held(rig.primary.store)) == (1, 1)


def test_who_comes_waits_for_what_somebody_held_who_may_be_dead(rig: Rig) -> None:
    (a,) = claim(rig.primary, 1)
    rig.write((a, PROCESSED), lease=LEASE)
    rig.replayer.turn()
    assert (rig.replayer.waits, rig.written) == (True, 1)
    rig.clock.now += LEASE + 0.1
    assert not rig.replayer.waits
    rig.replayer.turn()
    assert rig.written == 0
    rig.write((a, PROCESSED), lease=LEASE)
    rig.replayer.turn()
    assert not rig.replayer.waits, "from then on they all live, or their leases tell"


def test_with_nothing_written_down_nobody_waits(rig: Rig) -> None:
    rig.replayer.turn()
    assert not rig.replayer.waits
