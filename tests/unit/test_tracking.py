from __future__ import annotations

import json
from typing import Any

import pytest

from spoolq import tracking, wire
from spoolq.errors import JobCancelled, JobDiscarded, JobExpired, JobFailed, NoResult, ResultLost
from spoolq.job import Job
from spoolq.store.effects import NONE, Effects
from spoolq.tracking import Status, read

NOW = 1_800_000_000.0


def job(**more: Any) -> Job:
    return Job("j1", "t", "q", (), **{"track": 60.0, "result": True, **more})


def values(*effects: Effects, running: tuple[str, bytes, float] | None = None) -> list[bytes | None]:
    """What a store would have under the keys of `j1` after these, one after the other."""
    kept: dict[str, bytes] = {}
    for each in effects:
        for key, value, ttl in each.values:
            kept[key] = value
            if not ttl:
                del kept[key]
    if running is not None:
        kept[running[0]] = running[1]
    return [kept.get(key) for key in tracking.keys("j1")]


def put(one: Job) -> Effects:
    return tracking.queued([wire.message(one)], NOW)


def test_a_job_that_asks_for_nothing_leaves_nothing():
    plain = Job("j1", "t", "q", ("track",))
    assert tracking.queued([wire.message(plain)], NOW) is NONE
    assert not tracking.done(plain, 7, NOW)
    assert not tracking.ended(plain, "failed", NOW)
    assert not tracking.tried_again(plain, NOW + 5, NOW, "")
    assert read(values()) == "unknown"
    assert b"track" not in wire.encode(Job("j1", "t", "q", ()))


def test_an_argument_that_looks_like_the_field_is_none():
    assert tracking.queued([wire.message(Job("j1", "t", "q", ({"track": 5},)))], NOW) is NONE


def test_what_is_put_is_queued_or_scheduled_by_its_time():
    assert read(values(put(job())), NOW) == "queued"
    later = put(job(run_at=NOW + 100))
    assert read(values(later), NOW) == "scheduled"
    assert read(values(later), NOW + 101) == "queued"
    [(_, _, ttl)] = later.values
    assert ttl == 100 + tracking.WAITS_FOR


def test_a_job_on_its_way_to_its_end():
    first, second = job(), job(attempt=1)
    queued = put(first)
    running = tracking.running(first, NOW, 0.5, "half")
    status = read(values(queued, running=running), NOW)
    assert (status, status.progress, status.text, status.at) == ("running", 0.5, "half", NOW)
    again = tracking.tried_again(first, NOW + 9, NOW, "ValueError: no")
    status = read(values(queued, again, running=running), NOW)
    assert (status, status.error, status.progress, status.over) == ("retrying", "ValueError: no", None, False)
    assert read(values(queued, again, running=tracking.running(second, NOW, None, "")), NOW) == "running"
    done = tracking.done(second, {"n": 1}, NOW)
    status = read(values(queued, again, done, running=tracking.running(second, NOW, 1.0, "")), NOW)
    assert (status, status.over) == ("done", True)
    assert tracking.outcome("j1", values(queued, again, done)) == {"n": 1}


def test_a_put_that_is_applied_again_after_the_end_changes_nothing():
    """A row in doubt is handed over though the job was there, and has run: its put is answered so, and says it again."""
    assert read(values(put(job()), tracking.done(job(), 1, NOW), put(job())), NOW) == "done"


def test_the_end_takes_the_value_of_the_put_along():
    waits, settled, _ = values(put(job()), tracking.done(job(), 1, NOW))
    assert waits is None
    assert settled is not None


def test_a_re_run_of_a_failed_job_runs_and_ends_anew():
    failed = tracking.ended(job(attempt=3), "failed", NOW, "ValueError: no")
    again = tracking.running(job(run=1), NOW, None, "")
    assert read(values(failed), NOW) == "failed"
    assert read(values(failed, running=again), NOW) == "running"
    assert read(values(failed, tracking.done(job(run=1), 2, NOW), running=again), NOW) == "done"


@pytest.mark.parametrize(
    ("state", "error"),
    [("failed", JobFailed), ("cancelled", JobCancelled), ("expired", JobExpired), ("discarded", JobDiscarded)],
)
def test_an_end_without_a_result_is_a_named_error(state, error):
    with pytest.raises(error, match="j1") as raised:
        tracking.outcome("j1", values(tracking.ended(job(), state, NOW, "ValueError: no")))
    assert isinstance(raised.value, NoResult)
    assert raised.value.id == "j1"


@pytest.mark.parametrize(
    ("result", "why"),
    [({1, 2}, "set is not JSON"), (float("nan"), "nan"), ({1: 2}, "key"), ("\ud800", "surrogate"), ("x" * (1 << 20), "bytes")],
    ids=["set", "nan", "key", "surrogate", "large"],
)
def test_a_result_that_can_not_be_kept_leaves_the_job_done(result, why):
    kept = values(tracking.done(job(), result, NOW))
    assert read(kept) == "done"
    with pytest.raises(ResultLost, match=why):
        tracking.outcome("j1", kept)


class Changing(dict[str, int]):
    """As one that another thread changes meanwhile."""

    def items(self) -> Any:
        raise RuntimeError("dictionary changed size during iteration")


def test_whatever_its_result_raises_the_job_is_done():
    kept = values(tracking.done(job(), Changing(a=1), NOW))
    assert read(kept) == "done"
    with pytest.raises(ResultLost, match="changed size"):
        tracking.outcome("j1", kept)


def test_any_text_can_be_said_and_a_long_one_is_cut():
    name = "caf\udce9.csv"  # as a file system gives it that isn't UTF-8
    assert read(values(running=tracking.running(job(), NOW, 0.5, name))).text == "caf?.csv"
    assert read(values(tracking.tried_again(job(), NOW, NOW, name))).error == "caf?.csv"
    assert len(read(values(tracking.ended(job(), "failed", NOW, "x" * 5000))).error) == tracking.MAX_TEXT


def test_what_a_job_said_while_it_ran_does_not_outlive_its_end():
    keys = [key for key, _, ttl in tracking.done(job(track=1.0), 7, NOW).values if not ttl]
    assert keys == ["queued:j1", "running:j1"]


def test_a_circle_is_no_result():
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ResultLost, match="contains itself"):
        tracking.outcome("j1", values(tracking.done(job(), circle, NOW)))


def test_without_result_ttl_only_the_end_is_kept():
    kept = values(tracking.done(job(result=False), {1, 2}, NOW))
    with pytest.raises(ResultLost, match="result_ttl"):
        tracking.outcome("j1", kept)


def test_none_is_a_result():
    assert tracking.outcome("j1", values(tracking.done(job(), None, NOW))) is None


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b"7", b'{"run":"x","ended":[],"at":null,"state":"done"}'])
def test_what_somebody_else_wrote_there_is_no_error(value):
    assert read([None, value, None]) in ("unknown", "done")


def test_a_status_is_a_text():
    status = Status("running", progress=0.5, text="half")
    assert json.dumps({"state": status}) == '{"state": "running"}'
    assert f"{status}" == "running"


def test_the_fields_travel_and_come_back():
    one = wire.decode(wire.encode(job()), "q")
    assert (one.track, one.result) == (60.0, True)
    assert wire.tracked(wire.encode(job()))
    assert not wire.tracked(wire.encode(Job("j1", "t", "q", ('"track":',))))
