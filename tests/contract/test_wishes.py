"""An operator's word to one worker reaches it through any store, is obeyed once, and that is told."""

from __future__ import annotations

import pytest

from spoolq import wishes
from spoolq.errors import StoreUnavailable
from spoolq.store.base import Store
from spoolq.wishes import Listener, Word


def test_a_word_is_obeyed_once_and_that_is_told(store: Store) -> None:
    heard: list[Word] = []
    listener = Listener("w1", [store], heard.append)
    assert listener.turn() == wishes.EVERY
    wishes.say(store, "w1", "quiet", 10.0)
    wishes.say(store, "w2", "stop", 10.0)
    assert wishes.said(store, ["w1", "w2", "w3"]) == {"w1": ("quiet", 10.0, False), "w2": ("stop", 10.0, False)}
    listener.turn()
    listener.turn()
    assert heard == ["quiet"]
    assert wishes.said(store, ["w1"]) == {"w1": ("quiet", 10.0, True)}


def test_the_last_word_counts_and_is_not_yet_obeyed(store: Store) -> None:
    heard: list[Word] = []
    listener = Listener("w1", [store], heard.append)
    wishes.say(store, "w1", "quiet", 10.0)
    listener.turn()
    wishes.say(store, "w1", "resume", 11.0)
    assert wishes.said(store, ["w1"])["w1"] == ("resume", 11.0, False)
    listener.turn()
    assert heard == ["quiet", "resume"]


def test_that_it_was_obeyed_is_told_later_where_the_store_has_no_time_for_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*args: object, **more: object) -> None:
        raise StoreUnavailable("timeout", reason="timeout")

    heard: list[Word] = []
    listener = Listener("w1", [store], heard.append)
    wishes.say(store, "w1", "quiet", 10.0)
    with monkeypatch.context() as slow:
        slow.setattr(store, "put", away)
        listener.turn()
        listener.turn()
    assert wishes.said(store, ["w1"]) == {"w1": ("quiet", 10.0, False)}
    listener.turn()
    assert heard == ["quiet"]
    assert wishes.said(store, ["w1"]) == {"w1": ("quiet", 10.0, True)}


def test_nonsense_is_no_word(store: Store) -> None:
    from spoolq.store.effects import Effects

    heard: list[Word] = []
    deep, huge = b"[" * 100_000 + b"]" * 100_000, b"1" + b"0" * 400
    for text in (b"", b"null", b'{"word":"dance","at":1}', b'{"word":"stop"}', b"[]", deep, b'{"word":"stop","at":%b}' % huge):
        store.put((), Effects(values=(("wish:w1", text, 60.0),)))
        Listener("w1", [store], heard.append).turn()
        assert wishes.said(store, ["w1"]) == {}
    assert heard == []
    assert wishes.said(store, []) == {}


def test_a_store_that_is_away_keeps_no_word_of_another_from_being_heard(store: Store) -> None:
    class Away:
        def values(self, *args: object, **more: object) -> None:
            raise StoreUnavailable("refused", reason="refused")

    heard: list[Word] = []
    wishes.say(store, "w1", "stop", 10.0)
    Listener("w1", [Away(), store], heard.append).turn()  # type: ignore[list-item]
    assert heard == ["stop"]
