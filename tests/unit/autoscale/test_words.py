"""An operator's word: what it may be, and how it gets from store to store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from spoolq.autoscale.sample import Bounds
from spoolq.autoscale.words import EVERY_POOL, Ear, Word, heard, named, parse, say
from spoolq.errors import ConfigError, StoreUnavailable
from spoolq.store.base import Store
from tests.unit.hands import file

HERE, THERE = "web1/default", "web2/default"


class Away:
    """A store that doesn't answer."""

    def meta(self, key: str) -> str | None:
        raise StoreUnavailable("refused", reason="refused")


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[Store]:
    with closing(file(tmp_path / "primary.db")) as store:
        yield store


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Store]:
    with closing(file(tmp_path / "spool.db")) as store:
        yield store


@pytest.mark.parametrize(("text", "bounds"), [("4", (4, 4)), ("2:8", (2, 8)), ("1000", (1000, 1000)), ("auto", None)])
def test_what_may_be_said(text: str, bounds: tuple[int, int] | None) -> None:
    found = parse(text)
    assert (found and found[:2]) == bounds
    assert str(Word(found, 1.0)) == text


@pytest.mark.parametrize("text", ["", "two", "3:1", "-1", "1:", ":4", "1:2:3", "1001", "1.5", "Auto", "0:4"])
def test_what_may_not(text: str) -> None:
    with pytest.raises(ConfigError, match="MIN:MAX or auto is needed"):
        parse(text)


@pytest.mark.parametrize("text", ["0", "0:0"])
def test_a_pool_of_none_is_refused_with_what_to_do_instead(text: str) -> None:
    with pytest.raises(ConfigError, match="queues pause --all"):
        parse(text)


@pytest.mark.parametrize("name", ["", "a/b", "*", "a b", "x" * 65, "a\n", "a,b", 5, None])
def test_names_that_could_not_be_told_apart_are_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match="name="):
        named(name)


def test_nothing_was_said(primary: Store) -> None:
    assert heard(primary, [HERE, EVERY_POOL]) is None
    assert Ear(HERE, [lambda: primary]).listen() is None


def test_the_newest_counts_be_it_for_one_or_for_all(primary: Store) -> None:
    here, there = Ear(HERE, [lambda: primary]), Ear(THERE, [lambda: primary])
    say([primary], EVERY_POOL, parse("2"), 100.0)
    assert [str(ear.listen()) for ear in (here, there)] == ["2", "2"]
    say([primary], HERE, parse("3:5"), 200.0)
    assert [str(ear.listen()) for ear in (here, there)] == ["3:5", "2"]
    say([primary], EVERY_POOL, None, 300.0)
    assert [str(ear.listen()) for ear in (here, there)] == ["auto", "auto"]


def test_a_later_word_is_the_newer_one_also_by_a_clock_that_is_behind(primary: Store) -> None:
    say([primary], HERE, parse("2"), 1000.0)
    assert say([primary], HERE, parse("5"), 10.0).at > 1000.0
    assert str(Ear(HERE, [lambda: primary]).listen()) == "5"


def test_what_one_store_knows_is_carried_to_the_other(primary: Store, spool: Store) -> None:
    say([primary], EVERY_POOL, parse("2"), 100.0)
    ear = Ear(HERE, [lambda: primary, lambda: spool])
    ear.listen()
    assert heard(spool, [EVERY_POOL]) == Word(parse("2"), 100.0)
    say([spool], HERE, parse("7"), 200.0)  # while the primary was away
    assert str(ear.listen()) == "7"
    assert heard(primary, [HERE]) == Word(parse("7"), 200.0)
    assert str(Ear(HERE, [lambda: primary]).listen()) == "7"


def test_with_the_primary_away_the_spool_is_heard_and_what_was_heard_holds(spool: Store) -> None:
    say([spool], HERE, parse("2"), 100.0)
    away: Any = Away()
    assert str(Ear(HERE, [lambda: away, lambda: spool]).listen()) == "2"

    def must_not_be_asked() -> Store:
        raise AssertionError

    assert str(Ear(HERE, [must_not_be_asked, lambda: spool]).listen(without_first=True)) == "2"
    stores: list[Any] = [spool]
    ear = Ear(HERE, [lambda: stores[0], lambda: None])
    assert str(ear.listen()) == "2"
    stores[0] = away
    assert str(ear.listen()) == "2"


@pytest.mark.parametrize(
    "text", ["", "{}", "null", "7", '{"scale": "3:1", "at": 5}', '{"scale": "2", "at": "soon"}', '{"scale": "2", "at": 1e999}']
)
def test_what_cant_be_read_is_no_word_and_is_replaced_by_the_next(primary: Store, text: str) -> None:
    primary.set_meta(f"pool-scale:{HERE}", text)
    assert Ear(HERE, [lambda: primary]).listen() is None
    say([primary], HERE, parse("2"), 100.0)
    assert str(Ear(HERE, [lambda: primary]).listen()) == "2"


def test_it_is_kept_as_it_was_said(primary: Store) -> None:
    say([primary], HERE, Bounds(2, 8), 100.25)
    assert json.loads(primary.meta(f"pool-scale:{HERE}") or "") == {"scale": "2:8", "at": 100.25}
