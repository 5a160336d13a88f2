"""The history of attempts: bounded, the same to JavaScript, and nothing at all where somebody else wrote the field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolq import history, jsjson
from spoolq.history import LAST, TEXT
from spoolq.job import Attempt, Job

NOW = 1795511017.25


def an_attempt(number: int = 1, **more: Any) -> Attempt:
    return Attempt(number, **({"at": NOW, "exception": "ValueError", "error": "boom"} | more))


def test_it_says_when_what_where_and_how_long() -> None:
    attempt = history.ended(Job("i", "t", "q", attempt=2, crashes=1), ValueError("boom"), NOW, "web1:4242", 0.01234)
    assert attempt == Attempt(4, NOW, "ValueError", "boom", "web1:4242", 0.0123)
    assert history.write([attempt]) == (
        '[{"n":4,"at":1795511017.25,"exception":"ValueError","error":"boom","worker":"web1:4242","took":0.0123}]'
    )


def test_what_is_not_known_is_left_out() -> None:
    attempt = history.ended(Job("i", "t", "q"), ValueError(), 1795511017.0)
    assert history.write([attempt]) == '[{"n":1,"at":1795511017,"exception":"ValueError","error":""}]'
    assert history.read(jsjson.parse(history.write([attempt]))) == (attempt,)


class Nasty(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


def test_a_text_that_can_not_be_had_is_no_error() -> None:
    assert "can't be had" in history.ended(Job("i", "t", "q"), Nasty(), NOW).error


@pytest.mark.parametrize("text", ["x" * 201, "é" * 10**6, "\ud800" * 50, "x" * 199 + "\ud800"])
def test_long_texts_are_cut_and_say_so(text: str) -> None:
    found = history.ended(Job("i", "t", "q"), ValueError(text), NOW).error
    assert len(found) == TEXT
    assert found.endswith("…")
    assert jsjson.encodable(found)


def test_a_text_that_fits_stays() -> None:
    assert history.ended(Job("i", "t", "q"), ValueError("é" * TEXT), NOW).error == "é" * TEXT


def test_of_many_the_first_and_the_last_nine_are_kept() -> None:
    kept: tuple[Attempt, ...] = ()
    for number in range(1, 31):
        kept = history.added(kept, an_attempt(number))
        assert len(kept) == min(number, 1 + LAST)
    assert [one.number for one in kept] == [1, *range(22, 31)]


def test_it_stays_small_whatever_failed() -> None:
    kept: tuple[Attempt, ...] = ()
    for number in range(1, 31):
        kept = history.added(kept, an_attempt(number, error="\0" * 10**5, exception="E" * 10**5, worker="w" * 10**5))
    assert len(history.write(kept)) < 10 * (6 * TEXT + 2 * TEXT + 100)


ABSENT = [None, True, 5, "text", {}, {"n": 1}, [], [None], [1, "x", []], [[{"n": 1, "at": 1}]]]
ODD = [
    {"at": NOW},
    {"n": 1},
    {"n": 0, "at": NOW},
    {"n": True, "at": NOW},
    {"n": 1.0, "at": NOW},
    {"n": "1", "at": NOW},
    {"n": 10**4000, "at": NOW},
    {"n": 2**53, "at": NOW},
    {"n": 1, "at": "2026-11-26"},
    {"n": 1, "at": True},
    {"n": 1, "at": -1},
    {"n": 1, "at": 1e300},
    {"n": 1, "at": 10**400},
    {"n": 1, "at": float("inf")},
    {"n": 1, "at": NOW, "exception": 5},
    {"n": 1, "at": NOW, "error": None},
    {"n": 1, "at": NOW, "worker": ["w"]},
]


@pytest.mark.parametrize("value", ABSENT + [[one] for one in ODD], ids=lambda value: repr(value)[:40])
def test_what_somebody_else_wrote_counts_as_absent(value: object) -> None:
    assert history.read(value) == ()


def test_what_is_odd_takes_nothing_else_along() -> None:
    good = an_attempt()
    assert history.read([*ODD[:3], *history.written([good]), *ODD[3:5]]) == (good,)
    assert history.read([{"n": 1, "at": NOW, "took": "long", "more": 1}]) == (Attempt(1, NOW, "", ""),)


def test_a_long_list_is_cut_as_it_is_read() -> None:
    many = [{"n": n, "at": NOW} for n in range(1, 1000)]
    assert [one.number for one in history.read(many)] == [1, *range(991, 1000)]


attempts = st.builds(
    Attempt,
    number=st.integers(1, 2**53 - 2),
    at=st.floats(0, 2e11),
    exception=st.text(max_size=250),
    error=st.text(st.characters(), max_size=250),
    worker=st.text(max_size=20),
    took=st.none() | st.floats(0, 1e9),
)


@given(st.lists(attempts, max_size=15))
def test_any_history_is_the_same_to_javascript_and_to_python(several: list[Attempt]) -> None:
    text = history.write(several)
    assert json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":")) == text
    assert jsjson.stringify(jsjson.parse(text)) == text
    found = history.read(jsjson.parse(text))
    assert len(found) == min(len(several), 1 + LAST)
    assert history.write(found) == text
    assert history.read(jsjson.parse(history.write(found))) == found


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.sampled_from(["n", "at", "error", "took"]), inner),
    max_leaves=30,
)


@given(values)
def test_any_value_is_read(value: object) -> None:
    found = history.read(value)
    assert len(found) <= 1 + LAST
    assert history.read(jsjson.parse(history.write(found))) == found
