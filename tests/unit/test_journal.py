"""A worker's journal: written when there is something to write, struck out afterwards, and never in the way."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from spoolq.errors import ConfigError, StoreFull
from spoolq.job import Claim, Failure, Message
from spoolq.journal import LEASE, Journal, Owed, owed, settlement
from spoolq.outcome import DISCARDED, PROCESSED, Failed, Outcome, RetryLater
from spoolq.store.effects import Effects
from spoolq.store.journal import Settlement
from spoolq.store.sqlite import SQLiteStore
from tests.clock import Clock
from tests.unit.hands import file, warnings

Call = tuple[list[str], list[str], float]


class Book:
    """As much of a spool's settlements as a worker's journal uses: notes what it is to keep; `error` is raised instead."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.error: Exception | None = None

    def keep(self, holder: str, settlements: Sequence[Settlement], told: Collection[str], lease: float) -> None:
        assert holder == "w"
        self.calls.append(([one.claim.token for one in settlements], sorted(told), lease))
        if self.error is not None:
            raise self.error

    def last(self) -> Call | None:
        """The one call since the last look, None for no call."""
        calls, self.calls = self.calls, []
        assert len(calls) < 2
        return calls[0] if calls else None


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def journal(book: Book, clock: Clock) -> Journal:
    return Journal(book, "w", clock)  # type: ignore[arg-type]


def done(*tokens: str) -> list[Owed]:
    return [Owed(Claim(token, "w", "q", b"payload"), PROCESSED) for token in tokens]


def failed(payload: bytes = b'{"class":"t","args":[1],"id":"j"}') -> Failed:
    return Failed(Failure("j", "q", "h:1:q", "ValueError", "no luck", ("a", "b"), 1_700_000_000.5, payload, attempts=3))


EFFECTS = Effects(
    put=(Message("i", "q", b"\x00\xff", 1.5, given=True), Message("f", "q", b"{}", front=True)),
    acquire=(("lock", "me", 3.5),),
    release=(("other", "me \udcff"),),
    values=(("result", b"\x00\xff", 60.0), ("empty", b"", 1.0)),
    counters=(("done", 2),),
)


@pytest.mark.parametrize(
    "outcome",
    [
        PROCESSED,
        DISCARDED,
        None,
        RetryLater(b"\x00\xff", 1_700_000_000.25, "it raised"),
        failed(),
        replace(PROCESSED, effects=EFFECTS),
        RetryLater(b"\x00\xff", 1_700_000_000.25, "it raised", EFFECTS),
        replace(failed(), effects=EFFECTS),
    ],
    ids=lambda outcome: f"{type(outcome).__name__}{'+effects' if getattr(outcome, 'effects', None) else ''}",
)
def test_an_outcome_is_read_as_it_was_written(outcome: Outcome | None) -> None:
    claim = Claim("t", "w", "q", b"a payload that no verb needs")
    assert owed(settlement(Owed(claim, outcome))._replace(claim=claim)) == Owed(claim, outcome)


@pytest.mark.parametrize("payload", [b"\xff\xfe", b"not JSON", b'{"class":"t","args":[1.0]}', b"{}"])
def test_the_entry_in_the_failure_log_is_the_same_by_this_detour(payload: bytes) -> None:
    kept = settlement(Owed(Claim("t", "w", "q", b""), failed(payload)))
    assert settlement(owed(kept)) == kept


def test_an_effect_of_a_newer_spoolq_is_refused() -> None:
    with pytest.raises(ValueError, match="the effect 'wonder' isn't known"):
        owed(Settlement(Claim("t", "w", "q", b""), "ack", effects=b'{"wonder":[["a"]]}'))


def test_a_verb_of_a_newer_spoolq_is_refused() -> None:
    with pytest.raises(ValueError, match="'ponder' isn't known"):
        owed(Settlement(Claim("t", "w", "q", b""), "ponder"))  # type: ignore[arg-type]


def test_nothing_to_write_is_no_call(journal: Journal, book: Book) -> None:
    journal.keep([], {"a", "b"})
    journal.keep([], set(), last=True)
    assert (book.last(), journal.count) == (None, 0)


def test_what_is_new_is_written_what_was_told_struck_out_and_the_rest_held(journal: Journal, book: Book, clock: Clock) -> None:
    journal.keep(done("a", "b"), {"a", "b"})
    assert (book.last(), journal.count) == ((["a", "b"], [], LEASE), 2)
    journal.keep(done("a", "b"), {"a", "b"})
    assert book.last() is None
    journal.keep(done("a", "b", "c"), {"a", "b", "c", "not yet"})
    assert book.last() == (["c"], [], LEASE)
    journal.keep([], {"c"})
    assert (book.last(), journal.count) == (([], ["a", "b"], LEASE), 1)
    clock.now += LEASE / 2
    journal.keep([], {"c"})
    assert book.last() == ([], [], LEASE)
    journal.keep([], set())
    assert (book.last(), journal.count) == (([], ["c"], LEASE), 0)


def test_at_the_end_it_is_anybody_s(journal: Journal, book: Book) -> None:
    journal.keep(done("a"), {"a"})
    book.last()
    journal.keep(done("a", "b"), {"a", "b"}, last=True)
    assert (book.last(), journal.count) == ((["b"], [], 0.0), 2)


@pytest.mark.parametrize("error", [StoreFull("full"), ConfigError("another destination"), RuntimeError("a mistake")])
def test_a_spool_that_refuses_is_told_once_and_asked_again_later(
    journal: Journal, book: Book, clock: Clock, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    book.error = error
    journal.keep(done("a"), {"a"})
    assert (book.last(), journal.count) == ((["a"], [], LEASE), 0)
    journal.keep(done("a"), {"a"})
    assert book.last() is None, "not at every turn"
    clock.now += 11
    journal.keep(done("a"), {"a"})
    assert book.last() is not None
    assert len(warnings(caplog)) == (2 if isinstance(error, RuntimeError) else 1)
    book.error = None
    journal.keep(done("a"), {"a"}, last=True)
    assert (book.last(), journal.count) == ((["a"], [], 0.0), 1)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[SQLiteStore]:
    store = file(tmp_path / "spool.db", role="spool")
    yield store
    store.close()


def kept(spool: SQLiteStore) -> dict[str, Settlement]:
    return {one.claim.token: one for one in spool.settlements.take("reader", 100, 0.0)}


def test_a_reason_that_is_no_utf_8_keeps_nothing_out(spool: SQLiteStore, clock: Clock) -> None:
    journal = Journal(spool.settlements, "w", clock)
    again = Owed(Claim("r", "w", "q", b"{}"), RetryLater(b"{}", 1.0, "no file \udcff"))
    journal.keep([*done("a", "b"), again], {"a", "b", "r"}, last=True)
    assert journal.count == 3
    assert kept(spool)["r"].word == "no file \\udcff"


def test_what_can_not_be_written_for_its_own_sake_keeps_nothing_else_out(
    spool: SQLiteStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(spool.settlements, "w", clock)
    journal.keep(done("told"), {"told"})
    bad = Owed(Claim("bad", "w", "q\udcff", b"{}"), PROCESSED)
    owed = [*done("a", "b"), bad, *done("c")]
    tokens = {one.claim.token for one in owed}
    journal.keep(owed, tokens)
    assert journal.count == 3
    journal.keep([*owed, *done("d")], tokens | {"d"})
    assert len([line for line in warnings(caplog) if "an error of our own" in line]) == 1, "not at every turn"
    journal.keep([*owed, *done("d")], tokens | {"d"}, last=True)
    assert sorted(kept(spool)) == ["a", "b", "c", "d"]
