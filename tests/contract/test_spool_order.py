"""A spool that keeps order: who may take what. Two real files' worth of rules; processes are in tests/faults/test_order.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from spoolq.store.base import Spool
from spoolq.store.sqlite import SQLiteStore
from tests.contract.hands import Hand, ids, messages, worker
from tests.contract.test_spool import names, soon, take

ONE, OTHER = worker("one", kind="drainer"), worker("other", kind="drainer")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., SQLiteStore]]:
    """Open the file once more."""
    with ExitStack() as stores:

        def one(ordered: bool = True) -> SQLiteStore:
            return stores.enter_context(
                closing(SQLiteStore(tmp_path / "spool.db", role="spool", min_free=0, ordered=ordered, timeout=20.0))
            )

        yield one


@pytest.fixture
def spool(opened: Callable[..., SQLiteStore]) -> Spool:
    return opened()


@pytest.fixture
def local(spool: Spool) -> Hand:
    return Hand(spool, "local", queues=("q", "r"))


def test_a_drainer_takes_several_rows_of_a_queue_and_another_none_until_they_are_settled(spool: Spool) -> None:
    spool.spool(messages("a", "b", "c"))
    spool.spool(messages("x", queue="r"))
    first = take(spool, 2, who=ONE)
    assert names(first) == ["a", "b"]
    assert names(take(spool, who=OTHER)) == ["x"], "another queue is free"
    spool.handed_over(first)
    assert names(take(spool, who=OTHER)) == ["c"]


def test_rows_between_those_taken_are_left_alone(spool: Spool) -> None:
    spool.spool(messages("a"))
    blocked = take(spool, who=ONE)
    spool.spool([*messages("x", queue="r"), *messages("b"), *messages("y", queue="r")])
    assert names(take(spool, who=OTHER)) == ["x", "y"]
    spool.give_back(blocked, applied="no")
    assert names(take(spool, who=ONE)) == ["a", "b"]


def test_a_local_worker_gets_one_row_of_each_queue_at_a_time(spool: Spool, local: Hand) -> None:
    spool.spool([*messages("a", "b"), *messages("x", "y", queue="r")])
    claims = local.claim()
    assert ids(claims) == ["a", "x"]
    assert Hand(spool, "another", queues=("q", "r")).claim() == ()
    assert ids(local.claim(ack=claims)) == ["b", "y"]


def test_a_local_worker_takes_nothing_behind_a_row_in_doubt(spool: Spool, local: Hand) -> None:
    spool.spool(messages("a"))
    spool.spool(messages("doubtful"), not_after=soon())
    spool.spool(messages("b"))
    claims = local.claim()
    assert ids(claims) == ["a"]
    assert local.claim(ack=claims) == ()
    spool.handed_over(take(spool, 1))
    assert ids(local.claim()) == ["b"]


def test_a_local_worker_and_a_drainer_keep_out_of_each_others_queue(spool: Spool, local: Hand) -> None:
    spool.spool(messages("a", "b"))
    claims = local.claim()
    assert take(spool) == []
    spool.ack(claims)
    handoffs = take(spool)
    assert names(handoffs) == ["b"]
    spool.spool(messages("c"))
    assert local.claim() == ()


def test_the_wait_of_a_local_worker_ends_when_its_turn_comes(spool: Spool, local: Hand) -> None:
    spool.spool(messages("a", "b"))
    claims = local.claim()
    assert not spool.wait(local.info, ["q"], 0.05), "a row that nobody may take is nothing to wake for"
    spool.ack(claims)
    assert spool.wait(local.info, ["q"], 0.05)


def test_whether_a_queue_has_rows_is_told_whatever_their_state(spool: Spool, local: Hand) -> None:
    assert not spool.holds(["q", "r"])
    spool.spool(messages("a"))
    assert spool.holds(["r", "q"])
    assert not spool.holds(["r"])
    claims = local.claim()
    assert spool.holds(["q"])
    spool.ack(claims)
    assert not spool.holds(["q"])
    spool.spool(messages("d"), not_after=soon())
    assert spool.holds(["q"])
    [handoff] = take(spool)
    spool.quarantine(handoff, "bad")
    assert not spool.holds(["q"]), "quarantine leaves the order"


def test_the_file_tells_those_that_are_not_set_to_it(spool: Spool, opened: Callable[..., SQLiteStore]) -> None:
    spool.spool(messages("a", "b"))
    relaxed = opened(ordered=False)
    take(relaxed, 1, who=ONE)
    assert take(relaxed, who=OTHER) == []


def test_an_empty_file_is_relaxed_again_for_those_that_are(spool: Spool, opened: Callable[..., SQLiteStore]) -> None:
    spool.spool(messages("a"))
    spool.handed_over(take(spool))
    relaxed = opened(ordered=False)
    relaxed.spool(messages("b", "c"))
    take(relaxed, 1, who=ONE)
    assert names(take(relaxed, who=OTHER)) == ["c"]
