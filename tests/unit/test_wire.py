"""Jobs as bytes: what goes out, what is refused and where, and what is made of payloads by others."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import json
import pathlib
import re
import time
import uuid
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoolq import jsjson, reruns, wire
from spoolq.errors import PayloadError
from spoolq.job import Attempt, Job
from spoolq.jsonable import DEPTH

NOW = 1795511017.25
UUID_LENGTH = 36

texts = st.text(max_size=12)
scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)
names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)
PAST = (Attempt(1, NOW, "ValueError", "é", "web1:4242", 0.0123), Attempt(3, NOW + 60, "WorkerDied", "gone"))
jobs = st.builds(
    Job,
    id=names,
    task=texts.filter(bool),
    queue=texts,
    args=st.lists(values, max_size=4).map(tuple),
    kwargs=st.dictionaries(texts, values, max_size=3),
    attempt=st.integers(0, 50),
    crashes=st.integers(0, 3),
    history=st.sampled_from([(), PAST[:1], PAST]),
    run=st.integers(0, 50),
    enqueued_at=st.none() | st.floats(0, 4e9).map(lambda at: round(at, 6)),
    expires_at=st.none() | st.floats(0, 4e9).map(lambda at: round(at, 6)),
    retries=st.none() | st.integers(0, 50),
    extra=st.dictionaries(texts.filter(lambda key: key not in wire._KNOWN), values, max_size=3),
)


def a_job(*args: object, **fields: object) -> Job:
    return Job("0199", "send", "mail", args, **fields)  # type: ignore[arg-type]


def nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth - 1):
        value = [value]
    return value


# encode


def test_the_order_is_resques_then_ours() -> None:
    job = a_job("a@example.com", 1, kwargs={"subject": "é"}, attempt=2, run=1, enqueued_at=NOW, retries=0, extra={"x": None})
    job = dataclasses.replace(job, expires_at=NOW + 60, crashes=1, history=PAST)
    assert wire.encode(job).decode() == (
        '{"class":"send","queue":"mail","args":["a@example.com",1],"id":"0199","kwargs":{"subject":"é"},"attempt":2,"crashes":1,'
        '"history":[{"n":1,"at":1795511017.25,"exception":"ValueError","error":"é","worker":"web1:4242","took":0.0123},'
        '{"n":3,"at":1795511077.25,"exception":"WorkerDied","error":"gone"}],"run":1,'
        '"enqueued_at":1795511017.25,"expires_at":1795511077.25,"retries":0,"x":null}'
    )


def test_what_says_nothing_is_left_out() -> None:
    assert wire.encode(a_job()) == b'{"class":"send","queue":"mail","args":[],"id":"0199"}'


@pytest.mark.parametrize(
    ("at", "written"),
    [(1795511017.0, b"1795511017"), (1795511017, b"1795511017"), (1795511017.1234567, b"1795511017.123457"), (0.0, b"0")],
)
def test_times_are_rounded_to_microseconds(at: float, written: bytes) -> None:
    assert wire.encode(a_job(enqueued_at=at)).endswith(b'"enqueued_at":' + written + b"}")


class Colour(enum.Enum):
    RED = 1


class Number(enum.IntEnum):
    ONE = 1


class Word(enum.StrEnum):
    YES = "yes"


@dataclasses.dataclass
class Person:
    name: str


Point = collections.namedtuple("Point", "x y")

REFUSED = [
    ((datetime.datetime(2026, 1, 1),), "args[0]: datetime is not JSON; send value.isoformat()"),
    (("x", {"when": datetime.datetime(2026, 1, 1)}), 'args[1]["when"]: datetime is not JSON; send when.isoformat()'),
    (({"a": [0, {"b": datetime.date(2026, 1, 1)}]},), 'args[0]["a"][1]["b"]: date is not JSON; send b.isoformat()'),
    ((datetime.timedelta(1),), "args[0]: timedelta is not JSON; send value.total_seconds()"),
    (({"price": decimal.Decimal(1)},), 'args[0]["price"]: decimal.Decimal is not JSON; send str(price)'),
    ((uuid.UUID(int=0),), "args[0]: uuid.UUID is not JSON; send str(value)"),
    ((pathlib.Path("/tmp"),), "PosixPath is not JSON; send str(value)"),
    (({1, 2},), "args[0]: set is not JSON; send sorted(value)"),
    ((b"x",), "args[0]: bytes is not JSON; send base64.b64encode(value).decode()"),
    ((1j,), "args[0]: complex is not JSON; send [value.real, value.imag]"),
    ((range(2),), "args[0]: range is not JSON; send list(value)"),
    ((collections.deque(),), "args[0]: collections.deque is not JSON; send list(value)"),
    ((Person("x"),), "args[0]: test_wire.Person is not JSON; send dataclasses.asdict(value)"),
    ((Colour.RED,), "args[0]: test_wire.Colour is not JSON; send value.value"),
    ((object(),), "args[0]: object is not JSON; send its id, or plain data (text, numbers, lists, dicts)"),
    ((float("nan"),), "args[0]: nan is not JSON; send None or a text"),
    (([1, {"x": float("-inf")}],), 'args[0][1]["x"]: -inf is not JSON'),
    (({1: "x"},), "args[0]: the key 1 is int, JSON has only text for keys"),
    (({"a": {None: 1}},), 'args[0]["a"]: the key None is NoneType'),
    (({True: 1},), "args[0]: the key True is bool"),
    (({1.5: 1},), "args[0]: the key 1.5 is float"),
    (({(1, 2): 1},), "args[0]: the key (1, 2) is tuple"),
    ((collections.OrderedDict({1: 1}),), "args[0]: the key 1 is int"),
    (([({1: 2},)],), "args[0][0][0]: the key 1 is int"),
    (("\udc80",), "args[0]: a lone surrogate ('\\udc80' at 0) can't be sent as UTF-8"),
    (({"a\ud800": 1},), "args[0], a key: a lone surrogate ('\\ud800' at 1)"),
    ((10**5000,), "args[0]: the integer is too long"),
    (({"n": [10**5000]},), 'args[0]["n"][0]: the integer is too long'),
]


@pytest.mark.parametrize("mode", ["python", "resque"])
@pytest.mark.parametrize(("args", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_what_json_cannot_hold_is_refused_with_its_place(args: tuple[object, ...], message: str, mode: wire.Mode) -> None:
    with pytest.raises(PayloadError) as caught:
        wire.encode(Job("0199", "send", "mail", args), mode)
    if mode == "python" or "integer" not in message:
        assert message in str(caught.value)
    with pytest.raises(PayloadError):
        wire.encode_bare(Job("0199", "send", "mail", args), mode)


def test_places_name_keyword_arguments_and_extra_fields() -> None:
    with pytest.raises(PayloadError, match=r'^kwargs\["when"\]: datetime is not JSON; send when\.isoformat\(\)'):
        wire.encode(a_job(kwargs={"when": datetime.datetime(2026, 1, 1)}))
    with pytest.raises(PayloadError, match=r"^kwargs: the key 1 is int"):
        wire.encode(a_job(kwargs={1: 1}))
    with pytest.raises(PayloadError, match=r'^extra\["x"\]: set'):
        wire.encode(a_job(extra={"x": {1}}))
    with pytest.raises(PayloadError, match=r"^class: a lone surrogate"):
        wire.encode(Job("i", "\ud800", "q"))
    with pytest.raises(PayloadError, match=r"^queue: a lone surrogate"):
        wire.encode(Job("i", "t", "q\ud800"))


@pytest.mark.parametrize("name", sorted(wire._KNOWN))
def test_an_extra_field_cannot_take_the_place_of_the_jobs_own(name: str) -> None:
    with pytest.raises(PayloadError, match=f"extra: {name} is a field"):
        wire.encode(a_job(extra={name: 1}))


@pytest.mark.parametrize("args", ["text", {"a": 1}, None, 1, {1}, iter([1])])
def test_args_are_a_list(args: object) -> None:
    with pytest.raises(PayloadError, match=r"^args: a list or tuple is needed"):
        wire.encode(Job("i", "t", "q", args))


@pytest.mark.parametrize("at", [float("nan"), float("inf"), "soon", datetime.datetime(2026, 1, 1)])
def test_a_time_is_a_number(at: object) -> None:
    with pytest.raises(PayloadError, match=r"^enqueued_at: .* is not a time"):
        wire.encode(a_job(enqueued_at=at))
    with pytest.raises(PayloadError, match=r"^expires_at: .* is not a time"):
        wire.encode(a_job(expires_at=at))


@pytest.mark.parametrize("id", ["", "a\nb", "\ud800", "\x00", "i" * 201])
def test_an_id_that_decode_would_not_take_is_refused(id: str) -> None:
    with pytest.raises(PayloadError, match=r"^id: "):
        wire.encode(Job(id, "t", "q"))


def test_a_task_has_a_name() -> None:
    with pytest.raises(PayloadError, match=r"^class: "):
        wire.encode(Job("i", "", "q"))


def test_what_json_does_take() -> None:
    payload = wire.encode(a_job((1, 2), Point(1, 2), Number.ONE, Word.YES, collections.OrderedDict(a=1), True, None, 1.0, 2**60))
    assert json.loads(payload)["args"] == [[1, 2], [1, 2], 1, "yes", {"a": 1}, True, None, 1.0, 2**60]


def test_a_circle_is_named() -> None:
    circle: list[object] = [0]
    circle.append({"again": circle})
    with pytest.raises(PayloadError, match=r'^args\[0\]\[1\]\["again"\]: it contains itself'):
        wire.encode(a_job(circle))
    shared = [1]
    assert json.loads(wire.encode(a_job(shared, shared)))["args"] == [[1], [1]]


@pytest.mark.parametrize("mode", ["python", "resque"])
def test_nesting_has_one_limit_wherever_it_is_called_from(mode: wire.Mode) -> None:
    deepest = a_job(nested(DEPTH - 1))
    payload = wire.encode(deepest, mode)
    assert wire.decode(payload, "mail").args == deepest.args
    assert jsjson.shallow(payload)
    with pytest.raises(PayloadError, match=r"^args\[0\]\[0\].*…: nested more than 90 levels"):
        wire.encode(a_job(nested(DEPTH)), mode)
    with pytest.raises(PayloadError, match="nested more than 90 levels"):
        wire.encode(a_job(nested(100_000)), mode)


def test_too_large() -> None:
    with pytest.raises(PayloadError) as caught:
        wire.encode(a_job("x" * 1_200_000))
    assert str(caught.value) == ("the job is 1.2 MiB, more than max_payload 1 MiB; put the data elsewhere and send a reference")
    exact = wire.encode(a_job("é" * 100))
    assert wire.encode(a_job("é" * 100), max_bytes=len(exact)) == exact
    with pytest.raises(PayloadError, match=f"{len(exact)} bytes, more than max_payload {len(exact) - 1} bytes"):
        wire.encode(a_job("é" * 100), max_bytes=len(exact) - 1)
    with pytest.raises(PayloadError, match=r"the job is 2\.1 KiB, more than max_payload 2 KiB"):
        wire.encode(a_job("x" * 2048), max_bytes=2048)


def test_encoding_a_small_job_takes_microseconds() -> None:
    job = a_job("a@example.com", 1, 2.5, kwargs={"subject": "hi"}, enqueued_at=NOW)

    def once() -> float:
        begun = time.perf_counter()
        for _ in range(1000):
            wire.encode(job)
        return (time.perf_counter() - begun) / 1000

    assert min(once() for _ in range(20)) < 40e-6  # 5 µs on an idle machine


@given(jobs)
def test_what_is_encoded_is_decoded(job: Job) -> None:
    payload = wire.encode(job)
    assert wire.decode(payload, job.queue) == job
    assert json.loads(payload) == json.loads(json.dumps(json.loads(payload)))
    assert list(json.loads(payload))[:4] == ["class", "queue", "args", "id"]


LAUNCHED = ("id", "task", "queue", "args", "kwargs", "enqueued_at", "extra")
"""What a job is made of that is launched without options: it goes a way of its own."""


def both_ways(job: Job, **changes: object) -> tuple[bytes | str, bytes | str]:
    """What such a job is encoded to, or refused with, by its own way and by that of any job."""
    fields = {name: getattr(job, name) for name in LAUNCHED} | {"kwargs": {}, "extra": {}} | changes

    def said(one: Job) -> bytes | str:
        try:
            return wire.encode(one, max_bytes=2000)
        except PayloadError as error:
            return str(error)

    return said(Job.of(**fields)), said(Job(**fields))  # type: ignore[arg-type]


@given(jobs)
def test_a_job_launched_without_options_is_the_same_bytes_as_any_other(job: Job) -> None:
    short, long = both_ways(job)
    assert short == long
    assert isinstance(short, bytes)


@pytest.mark.parametrize(
    "changes",
    [
        *({"args": args} for args, _ in REFUSED),
        *({"id": id} for id in ("", "a\nb", "x" * 201, "\udc80", 5, 'a"b\\c')),
        *({"task": task} for task in ("", "\udc80", 1, True, [])),
        *({"queue": queue} for queue in ("\udc80", 1, True, None)),
        *({"enqueued_at": at} for at in (float("nan"), float("inf"), "now", 5, True, 4e9, -4e9, 1e300, 1795511017.0000005)),
        *({"args": args} for args in ("text", None, [], ("x" * 3000,))),
    ],
)
def test_and_is_refused_in_the_same_words(changes: dict[str, object]) -> None:
    short, long = both_ways(a_job(1, enqueued_at=NOW), **changes)
    assert short == long


# mode "resque"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (2**53, "args[0]: JavaScript would round an integer beyond ±(2^53 - 1); send str(value)"),
        ({"n": [-(2**53)]}, 'args[0]["n"][0]: JavaScript would round'),
        ({"b": 1, "1": 2}, 'args[0]: JavaScript would move the key "1" to the front'),
        ([{"0": 1}], 'args[0][0]: JavaScript would move the key "0"'),
        ({"4294967294": 1}, "args[0]: JavaScript would move the key"),
    ],
)
def test_what_javascript_would_change_is_refused(value: object, message: str) -> None:
    with pytest.raises(PayloadError) as caught:
        wire.encode(a_job(value), "resque")
    assert message in str(caught.value)
    wire.encode(a_job(value))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (2**53 - 1, "9007199254740991"),
        (1 - 2**53, "-9007199254740991"),
        (1.0, "1"),
        (-0.0, "0"),
        (1e16, "10000000000000000"),
        (1.5e20, "150000000000000000000"),
        (1e21, "1e+21"),
        (-1.25e22, "-1.25e+22"),
        (1e-6, "0.000001"),
        (-1.5e-5, "-0.000015"),
        (1e-7, "1e-7"),
        (1.25e-10, "1.25e-10"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (0.1, "0.1"),
        (123456.789, "123456.789"),
        ({"01": 1, "-1": 2, "4294967295": 3, "1.0": 4, "": 5, "١": 6}, '{"01":1,"-1":2,"4294967295":3,"1.0":4,"":5,"١":6}'),
        ('a/b\u2028\x7f\x1f\b"\\é😀', '"a/b\u2028\x7f\\u001f\\b\\"\\\\é😀"'),
        ([True, False, None, (), {}], "[true,false,null,[],{}]"),
        (Number.ONE, "1"),
        (Word.YES, '"yes"'),
    ],
)
def test_numbers_and_texts_are_written_as_javascript_does(value: object, written: str) -> None:
    payload = wire.encode(a_job(value), "resque").decode()
    assert payload == '{"class":"send","queue":"mail","args":[' + written + '],"id":"0199"}'
    assert jsjson.stringify(jsjson.parse(payload)) == payload


def test_keyword_arguments_are_refused_where_stock_workers_would_ignore_them() -> None:
    with pytest.raises(PayloadError, match="kwargs: Resque's workers would ignore subject, to; send positional"):
        wire.encode(a_job(kwargs={"subject": 1, "to": 2}), "resque")
    with pytest.raises(PayloadError, match="kwargs: Resque's own keys would lose subject"):
        wire.encode_bare(a_job(kwargs={"subject": 1}))


def test_bare_is_what_a_peer_would_have_written() -> None:
    job = a_job(1, 2.0, attempt=3, enqueued_at=NOW, extra={"x": 1})
    assert wire.encode_bare(job, "resque") == b'{"class":"send","queue":"mail","args":[1,2]}'
    with pytest.raises(PayloadError, match="more than max_payload"):
        wire.encode_bare(job, max_bytes=10)


@given(jobs)
def test_every_resque_payload_survives_javascript_or_is_refused(job: Job) -> None:
    try:
        text = wire.encode(dataclasses.replace(job, kwargs={}), "resque").decode()
    except PayloadError:
        return
    assert jsjson.stringify(jsjson.parse(text)) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_in_javascripts_form_is_the_same_float(value: float) -> None:
    assert float(jsjson.number(value)) == value


# decode

FOREIGN = [
    (b'{"class":"add","queue":"math","args":[1,2]}', (1, 2)),
    (b'{"class":"Add","args":[1,{"a":"b/c","n":null},1.0]}', (1, {"a": "b/c", "n": None}, 1.0)),
    (b'{"class":"Add","args":[1,2],"queue":"m"}', (1, 2)),
    (b'{"args":[],"class":"Add"}', ()),
    (b'{"class":"add"}', ()),
    (b'{"class":"add","args":null}', (None,)),
    (b'{"class":"add","args":"s"}', ("s",)),
    (b'{"class":"add","args":{"k":1,"z":2}}', ({"k": 1, "z": 2},)),
    (b'{"class":"add","args":0}', (0,)),
    (b' { "class" : "add" , "args" : [ 1 ] } \n', (1,)),
    (b'{"class":"other","class":"add","args":[1],"args":[2]}', (2,)),
    (b'{"class":"add","args":["\\ud800",12345678901234567890,1e400]}', ("\ud800", 12345678901234567890, float("inf"))),
]


@pytest.mark.parametrize(("payload", "args"), FOREIGN)
def test_foreign_payloads_are_read_as_a_stock_worker_reads_them(payload: bytes, args: tuple[object, ...]) -> None:
    job = wire.decode(payload, "popped")
    assert (job.task.lower(), job.queue, job.args) == ("add", "popped", args)
    assert len(job.id) == UUID_LENGTH
    assert job.id != wire.decode(payload, "popped").id
    assert (job.kwargs, job.attempt, job.run, job.enqueued_at, job.expires_at, job.retries, job.extra) == (
        {}, 0, 0, None, None, None, {},
    )  # fmt: skip


def test_unknown_fields_are_kept() -> None:
    job = wire.decode(b'{"class":"a","args":[],"meta":{"trace":"x"},"42":[1]}', "q")
    assert job.extra == {"meta": {"trace": "x"}, "42": [1]}
    assert json.loads(wire.encode(job))["meta"] == {"trace": "x"}


def test_an_id_that_is_too_long_is_cut_to_the_same_short_one_wherever_it_is_read() -> None:
    payload = b'{"class":"a","queue":"q","args":[],"id":"%b"}' % (b"i" * 900_000)
    job = wire.decode(payload, "q")
    assert len(job.id) == 20
    assert wire.decode(payload, "q").id == job.id != wire.decode(payload.replace(b"iii", b"iij", 1), "q").id
    assert wire.decode(wire.attempted(payload, job), "q") == dataclasses.replace(job, attempt=1)
    again = reruns.rerun(payload, "")
    assert (again.id, len(again.payload) < 100) == (f"{job.id}\t1", True)
    assert wire.decode(b'{"class":"a","id":"%b"}' % (b"i" * 200), "q").id == "i" * 200


WRONG = [None, True, [], {}, "x", -1, 1.5, "1", 10**400, float("inf")]


@pytest.mark.parametrize("wrong", [json.dumps(value).replace("Infinity", "1e999") for value in WRONG])
@pytest.mark.parametrize("name", sorted(wire.OURS))
def test_a_field_of_ours_with_a_wrong_type_counts_as_absent(name: str, wrong: str) -> None:
    payload = f'{{"class":"a","args":[],"{name}":{wrong}}}'.encode()
    job = wire.decode(payload, "q")
    assert job.id
    assert (type(job.id), type(job.kwargs), type(job.attempt), type(job.run)) == (str, dict, int, int)
    assert (type(job.crashes), job.history) == (int, ())
    assert min(job.attempt, job.crashes, job.run) >= 0
    assert job.retries is None or (type(job.retries) is int and job.retries >= 0)
    assert job.enqueued_at is None or type(job.enqueued_at) is float
    assert job.expires_at is None or type(job.expires_at) is float
    assert job.extra == {}
    assert wire.expires_at(payload) == job.expires_at
    assert wire.enqueued_at(payload) == job.enqueued_at
    wire.encode(job)


UNREADABLE = [
    (b"", "not JSON"),
    (b"hello", "not JSON"),
    (b"{", "not JSON"),
    (b'{"class":"a"} x', "not JSON: Extra data"),
    (b"null", "a JSON object is needed, this is null"),
    (b'"str"', "this is a text"),
    (b"[1]", "this is a list"),
    (b"1", "this is a number"),
    (b"true", "this is true or false"),
    (b"{}", "`class` must be the task's name, it is missing"),
    (b'{"class":null}', "it is null"),
    (b'{"class":1}', "it is a number"),
    (b'{"class":""}', "it is an empty text"),
    (b'{"class":["a"]}', "it is a list"),
    (b'{"class":"a","args":[NaN]}', "NaN is not JSON"),
    (b'{"class":"a","args":[-Infinity]}', "-Infinity is not JSON"),
    (b'{"class":"a","args":["\xff"]}', "not UTF-8: byte 255 at 22"),
    (b'{"class":"a","args":["\xed\xa0\x80"]}', "not UTF-8"),
    (b'{"class":"a","args":["\xc0\xaf"]}', "not UTF-8"),
    ('{"class":"a"}'.encode("utf-16"), "not UTF-8"),
    (b'\xef\xbb\xbf{"class":"a"}', "not JSON"),
    (b'{"class":"a","args":["\n"]}', "not JSON: Invalid control character"),
    (b'{"class":"a","args":[1,]}', "not JSON"),
    (b"{'class':'a'}", "not JSON"),
    (b'{"class":"a","args":[' + b"9" * 5000 + b"]}", "not JSON: Exceeds the limit"),
    (b'{"class":"a","args":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deeply"),
    (b'{"class":"a","args":' + b'{"a":' * 200_000 + b"1" + b"}" * 200_000 + b"}", "nested too deeply"),
]


@pytest.mark.parametrize(("payload", "message"), UNREADABLE, ids=[str(payload[:30]) for payload, _ in UNREADABLE])
def test_what_is_not_a_job_is_a_payload_error(payload: bytes, message: str) -> None:
    with pytest.raises(PayloadError) as caught:
        wire.decode(payload, "q")
    assert message in str(caught.value)
    with pytest.raises(PayloadError):
        reruns.rerun(payload, "q")
    with pytest.raises(PayloadError):
        wire.attempted(payload, a_job())
    assert wire.record(payload, "q", "host:1:q", NOW) is None
    assert wire.expires_at(payload + b'"expires_at"') is None
    assert wire.enqueued_at(payload + b'"enqueued_at"') is None


hostile = (
    st.binary(max_size=60)
    | values.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.sampled_from(sorted(wire._KNOWN)) | texts, values, max_size=6).map(
        lambda fields: json.dumps(fields | {"class": "a"}, ensure_ascii=False).encode()
    )
)


@given(hostile)
def test_any_bytes_are_a_job_or_a_payload_error(payload: bytes) -> None:
    wire.expires_at(payload)
    wire.enqueued_at(payload)
    try:
        job = wire.decode(payload, "q")
    except PayloadError:
        return
    counted = wire.decode(wire.attempted(payload, job), "q")
    assert counted == dataclasses.replace(job, attempt=job.attempt + 1)
    crashed = wire.decode(wire.attempted(payload, job, PAST[1], crash=True), "q")
    kept = dataclasses.replace(crashed, crashes=job.crashes, history=job.history)
    assert (kept, crashed.crashes, crashed.history[-1]) == (job, job.crashes + 1, PAST[1])
    again = wire.decode(reruns.rerun(payload, "q").payload, "q")
    assert (again.run, again.attempt, again.crashes, again.history) == (job.run + 1, 0, 0, ())
    record = wire.record(payload, "q", "host:1:q", NOW)
    assert record is not None
    assert json.loads(record)["payload"]["class"] == "a"


# message, attempted, rerun


def test_a_message_is_what_a_store_takes() -> None:
    job = a_job(1, run=2, run_at=NOW, given=True)
    assert wire.message(job)[:7] == ("0199\t2", "mail", wire.encode(job), NOW, True, 0.0, False)
    assert wire.message(a_job(1.0), "resque").payload == b'{"class":"send","queue":"mail","args":[1],"id":"0199"}'
    with pytest.raises(PayloadError):
        wire.message(a_job("long"), max_bytes=5)


RAW = b'{"class":"Add","args":[1.0,12345678901234567890123,1e400,1E5,"\\u00e9\\/"],"queue":"m","meta":{"a":1.10,"a":2}'


def test_an_attempt_is_counted_and_nothing_else_touched() -> None:
    job = wire.decode(RAW + b"}", "m")
    first = wire.attempted(RAW + b"}", job)
    assert first == RAW + f',"attempt":1,"id":"{job.id}"}}'.encode()
    again = wire.decode(first, "m")
    assert (again.id, again.attempt) == (job.id, 1)
    assert wire.attempted(first, again) == RAW + f',"attempt":2,"id":"{job.id}"}}'.encode()


def test_a_crash_is_counted_apart_and_the_history_kept() -> None:
    job = wire.decode(RAW + b"}", "m")
    first = wire.attempted(RAW + b"}", job, PAST[0])
    one = '{"n":1,"at":1795511017.25,"exception":"ValueError","error":"é","worker":"web1:4242","took":0.0123}'
    assert first == RAW + f',"attempt":1,"history":[{one}],"id":"{job.id}"}}'.encode()
    again = wire.decode(first, "m")
    second = wire.attempted(first, again, PAST[1], crash=True)
    two = '{"n":3,"at":1795511077.25,"exception":"WorkerDied","error":"gone"}'
    assert second == RAW + f',"attempt":1,"history":[{one},{two}],"id":"{job.id}","crashes":1}}'.encode()
    last = wire.decode(second, "m")
    assert (last.id, last.attempt, last.crashes, last.history) == (job.id, 1, 1, PAST)


@pytest.mark.parametrize("mode", ["python", "resque"])
def test_attempts_are_written_as_a_launch_would_write_them_and_as_javascript_does(mode: wire.Mode) -> None:
    job = a_job(1, 0.5, enqueued_at=NOW)
    ended = [Attempt(n, NOW + n / 7, "E", '\u2028\x7f"é', "w:1", 1e-7 * 10**n) for n in range(1, 14)]
    payload = wire.encode(job, mode)
    for one in ended:
        payload = wire.attempted(payload, wire.decode(payload, "mail"), one)
    assert jsjson.stringify(jsjson.parse(payload)).encode() == payload
    again = wire.decode(payload, "mail")
    assert again.attempt == 13
    assert [one.number for one in again.history] == [1, *range(5, 14)]
    assert json.loads(wire.encode(again, mode)) == json.loads(payload)
    assert jsjson.stringify(jsjson.parse(wire.encode(again, mode))).encode() == wire.encode(again, mode)


def test_an_attempt_is_counted_in_place() -> None:
    job = a_job(1, attempt=1, enqueued_at=NOW, retries=5, kwargs={"attempt": 9})
    assert wire.attempted(wire.encode(job), job) == wire.encode(dataclasses.replace(job, attempt=2))


def test_an_id_that_is_none_and_doubled_fields_are_replaced() -> None:
    payload = b' {"id": 7, "class":"a" , "attempt" : "x", "attempt": 2,"args":[]}'
    job = wire.decode(payload, "q")
    assert wire.attempted(payload, job) == f'{{"id":"{job.id}","class":"a","attempt":3,"args":[]}}'.encode()


@pytest.mark.parametrize("run", [2**53 - 1, 2**64, int("9" * 4300)])
def test_a_run_that_no_writer_of_ours_gave_is_none(run: int) -> None:
    payload = b'{"class":"a","queue":"q","id":"x","run":%d}' % run
    assert wire.decode(payload, "q").run == 0
    assert reruns.rerun(payload, "").payload == b'{"class":"a","queue":"q","id":"x","run":1}'


def test_peeking() -> None:
    payload = wire.encode(a_job(enqueued_at=NOW, expires_at=NOW + 5))
    assert (wire.enqueued_at(payload), wire.expires_at(payload)) == (NOW, NOW + 5)
    assert wire.expires_at(wire.encode(a_job({"expires_at": 5}))) is None
    assert wire.expires_at(wire.encode(a_job('"expires_at":5'))) is None


# record


def test_a_record_holds_the_payload_as_it_was_written() -> None:
    payload = RAW + b"}"
    record = wire.record(payload, "m", "host:1+2:m,low", NOW)
    assert record == b'{"run_at":"2026-11-24T09:03:37Z","queue":"m","worker":"host:1+2:m,low","payload":' + payload + b"}"


def test_no_record_that_would_break_a_page_of_workers() -> None:
    def job(depth: int) -> bytes:
        return b'{"class":"a","args":' + b"[" * depth + b'"[["' + b"]" * depth + b"}"

    assert wire.record(job(97), "q", "h:1:q", NOW) is not None  # with the record around it 99 levels; Ruby reads 100
    assert wire.record(job(98), "q", "h:1:q", NOW) is None
    brackets = b'{"class":"a","args":["' + b"[{" * 300 + b'\\""]}'
    assert wire.record(brackets, "q", "h:1:q", NOW) is not None
    for since in (float("nan"), float("inf"), 1e30):
        assert b'"run_at":"1970-01-01T00:00:00Z"' in (wire.record(b'{"class":"a"}', "q", "h:1:q", since) or b"")


@settings(max_examples=50)
@given(values)
def test_text_edits_see_what_json_sees(value: object) -> None:
    for separators in ((",", ":"), (", ", " : ")):
        text = json.dumps({"a": value, "b": [value]}, separators=separators)
        assert {key: json.loads(raw) for key, _, raw in jsjson.members(text)} == {"a": value, "b": [value]}
        assert jsjson.compact(text) == json.dumps({"a": value, "b": [value]}, separators=(",", ":"))
        assert jsjson.edited(text, {"a": None, "b": None}) == "{}"


PLAINLY = re.compile(r'("(?:[^"\\]|\\.)*")|[ \t\n\r]+')  # the same, said in the plainest way


@given(st.text(alphabet='"\\n \n\té{}[]:,x', max_size=60))
def test_texts_are_told_from_the_white_between_them_in_any_text(text: str) -> None:
    assert jsjson.compact(text) == PLAINLY.sub(r"\1", text)
    bare = re.sub(r"[^\[{}\]]", "", re.sub(r'"(?:[^"\\]|\\.)*"', "", text))
    depth = max((sum(1 if mark in "[{" else -1 for mark in bare[:end]) for end in range(1, len(bare) + 1)), default=0)
    assert jsjson.shallow(text, max(0, depth))
    assert depth < 1 or not jsjson.shallow(text, depth - 1)


def test_a_large_argument_is_made_compact_at_once() -> None:
    text = json.dumps({"class": "a", "args": ["x" * 1_000_000]})

    def took(call: Callable[[], object]) -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    assert min(took(lambda: jsjson.compact(text)) for _ in range(3)) < took(lambda: PLAINLY.sub(r"\1", text)) / 4


def test_a_job_in_a_line_of_the_log_has_id_task_and_queue_and_no_argument() -> None:
    assert wire.named(b'{"class":"mail","queue":"q","args":["secret"],"id":"j1"}', "low") == "job j1 (mail, queue low)"
    assert wire.named(b'{"class":"mail","args":[]}', "low") == "job without an id (mail, queue low)"
    assert wire.named(b'{"class":"mail","args":[]}', "low", "0123") == "job 0123 (mail, queue low)"
    assert wire.named(b"\xff secret", "low", "0123") == "job 0123 (unreadable, queue low)"


@pytest.mark.parametrize("name", ["a\\nERROR b", "\\u001b[2J", "x" * 1_000_000])
def test_no_name_makes_a_line_of_the_log_long_or_two(name: str) -> None:
    line = wire.named(f'{{"class":"{name}","args":[],"id":"j1"}}'.encode(), "q")
    assert line.isprintable()
    assert len(line) < 400


def test_a_job_that_was_begun_says_so_counts_nothing_and_is_written_as_it_was() -> None:
    payload = b'{"class":"t","queue":"q","args":[1.0,9007199254740993],"id":"a","attempt":2,"foreign":[]}'
    job = wire.decode(payload, "q")
    again = wire.begun(payload, job)
    assert again == payload[:-1] + b',"begun":true}'
    assert (wire.decode(again, "q").begun, wire.decode(again, "q").attempt) == (True, 2)
    assert wire.begun(again, job) == again
    assert not wire.decode(reruns.rerun(again, "q").payload, "q").begun
    assert wire.decode(wire.encode(wire.decode(again, "q")), "q").begun


def test_a_bare_job_that_was_begun_keeps_the_id_that_it_was_given() -> None:
    job = wire.decode(b'{"class":"t","queue":"q","args":[]}', "q")
    assert wire.decode(wire.begun(b'{"class":"t","queue":"q","args":[]}', job), "q").id == job.id
