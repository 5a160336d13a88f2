"""Which jobs count as equal, and how a payload says so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from spoolq import unique, wire
from spoolq.errors import ConfigError, PayloadError
from spoolq.job import Job, Unique
from spoolq.unique import Uniqueness, declared

HOUR = 3600.0


def of(*args: Any, task: str = "send", queue: str = "mail", key: unique.Key | None = None, **kwargs: Any) -> Unique:
    return Uniqueness("done", key).of(task, queue, args, kwargs)


def test_jobs_of_the_same_arguments_have_the_key_of_nodes_queue_lock() -> None:
    assert of(1, {"a": "é/"}) == Unique(
        'lock:send:mail:[1,{"a":"é/"}]', "done", HOUR, 'timestamps:{"class":"send","queue":"mail","args":[1,{"a":"é/"}]}'
    )
    assert of().key == "lock:send:mail:[]"


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ((1.0, -0.0, 1e21, 1e-7), "[1,0,1e+21,1e-7]"),
        (((1, 2),), "[[1,2]]"),
        (({"b": 1, "2": 1, "1": 2},), '[{"1":2,"2":1,"b":1}]'),
    ],
)
def test_arguments_are_written_as_javascript_would_write_what_it_reads(args: tuple[Any, ...], text: str) -> None:
    assert of(*args).key == f"lock:send:mail:{text}"


def test_keyword_arguments_count_and_are_none_of_nodes() -> None:
    assert of(1, b=2, a=[1]) == Unique('unique:send:mail:[1]:{"a":[1],"b":2}', "done", HOUR)
    assert of(1, a=[1], b=2).key == of(1, b=2, a=[1]).key != of(1, a=[1]).key


def test_a_key_of_ones_own_is_made_of_the_arguments() -> None:
    assert of(7, to="x", key=lambda user, to: user) == Unique("unique:send:7", "done", HOUR)
    assert of(7, key=lambda user: f"user {user}").key == "unique:send:user 7"


@pytest.mark.parametrize("key", [None, "", 1.5, True, "a\nb", "x" * 501, "\ud800", ["a"]])
def test_what_can_be_no_key_is_refused_by_name(key: object) -> None:
    with pytest.raises(PayloadError, match="send: its unique_key gave"):
        of(1, key=lambda _: key)


def test_a_function_that_raises_is_named() -> None:
    with pytest.raises(PayloadError, match="send: its unique_key raised KeyError"):
        of({}, key=lambda order: order["id"])


def test_arguments_that_json_can_not_hold_are_named() -> None:
    with pytest.raises(PayloadError, match=r"args\[0\]"):
        of(object())


@pytest.mark.parametrize("until", ["start", "done"])
@pytest.mark.parametrize("seconds", [HOUR, 0.5])
@pytest.mark.parametrize("args", [("a", {"é": [1.5]}), (), (12345678901234567890,), ("\ud800",)])
@pytest.mark.parametrize("kwargs", [{}, {"a": 1}])
def test_a_payload_says_it_and_is_read_the_same(
    until: Any, seconds: float, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    said = Uniqueness(until, None, seconds).of("send", "mail", args, kwargs)
    if args == ("\ud800",):  # no payload holds half a surrogate pair
        assert said.key.isascii()
        return
    payload = wire.encode(Job("1", "send", "mail", args, kwargs, unique=said))
    assert wire.decode(payload, "mail").unique == said
    assert wire.unique_of(payload, "elsewhere") == said, "also where an operator has put it into another queue"


def test_a_payload_of_a_job_without_it_has_no_such_field() -> None:
    assert b"unique" not in wire.encode(Job("1", "send", "mail", (1,)))
    assert wire.decode(wire.encode(Job("1", "send", "mail", (1,))), "mail").unique is None


@pytest.mark.parametrize(
    "field",
    [
        "null",
        "1",
        "[]",
        "{}",
        '{"until":"done"}',
        '{"until":"never","for":1}',
        '{"until":"done","for":0}',
        '{"until":"done","for":1e99}',
        '{"until":"done","for":1,"key":7}',
        '{"until":"done","for":1,"key":""}',
        '{"until":"done","for":1,"key":"\\ud800"}',
    ],
)
def test_a_field_that_can_not_be_understood_counts_as_absent(field: str) -> None:
    payload = f'{{"class":"send","queue":"mail","args":[],"unique":{field}}}'.encode()
    assert wire.decode(payload, "mail").unique is None
    assert wire.unique_of(payload, "mail") is None


def test_what_is_no_job_has_none() -> None:
    assert wire.unique_of(b'{"unique"', "mail") is None


def test_a_task_says_until_when_and_for_how_long() -> None:
    assert declared("t", None, None, None) is None
    assert declared("t", "until_start", None, None) == Uniqueness("start", None, HOUR)
    assert declared("t", "until_done", None, 60) == Uniqueness("done", None, 60.0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((True, None, None), "unique=True"),
        (("done", None, None), "unique='done'"),
        ((None, len, None), "unique_key= says nothing without unique="),
        ((None, None, 5), "unique_for= says nothing without unique="),
        (("until_done", "user", None), "unique_key='user' is no function"),
        (("until_done", None, 0), "unique_for=0"),
        (("until_done", None, "1h"), "unique_for='1h'"),
    ],
)
def test_a_wrong_declaration_is_named(given: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        declared("t", *given)


@pytest.mark.parametrize(("given", "seconds"), [(None, None), (False, None), (True, HOUR), (5, 5.0)])
def test_exclusive_lasts_as_long_as_nodes_lock_by_default(given: Any, seconds: float | None) -> None:
    assert unique.exclusive_for("t", given) == seconds


@pytest.mark.parametrize("given", ["yes", -1, 0])
def test_a_wrong_exclusive_is_named(given: Any) -> None:
    with pytest.raises(ConfigError, match="exclusive="):
        unique.exclusive_for("t", given)


@pytest.mark.parametrize("given", [0, -1, True, 1.5, "3", 1001])
def test_a_wrong_concurrency_is_named(given: Any) -> None:
    with pytest.raises(ConfigError, match="concurrency="):
        unique.places("t", given)


def test_places_and_locks_have_names() -> None:
    assert unique.places("t", 2) == ("concurrency:t:0", "concurrency:t:1")
    assert unique.lock_of("send", "mail", (1, "a"), {}) == 'workerslock:send:mail:[1,"a"]'
    assert unique.lock_of("send", "mail", (1,), {"a": 1}) == 'exclusive:send:mail:[1]:{"a":1}'


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1234567890123456789, 1234567890123456790),
        (2**53, 2**53 + 1),
        (10**400, 10**401),
        (10**400, None),
        ({"deep": [10**17]}, {"deep": [10**17 + 1]}),
    ],
)
def test_numbers_that_javascript_would_round_are_no_equal_arguments(one: Any, other: Any) -> None:
    assert of(one).key != of(other).key
    assert of(which=one).key != of(which=other).key
    assert of(one) == of(one)
    assert unique.lock_of("send", "mail", [one], {}) != unique.lock_of("send", "mail", [other], {})


def test_a_tasks_name_is_no_part_of_a_key() -> None:
    assert of("c", task="a:b", key=lambda key: key).key != of("b:c", task="a", key=lambda key: key).key
    assert of("c", task="a%3Ab", key=lambda key: key).key != of("c", task="a:b", key=lambda key: key).key


@pytest.mark.parametrize("args", [(7, 1234567890123456789), (1.0, {"1": "a", "b": (2**53 + 1,)}), ("é\u2028", -0.0)])
@pytest.mark.parametrize("kwargs", [{}, {"more": 10**30}])
def test_a_worker_reads_the_key_that_was_acquired(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    acquired = of(*args, **kwargs)
    job = Job("1", "send", "mail", args, kwargs, unique=acquired)
    read = wire.decode(wire.encode(job), "mail").unique
    assert read is not None
    assert read.key == acquired.key


def test_what_a_hook_changes_leaves_the_key_as_it_was_acquired() -> None:
    job = Job("1", "send", "mail", ("a",), unique=of("a"))
    for changed in (replace(job, args=("b",)), replace(job, queue="bulk"), replace(job, kwargs={"trace": 1})):
        read = wire.decode(wire.encode(changed), changed.queue).unique
        assert read is not None
        assert read.key == of("a").key
