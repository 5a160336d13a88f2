"""What each host's drainer tells of its spool, as any other host finds it in the primary."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spoolq.breaker import Breaker
from spoolq.hosts import HostSpool, Publisher, decoded, published
from spoolq.store.base import Spool, Store
from spoolq.store.sqlite import SQLiteStore
from spoolq.version import VERSION
from tests.clock import Clock
from tests.contract.hands import message
from tests.waiting import eventually


@pytest.fixture
def spools(tmp_path: Path) -> Iterator[Callable[[str], Spool]]:
    opened: list[SQLiteStore] = []

    def one(name: str) -> Spool:
        opened.append(SQLiteStore(tmp_path / f"{name}.db", role="spool", timeout=20.0))
        return opened[-1]

    yield one
    for spool in opened:
        spool.close()


def publisher(spool: Spool, store: Store, host: str, **options: object) -> Publisher:
    progress = options.pop("progress", lambda: (0, None))
    return Publisher(spool, store, Breaker(), progress, host=host, name="main", **options)  # type: ignore[arg-type]


def test_every_hosts_spool_is_seen_from_any(
    store: Store, open_store: Callable[[], Store], spools: Callable[[str], Spool]
) -> None:
    for n, host in enumerate(("web1", "web2", "wörker 3")):
        spool = spools(host)
        spool.spool([message(f"{host}-{each}") for each in range(n)], not_after=1.0)
        publisher(spool, store, host).turn()
    found = published(open_store())
    assert [(one.host, one.rows, one.in_doubt, one.version) for one in found] == [
        ("web1", 0, 0, VERSION),
        ("web2", 1, 1, VERSION),
        ("wörker 3", 2, 2, VERSION),
    ]
    assert all(one.silent(store.now()) < 30 for one in found)
    assert {one.away_since for one in found} == {None}


def test_who_reads_it_sees_that_there_are_more_than_were_counted(
    store: Store, spools: Callable[[str], Spool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoolq.hosts.MANY", 2)
    spool = spools("web1")
    spool.spool([message(str(each)) for each in range(5)])
    publisher(spool, store, "web1").turn()
    assert [one.rows for one in published(store)] == [3], "as the pages show it: one more than MANY is a `+`"


def test_one_that_has_nothing_to_lose_is_forgotten_soon_and_one_that_has_is_not(
    store: Store, spools: Callable[[str], Spool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoolq.hosts.QUIET", 0.001)
    full = spools("full")
    full.spool([message("a")])
    publisher(full, store, "full").turn()
    publisher(spools("empty"), store, "empty").turn()
    publisher(spools("other"), store, "other").turn()
    assert eventually(lambda: [one.host for one in published(store)] == ["full"])
    assert published(store)[0].silent(store.now() + 240) >= 240


def test_how_fast_it_drains_is_measured_between_two_words(store: Store, spools: Callable[[str], Spool]) -> None:
    clock, moved = Clock(10.0), [0]
    one = publisher(spools("a"), store, "a", clock=clock, progress=lambda: (moved[0], None))
    one.turn()
    assert published(store)[0].rate == 0.0
    clock.later(5)
    moved[0] = 100
    one.turn()
    assert published(store)[0].rate == pytest.approx(20.0)
    clock.later(5)
    one.turn()
    assert published(store)[0].rate == 0.0


def test_two_spools_of_a_host_are_two(store: Store, spools: Callable[[str], Spool]) -> None:
    for name in ("a", "b"):
        Publisher(spools(name), store, Breaker(), lambda: (0, "it is full"), host="h", name=name).turn()
    assert [Path(one.path).stem for one in published(store)] == ["a", "b"]
    assert {one.error for one in published(store)} == {"it is full"}


def test_what_cannot_be_read_is_left_out(store: Store, spools: Callable[[str], Spool]) -> None:
    from spoolq.store.effects import Effects

    publisher(spools("a"), store, "a").turn()
    store.put([], Effects(values=(("spool:a/main", b"[]", 60.0),)))
    assert published(store) == []
    store.set_meta("spools", "{")
    assert published(store) == []
    publisher(spools("b"), store, "b").turn()
    assert [one.host for one in published(store)] == ["b"]
    assert decoded(b'{"host": 1}') is None


@pytest.mark.parametrize("value", [b"[" * 100_000 + b"]" * 100_000, b"NaN", b"1e999", b"-Infinity", b"1" + b"0" * 400])
def test_a_word_that_would_break_who_shows_it_is_left_out(store: Store, spools: Callable[[str], Spool], value: bytes) -> None:
    """Whoever can write to Redis can write that, and then every host's dashboard, status and readiness would fail."""
    from spoolq.store.effects import Effects

    publisher(spools("a"), store, "a").turn()
    [state] = published(store)
    text = state.encoded().replace(b'"share": ' + repr(state.share).encode(), b'"share": ' + value)
    store.put([], Effects(values=(("spool:a/main", text, 60.0),)))
    assert value in text
    assert published(store) == []
    store.set_meta("spools", value.decode())
    assert published(store) == []


def test_a_later_versions_word_is_understood() -> None:
    state = HostSpool("h", "/s", "9.9", 1.0, 0, 0, 0, 1, 2, 0.5, None, None, "", "", False, 0.0)
    assert decoded(state.encoded()) == state
    assert decoded(state.encoded()[:-1] + b', "more": [1]}') == state


def test_an_earlier_versions_word_is_understood() -> None:
    state = HostSpool("h", "/s", "0.1", 1.0, 0, 0, 0, 1, 2, 0.5, None, None, "", "", False, 0.0)
    words = {name: value for name, value in json.loads(state.encoded()).items() if name not in ("disk_free", "queues")}
    assert decoded(json.dumps(words).encode()) == state


def test_the_deepest_queues_and_the_free_disk_are_told(store: Store, spools: Callable[[str], Spool]) -> None:
    spool = spools("a")
    spool.spool([message(f"{queue}{n}", f"q{queue}") for queue in range(7) for n in range(queue)])
    publisher(spool, store, "a").turn()
    [state] = published(store)
    assert state.queues == {"q6": 6, "q5": 5, "q4": 4, "q3": 3, "q2": 2}
    assert state.disk_free is not None
    assert state.disk_free > 1 << 20


@pytest.mark.parametrize("queues", ["[1]", '{"q": "1"}', '{"q": 1e999}', '{"q": {}}', "null"])
def test_queues_that_are_none_make_no_word(queues: str) -> None:
    text = HostSpool("h", "/s", "9.9", 1.0, 0, 0, 0, 1, 2, 0.5, None, None, "", "", False, 0.0).encoded()
    assert decoded(text) is not None
    assert decoded(text.replace(b'"queues": {}', f'"queues": {queues}'.encode())) is None


def test_a_spool_whose_journal_is_broken_is_told_of(store: Store, spools: Callable[[str], Spool]) -> None:
    spool = spools("web1")
    spool.spool([message("a")])
    assert isinstance(spool, SQLiteStore)
    with sqlite3.connect(spool.path) as file:
        file.execute("DROP TABLE outages")
    publisher(spool, store, "web1").turn()
    assert [one.rows for one in published(store)] == [1]
