"""What SQLite's machine has to do for a job, in steps: the same behind 100 rows and behind 20,000."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Literal

import pytest

from spoolq.job import Claim, Handoff
from spoolq.store.sqlite import SQLiteStore, driver
from tests.contract.backends import DISK
from tests.contract.hands import Hand, failure, messages, worker
from tests.steps import Steps

FEW, MANY = 100, 20_000
MOST = {  # steps; 1.2 times what was counted on SQLite 3.40, other versions differ a little
    "put": 285,
    "claim": 160 * 20,
    "heartbeat": 180,
    "ack": 100 * 10,
    "ack and claim": 160 * 20 + 100 * 5,
    "retry": 160,
    "fail": 160,
    "release": 135 * 3,
    "promote": 130,
    "spool": 340,
    "take": 133 * 50,
    "handed over": 60 * 50,
}


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    counted = Steps(1)
    counted.watch(monkeypatch)
    return counted


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Callable[..., SQLiteStore]]:
    """A new file with so many jobs in it, opened again: `filled(jobs, role="spool")`."""
    with ExitStack() as opened:

        def make(jobs: int, role: Literal["primary", "spool"] = "primary") -> SQLiteStore:
            path = tmp_path / f"{role}-{jobs}.db"
            with closing(SQLiteStore(path, role=role, timeout=DISK, min_free=0)) as store:
                for start in range(0, jobs, 1000):
                    (store.spool if role == "spool" else store.put)(messages(*ids("deep", start, min(start + 1000, jobs))))
            return opened.enter_context(closing(SQLiteStore(path, role=role, timeout=DISK, min_free=0)))

        yield make


def ids(name: str, start: int, end: int) -> list[str]:
    return [f"{name}-{n}" for n in range(start, end)]


def of_a_queue(store: SQLiteStore, steps: Steps) -> dict[str, int]:
    hand, got = Hand(store), list[Claim]()
    hand.claim(1)
    store.put(messages("warm"))  # the first of each statement opens the file and looks at the clock
    return {
        "put": steps.taken(lambda: store.put(messages("new"))),
        "claim": steps.taken(lambda: got.extend(hand.claim(20))),
        "heartbeat": steps.taken(lambda: store.heartbeat(hand.info)),
        "ack": steps.taken(lambda: store.ack(got[:10])),
        "ack and claim": steps.taken(lambda: hand.claim(20, ack=got[10:15])),
        "retry": steps.taken(lambda: store.retry(got[15], got[15].payload, 0.0)),
        "fail": steps.taken(lambda: store.fail(got[16], failure(got[16]))),
        "release": steps.taken(lambda: store.release(got[17:20])),
        "promote": steps.taken(lambda: store.promote(100)),
    }


def of_a_spool(spool: SQLiteStore, steps: Steps) -> dict[str, int]:
    drainer, got = worker("d", kind="drainer"), list[Handoff]()

    def take(limit: int) -> None:
        got[:] = spool.take(drainer, limit, 1 << 20, spool.now() + 60)

    take(1)
    return {
        "spool": steps.taken(lambda: spool.spool(messages("new"))),
        "take": steps.taken(lambda: take(50)),
        "handed over": steps.taken(lambda: spool.handed_over(got)),
    }


def test_a_step_of_a_jobs_way_costs_the_same_behind_many_rows(filled: Callable[..., SQLiteStore], steps: Steps) -> None:
    few = of_a_queue(filled(FEW), steps) | of_a_spool(filled(FEW, "spool"), steps)
    many = of_a_queue(filled(MANY), steps) | of_a_spool(filled(MANY, "spool"), steps)
    assert few.keys() == MOST.keys()
    for what, most in MOST.items():
        assert 0 < many[what] <= min(most, 1.1 * few[what] + 20), (what, few[what], many[what])


def test_without_its_index_a_claim_is_seen_to_cost_more(filled: Callable[..., SQLiteStore], steps: Steps) -> None:
    """The control: the same jobs are found, by going through all of them."""
    store = filled(MANY)
    store.close()
    with closing(driver.connect(store.path, DISK)) as connection:
        connection.execute("DROP INDEX jobs_ready")
    with closing(SQLiteStore(store.path, timeout=DISK, min_free=0)) as blind:
        assert of_a_queue(blind, steps)["claim"] > 10 * MOST["claim"]
