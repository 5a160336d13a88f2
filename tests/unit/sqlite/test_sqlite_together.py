"""New rows of callers that share a commit go into the table by one statement, and nobody can tell."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from spoolq.errors import GuardHeld, StoreFull
from spoolq.job import Message
from spoolq.store.effects import NONE, Effects
from spoolq.store.sqlite import SQLiteStore
from spoolq.store.sqlite.settings import MIB
from tests.unit.sqlite.helpers import claim, message
from tests.unit.sqlite.test_sqlite_writer import Hang, in_one_commit
from tests.waiting import eventually

Open = Callable[..., SQLiteStore]


def one(id: str) -> Message:
    """One that is told by its payload."""
    return message(id, payload=id.encode())


def ids(store: SQLiteStore) -> list[str]:
    """Of those that wait, in their order."""
    return [claimed.payload.decode() for claimed in claim(store, 1, 100)]


def in_this_order(store: SQLiteStore, *calls: Callable[[], object]) -> list[object]:
    """As `in_one_commit`, handed over one after the other."""
    results: list[object] = [None] * len(calls)

    def run(n: int) -> None:
        try:
            results[n] = calls[n]()
        except Exception as error:
            results[n] = error

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(calls))]
    with Hang(store):
        for n, thread in enumerate(threads, 1):
            thread.start()
            eventually(lambda n=n: store._writer._queue.qsize() == n)  # type: ignore[misc]
    for thread in threads:
        thread.join(40)
    return results


def inserts(store: SQLiteStore) -> list[str]:
    """Statements that put rows, from now on."""
    seen: list[str] = []
    session = store._writer._transactions._session
    assert session is not None
    session._connection.set_trace_callback(lambda sql: seen.append(sql) if "INSERT INTO jobs" in sql else None)
    return seen


@pytest.mark.parametrize("verb", ["put", "spool"])
def test_sixteen_callers_rows_are_one_statement(store: SQLiteStore, verb: str) -> None:
    put = getattr(store, verb)
    put([one("0")])
    seen = inserts(store)
    assert in_one_commit(store, 16, lambda n: put([one(f"x{n}")])) == [[True]] * 16
    assert len(seen) == 1
    assert sorted(ids(store)) == sorted(["0", *(f"x{n}" for n in range(16))])


def test_more_than_a_statement_takes(store: SQLiteStore) -> None:
    store.put([one("0")])
    seen = inserts(store)
    assert in_one_commit(store, 70, lambda n: store.put([one(f"x{n}")])) == [[True]] * 70
    assert len(seen) == 3
    assert len(set(ids(store))) == 71


def test_they_lie_in_the_order_in_which_they_came(store: SQLiteStore) -> None:
    """Those that go by a statement of their own among them: an id that was given, two by one call."""
    store.put([one("0")])
    given = one("c")._replace(given=True)
    calls = ([one("a")], [one("b")], [given], [one("d"), one("e")], [one("f")])
    assert in_this_order(store, *(lambda put=put: store.put(put) for put in calls)) == [[True]] * 3 + [[True, True], [True]]
    assert ids(store) == ["0", "a", "b", "c", "d", "e", "f"]


def test_of_two_with_one_id_the_first_is_new_and_the_others_are_not_disturbed(store: SQLiteStore) -> None:
    store.put([one("0")])
    put = [lambda id=id: store.put([one(id)]) for id in ("a", "same", "b", "same", "c")]
    assert in_this_order(store, *put) == [[True], [True], [True], [False], [True]]
    assert ids(store) == ["0", "a", "same", "b", "c"]
    assert store.counts() == {"q": {"put": 5}}


@pytest.mark.parametrize("how", ["waits", "ran"])
def test_one_that_was_there_before_is_not_new(spool: SQLiteStore, how: str) -> None:
    spool.spool([one("old")])
    if how == "ran":
        spool.ack(claim(spool, 1))
    results = in_one_commit(spool, 4, lambda n: spool.spool([one("old" if n == 2 else f"x{n}")]))
    assert results == [[True], [True], [False], [True]]
    assert spool.waiting() == (4 if how == "waits" else 3)
    assert spool.counts()["q"]["put"] == 4


def test_what_looks_in_the_same_commit_finds_what_came_before_it(spool: SQLiteStore) -> None:
    """A row that a recall overlooked would not be in doubt, and its job might go to Redis beside it."""
    spool.spool([one("0")])
    found = in_this_order(spool, lambda: spool.spool([one("x")]), lambda: spool.recall(["x"]), lambda: spool.recall(["y"]))
    assert found == [[True], ["waiting"], [None]]
    assert ids(spool) == ["0"]  # a local worker takes none that is in doubt


def test_a_refused_neighbour_takes_nobodys_row_along(store: SQLiteStore) -> None:
    """It undoes its own part of the transaction, which the rows before it are no part of."""
    store.put([one("0")], Effects(acquire=(("k", "me", 60.0),)))
    other = Effects(acquire=(("k", "other", 60.0),))
    put = [lambda id=id: store.put([one(id)], other if id == "no" else NONE) for id in ("a", "no", "b")]
    results = in_this_order(store, *put)
    assert isinstance(results.pop(1), GuardHeld)
    assert results == [[True], [True]]
    assert ids(store) == ["0", "a", "b"]


def test_the_bound_is_kept_though_the_rows_are_in_no_page_yet(open_store: Open) -> None:
    """The file could hold them all: what is above 7 MiB of it is not for puts."""
    store = open_store(max_bytes=8 * MIB, min_free=0)
    store.put([one("0")])
    results = in_one_commit(store, 20, lambda n: store.put([message(f"x{n}", payload=bytes(375_000))]))
    stored, refused = results.count([True]), sum(isinstance(result, StoreFull) for result in results)
    assert stored + refused == 20
    assert 5 * MIB < stored * 375_000 < 7 * MIB
    assert store.waiting() == stored + 1


def test_a_bound_of_rows_is_kept(open_store: Open) -> None:
    store = open_store(max_rows=10)
    store.put([one("0")])
    results = in_one_commit(store, 16, lambda n: store.put([one(f"x{n}")]))
    assert results.count([True]) == 9
    assert store.waiting() == 10
