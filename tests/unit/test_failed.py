"""Entries of the failure log: nothing lost, whoever wrote them, and always bytes that JavaScript keeps."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolq import failed, jsjson, reruns, wire
from spoolq.job import Attempt, Failure, Job

AT = 1795511017.25
JOB = b'{"class":"send","queue":"mail","args":[1,"\xc3\xa9"],"id":"0199","attempt":3,"meta":{"x":1}}'


def a_failure(payload: bytes = JOB, **fields: object) -> Failure:
    plain = Failure("0199", "mail", "host:1:mail", "ValueError", "boom", ("line 1", "line 2"), AT, payload, 4)
    return replace(plain, **fields)  # type: ignore[arg-type]


def survives(entry: bytes) -> bool:
    return jsjson.stringify(jsjson.parse(entry)).encode() == entry


def test_an_entry_is_resques_with_ours_behind() -> None:
    assert wire.encode_failure(a_failure()).decode() == (
        '{"worker":"host:1:mail","queue":"mail",'
        '"payload":{"class":"send","queue":"mail","args":[1,"é"],"id":"0199","attempt":3,"meta":{"x":1}},'
        '"exception":"ValueError","error":"boom","backtrace":["line 1","line 2"],'
        '"failed_at":"2026-11-24T09:03:37.250000Z","attempts":4}'
    )


PAST = (Attempt(1, AT - 60, "OSError", "é", "web2:7", 0.5), Attempt(4, AT, "ValueError", "boom", "web1:4242"))


def test_what_only_spoolq_knows_stands_between_resques_and_the_exact_payload() -> None:
    full = a_failure(b'{"class":"A","args":[1.0]}', history=PAST, host="web1", pid=4242, versions={"spoolq": "1", "python": "3"})
    entry = wire.encode_failure(full)
    assert entry.decode().partition(',"attempts":4,')[2] == (
        '"history":[{"n":1,"at":1795510957.25,"exception":"OSError","error":"é","worker":"web2:7","took":0.5},'
        '{"n":4,"at":1795511017.25,"exception":"ValueError","error":"boom","worker":"web1:4242"}],'
        '"host":"web1","pid":4242,"versions":{"spoolq":"1","python":"3"},'
        r'"raw":"{\"class\":\"A\",\"args\":[1.0]}","id":"0199"}'
    )
    assert survives(entry)
    assert wire.decode_failure(entry) == full


def test_an_entry_is_read_back() -> None:
    assert wire.decode_failure(wire.encode_failure(a_failure())) == a_failure()


CHANGED = [
    b'{"class":"A","args":[1.0]}',
    b'{"class":"A","args":[-0.0,1e16,1e-07,1E5,0.10]}',
    b'{"class":"A","args":[12345678901234567890,9007199254740993]}',
    b'{"class":"A","args":[1e400,' + b"9" * 400 + b"]}",
    b'{"class":"A","args":[{"b":1,"2":1,"1":2}]}',
    b'{"class":"A","1":0}',
    b'{"class":"A","args":[1],"args":[2]}',
    b'{"class": "A", "args": [1, 2]}',
    b'\n{"class":"A"}\n',
    b'{"class":"\\u0041","args":["\\u00e9","a\\/b","\\u001F"]}',
]


@pytest.mark.parametrize("payload", CHANGED)
def test_what_javascript_would_change_is_shown_in_its_form_and_kept_as_it_was(payload: bytes) -> None:
    failure = a_failure(payload)
    entry = wire.encode_failure(failure)
    assert survives(entry)
    assert json.loads(entry)["raw"].encode() == payload
    assert json.loads(entry)["payload"]["class"] == "A"
    assert wire.decode_failure(entry) == failure


@pytest.mark.parametrize(
    "payload",
    [JOB, b'{"class":"A","args":["\\ud800","\\u001f",1e+21,1e-7,9007199254740992,"\xe2\x80\xa8",{"b":1,"a":{"1":2,"x":3}}]}'],
)
def test_what_javascript_keeps_goes_in_as_it_is(payload: bytes) -> None:
    entry = wire.encode_failure(a_failure(payload))
    assert payload in entry
    assert b'"raw"' not in entry
    assert survives(entry)


UNREADABLE = [
    (b"", "text"),
    (b"not JSON", "text"),
    (b"null", "text"),
    (b"[1]", "text"),
    (b'{"class":5}', "text"),
    (b'{"class":"A","args":[NaN]}', "text"),
    (b'{"class":"A","args":["\n"]}', "text"),
    (b"\x00\x01\xc2\x80", "text"),
    ("é\u2028😀".encode(), "text"),
    (b"\xff\xfe\x00", "base64"),
    (b'{"class":"A","args":["\xed\xa0\x80"]}', "base64"),
    (b'{"class":"A","args":' + b"[" * 98 + b"]" * 98 + b"}", "text"),
    (b'{"class":"A","args":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "text"),
]


@pytest.mark.parametrize(("payload", "kept"), UNREADABLE, ids=[repr(payload[:24]) for payload, _ in UNREADABLE])
def test_a_payload_that_is_no_job_is_kept_where_it_survives_a_requeue_by_others(payload: bytes, kept: str) -> None:
    failure = a_failure(payload)
    entry = wire.encode_failure(failure)
    assert survives(entry)
    assert jsjson.shallow(entry, 99)
    shown = json.loads(entry)
    assert shown["unreadable"] == kept
    assert shown["payload"]["class"] == failed.UNREADABLE
    assert shown["payload"]["queue"] == "mail"
    assert len(shown["payload"]["args"]) == 1
    assert wire.decode_failure(entry) == failure


@pytest.mark.parametrize(
    "text",
    ["\udc80 and \ud800", "\x00\x1f\x7f", "\u2028", "é😀", "</script>", '"\\', b"caf\xe9".decode(errors="surrogateescape")],
)
def test_texts_of_errors_are_cleaned(text: str) -> None:
    failure = a_failure(
        exception=text, error=text, backtrace=(text, ""), worker=text, queue=text, id=text, payload=b'{"class":"A"}'
    )
    entry = wire.encode_failure(failure)
    assert survives(entry)
    clean = text.encode(errors="backslashreplace").decode()
    found = wire.decode_failure(entry)
    assert (found.exception, found.error, found.backtrace, found.worker, found.queue) == (clean, clean, (clean, ""), clean, clean)


def test_endless_texts_are_cut_and_say_so() -> None:
    entry = wire.encode_failure(a_failure(error="x" * 10_000_000, backtrace=("y" * 1_000_000, *map(str, range(1000)))))
    found = wire.decode_failure(entry)
    assert len(entry) < 100_000
    assert found.error.endswith(f"x… ({10_000_000 - failed.LONGEST} more characters)")
    assert (found.backtrace[0], found.backtrace[-1], len(found.backtrace)) == ("… (801 more lines)", "999", failed.LINES + 1)
    assert wire.encode_failure(found) == entry  # as it is moved about


@pytest.mark.parametrize("at", [float("nan"), float("inf"), 1e30, -1e30])
def test_a_time_that_is_none_breaks_no_page(at: float) -> None:
    entry = wire.encode_failure(a_failure(failed_at=at))
    assert json.loads(entry)["failed_at"] == "1970-01-01T00:00:00Z"


def test_a_backtrace_is_never_null() -> None:
    assert json.loads(wire.encode_failure(a_failure(backtrace=())))["backtrace"] == []


# others' entries

NODE = (
    b'{"worker":"host1:4242","queue":"math","payload":{"class":"add","queue":"math","args":[1.50,12345678901234567890]},'
    b'"exception":"TypeError","error":"boom","backtrace":["    at x (y.js:1:2)","    at z"],'
    b'"failed_at":"Tue Nov 24 2026 09:03:37 GMT+0000 (Coordinated Universal Time)"}'
)
RUBY = (
    b'{"failed_at":"2026/11/24 09:39:26 UTC","payload":{"class":"Add","args":[1]},"exception":"ArgumentError",'
    b'"error":"wrong","backtrace":["a.rb:1"],"worker":"host:9:m,low","queue":"m","retried_at":"2026/11/24 10:00:00"}'
)


def test_an_id_that_is_too_long_is_not_shown() -> None:
    payload = b'{"class":"A","id":"%b"}' % (b"i" * 900_000)
    entry = wire.encode_failure(a_failure(payload, id=wire.decode(payload, "q").id))
    found = wire.decode_failure(entry)
    assert (found.id, found.payload) == (wire.decode(payload, "q").id, payload)
    assert failed.may_have(entry, [found.id])
    assert len(wire.decode_failure(b'{"payload":{"class":"A"},"id":"%b"}' % (b"i" * 900_000)).id) == 20


def test_nodes_entry() -> None:
    found = wire.decode_failure(NODE)
    assert replace(found, id="") == Failure(
        id="",
        queue="math",
        worker="host1:4242",
        exception="TypeError",
        error="boom",
        backtrace=("    at x (y.js:1:2)", "    at z"),
        failed_at=1795511017.0,
        payload=b'{"class":"add","queue":"math","args":[1.50,12345678901234567890]}',
        attempts=1,
    )


def test_rubys_entry() -> None:
    found = wire.decode_failure(RUBY)
    assert (found.queue, found.worker, found.exception, found.failed_at) == ("m", "host:9:m,low", "ArgumentError", 1795513166.0)
    assert found.payload == b'{"class":"Add","args":[1]}'


def test_an_entry_without_an_id_has_always_the_same_and_its_own() -> None:
    ids = {wire.decode_failure(entry).id for entry in (NODE, NODE, RUBY, RUBY, NODE + b" ", b"garbage", b"garbage")}
    assert len(ids) == 4
    assert all(len(id) == 20 for id in ids)


def test_a_foreign_job_keeps_the_id_that_its_attempt_was_logged_with() -> None:
    failure = a_failure(b'{"class":"Add","args":[1]}', id="0199-fresh", attempts=1)
    entry = wire.encode_failure(failure)
    assert wire.decode_failure(entry) == failure
    assert json.loads(entry)["payload"] == {"class": "Add", "args": [1]}


def test_the_payload_comes_back_compact() -> None:
    spaced = json.dumps(json.loads(NODE), indent=2).encode()
    assert wire.decode_failure(spaced).payload == b'{"class":"add","queue":"math","args":[1.5,12345678901234567890]}'


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"backtrace": None}, {"backtrace": ()}),
        ({"backtrace": "a\nb"}, {"backtrace": ("a", "b")}),
        ({"backtrace": [1, None, "x"]}, {"backtrace": ("1", "", "x")}),
        ({"backtrace": {}}, {"backtrace": ()}),
        ({"error": None}, {"error": ""}),
        ({"error": {"code": 5}}, {"error": '{"code": 5}'}),
        ({"worker": None, "exception": 5}, {"worker": "", "exception": "5"}),
        ({"queue": None}, {"queue": "math"}),
        ({"queue": ["q"]}, {"queue": "math"}),
        ({"queue": 5, "payload": {"class": "a", "queue": {"q": 1}}}, {"queue": ""}),
        ({"failed_at": None}, {"failed_at": 0.0}),
        ({"failed_at": 1795511017}, {"failed_at": 1795511017.0}),
        ({"attempts": "x"}, {"attempts": 1}),
        ({"attempts": True}, {"attempts": 1}),
        ({"attempts": 7}, {"attempts": 7}),
        ({"attempts": int("9" * 4300)}, {"attempts": 1}),
        ({"payload": {"class": "a", "attempt": 10**4299}}, {"attempts": 1}),
        ({"payload": None}, {"payload": b"null"}),
        ({"payload": "text"}, {"payload": b'"text"'}),
        ({"payload": {"class": "a", "attempt": 2}}, {"attempts": 3}),
        ({"payload": {"class": "a", "attempt": 2, "crashes": 1}}, {"attempts": 4}),
        ({"payload": {"class": "a", "crashes": "x"}}, {"attempts": 1}),
        ({"payload": {"class": "a", "history": [{"n": 1, "at": 5}]}}, {"history": (Attempt(1, 5, "", ""),)}),
        ({"payload": "x", "history": [{"n": 2, "at": 6}, 5]}, {"history": (Attempt(2, 6, "", ""),)}),
        ({"history": {"n": 1}}, {"history": ()}),
        ({"host": 5, "pid": "x", "versions": []}, {"host": "", "pid": None, "versions": {}}),
        ({"host": "\ud800", "pid": -1, "versions": {"python": "3", "x": 1}}, {"host": "\\ud800", "versions": {"python": "3"}}),
        ({"pid": True}, {"pid": None}),
        ({"payload": {"class": "a", "id": "own"}, "id": "other"}, {"id": "own"}),
        ({"payload": {"class": "a", "id": 5}, "id": "other"}, {"id": "other"}),
    ],
)
def test_odd_entries(changes: dict[str, object], expected: dict[str, object]) -> None:
    found = wire.decode_failure(json.dumps(json.loads(NODE) | changes).encode())
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize(
    "beside",
    [
        {"raw": '{"class":"evil"}'},
        {"raw": "not JSON"},
        {"raw": 5},
        {"raw": "\ud800"},
        {"unreadable": "text"},
        {"unreadable": "base64"},
    ],
)
def test_what_does_not_fit_the_payload_is_not_taken_for_it(beside: dict[str, object]) -> None:
    entry = json.dumps(json.loads(RUBY) | beside).encode()
    assert wire.decode_failure(entry).payload == b'{"class":"Add","args":[1]}'


@pytest.mark.parametrize("kept", ["text", "base64", "rot13"])
@pytest.mark.parametrize("args", ["[5]", '["\\ud800"]', '["x","y"]', "[]", "null"])
def test_a_mangled_unreadable_payload_is_still_shown(args: str, kept: str) -> None:
    payload = f'{{"class":"{failed.UNREADABLE}","args":{args}}}'
    entry = f'{{"payload":{payload},"unreadable":"{kept}"}}'
    assert wire.decode_failure(entry.encode()).payload == payload.encode()


GARBAGE = [
    b"",
    b"garbage",
    b"null",
    b"[]",
    b"{}",
    b'{"worker":"x"}',
    b"\xff",
    b"[" * 100_000,
    b'{"payload":NaN}',
    b'{"class":"A"}',
]


@pytest.mark.parametrize("entry", GARBAGE, ids=[repr(entry[:20]) for entry in GARBAGE])
def test_garbage_is_a_failure_that_says_so_and_keeps_it(entry: bytes) -> None:
    found = wire.decode_failure(entry)
    assert found.error.startswith("this entry of the failure log can't be read, and is kept as it is: ")
    assert found.payload == entry
    assert found.id == wire.decode_failure(entry).id
    assert (found.queue, found.failed_at, found.attempts) == ("", 0.0, 1)


# any

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
payloads = (
    st.binary(max_size=40)
    | anything.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.text(max_size=5), anything, max_size=4).map(
        lambda fields: json.dumps(fields | {"class": "A"}, ensure_ascii=False, separators=(",", ":")).encode()
    )
)
clean = st.text(max_size=20)
failures = st.builds(
    Failure,
    id=st.just("id"),
    queue=clean,
    worker=clean,
    exception=clean,
    error=clean,
    backtrace=st.lists(clean, max_size=3).map(tuple),
    failed_at=st.floats(0, 4e9).map(round).map(float),
    payload=payloads,
    attempts=st.integers(1, 99),
    history=st.sampled_from([(), PAST[:1], PAST]),
    host=clean,
    pid=st.none() | st.integers(1, 2**22),
    versions=st.dictionaries(clean, clean, max_size=2),
)


@given(failures)
def test_any_failure_survives_javascript_and_is_read_back(failure: Failure) -> None:
    entry = wire.encode_failure(failure)
    assert survives(entry)
    found = wire.decode_failure(entry)
    assert replace(found, id="id") == failure
    assert found.id == "id" or found.id in failure.payload.decode()
    again = wire.encode_failure(found)
    assert wire.decode_failure(again) == found


fields_of_entries = st.sampled_from([*json.loads(NODE), "raw", "unreadable", "id", "history", "host", "pid", "versions"])
entries = st.dictionaries(fields_of_entries, anything).map(lambda fields: json.dumps(fields).encode())


@given(payloads | entries)
def test_any_bytes_are_read_without_an_error(entry: bytes) -> None:
    found = wire.decode_failure(entry)
    assert found == wire.decode_failure(entry)
    assert found.id
    assert survives(wire.encode_failure(found))


@given(payloads | entries | failures.map(wire.encode_failure))
def test_the_quick_look_for_an_id_misses_none(entry: bytes) -> None:
    assert failed.may_have(entry, [wire.decode_failure(entry).id])


@pytest.mark.parametrize("id", ["a\\b", 'a"b', "a/b", "é", "plain"])
@pytest.mark.parametrize("payload", ['{"class":"A","id":%s}', '{"class":"A","id":%s,"args":[1.0]}', '{"class":"A","args":[1.0]}'])
def test_the_quick_look_sees_an_id_however_it_is_written(id: str, payload: str) -> None:
    for written in (json.dumps(id), json.dumps(id, ensure_ascii=False), json.dumps(id).replace("/", "\\/")):
        text = (payload % written if "%" in payload else payload).encode()
        for entry in (wire.encode_failure(a_failure(text, id=id)), b'{"payload":' + text + b',"id":' + written.encode() + b"}"):
            assert wire.decode_failure(entry).id == id
            assert failed.may_have(entry, [id, "other"])
    assert not failed.may_have(wire.encode_failure(a_failure()), ["other"])


def test_a_job_fails_and_runs_again_with_everything_it_had() -> None:
    job = Job("0199", "send", "mail", (1.0, 2**60), attempt=3, crashes=1, history=PAST, enqueued_at=AT, extra={"meta": 1})
    entry = wire.encode_failure(a_failure(wire.encode(job)))
    found = wire.decode_failure(entry)
    message = reruns.rerun(found.payload, found.queue)
    assert wire.decode(message.payload, message.queue) == replace(job, attempt=0, crashes=0, history=(), run=1)
