"""What is written of a failure, what a hook may take out of it, and the name that each copy of it has."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any

import pytest

from spoolq import wire
from spoolq.failurelog import entry
from tests.unit.failurelog.hands import THEN, failure

EXACT = b'{"class":"send","queue":"mail","args":[1.0,"hunter2",12345678901234567890],"id":"a"}'


def test_it_is_the_entry_of_the_stores_list() -> None:
    line = entry.written(failure())
    assert line == wire.encode_failure(failure())
    assert entry.read(line) == entry.Record(failure(), 0, False, line)


def test_its_key_is_the_day_the_id_the_run_the_attempt_and_the_time() -> None:
    assert entry.read(entry.written(failure("a", run=2))).key == "2026/11/26/a.2.4.090000.json"
    assert entry.read(entry.written(failure("a", run=2, at=THEN + 0.25))).key == "2026/11/26/a.2.4.090000250000.json"


@pytest.mark.parametrize("id", ["a/b", "../../etc", "ü" * 150, "x" * 200, "a b", "%2f", "a\\b", "a\n"])
def test_any_id_makes_a_key(id: str) -> None:
    key = entry.Record(failure(id), 0, False, b"").key
    assert key.startswith("2026/11/26/")
    assert key.endswith(".0.4.090000.json")
    name = key.removeprefix("2026/11/26/")
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert len(name) < 120
    assert key != entry.Record(failure(id + "?"), 0, False, b"").key


def test_what_cant_be_read_has_a_key_too() -> None:
    first, second = entry.read(b"nonsense"), entry.read(b"other nonsense")
    assert first.key.startswith("1970/01/01/")
    assert first.key != second.key
    assert not first.redacted


def hush(fields: dict[str, Any]) -> None:
    fields["payload"]["args"] = ["***"]


def test_a_hook_may_change_it_in_place() -> None:
    line = entry.written(failure(), hush)
    record = entry.read(line)
    assert b"example.com" not in line
    assert record.redacted
    assert record.key == entry.read(entry.written(failure())).key
    assert json.loads(line)["payload"]["args"] == ["***"]
    assert json.loads(line)["backtrace"] == list(failure().backtrace)


def test_a_hook_may_return_another() -> None:
    line = entry.written(failure(), lambda fields: {**fields, "error": "hidden"})
    assert entry.read(line).failure.error == "hidden"
    assert entry.read(line).redacted


def test_what_a_hook_leaves_alone_is_written_as_it_was() -> None:
    one = replace(failure(), payload=EXACT)
    assert entry.written(one, lambda fields: fields) == entry.written(one, lambda fields: None) == wire.encode_failure(one)
    assert entry.read(entry.written(one, lambda fields: None)).failure.payload == EXACT


def test_the_exact_text_of_a_payload_doesnt_escape_the_hook() -> None:
    one = replace(failure(), payload=EXACT)
    assert b"hunter2" in wire.encode_failure(one)
    assert "raw" in json.loads(wire.encode_failure(one))
    assert b"hunter2" not in entry.written(one, hush)


@pytest.mark.parametrize(
    "hook",
    [
        lambda fields: 1 / 0,
        lambda fields: "text",
        lambda fields: {**fields, "at": object()},
        lambda fields: {**fields, "n": float("nan")},
        lambda fields: (_ for _ in ()).throw(SystemExit(3)),
    ],
)
def test_a_hook_that_fails_costs_what_it_was_to_look_at(hook: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        line = entry.written(failure(run=1), hook)
    assert b"example.com" not in line
    assert b"no address" not in line
    assert "failure a is written without its arguments" in caplog.text
    assert "example.com" not in caplog.text
    record = entry.read(line)
    assert record.redacted
    assert record.key == "2026/11/26/a.1.4.090000.json"
    shown = json.loads(line)
    assert (shown["payload"]["class"], shown["payload"]["args"], shown["exception"]) == ("send", [], "ValueError")
    assert "the redact function raised" in shown["error"]
