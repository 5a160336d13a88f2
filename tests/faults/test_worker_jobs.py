"""What a worker finds in queues: foreign payloads, unreadable ones, unknown tasks, stale jobs, several queues."""

from __future__ import annotations

import time

import pytest

from spoolq import wire
from tests.faults.app import Control
from tests.faults.working import Place, failures, raw
from tests.servers import Server
from tests.waiting import eventually

pytestmark = pytest.mark.one_server


def values(place: Place) -> list[str]:
    return [line.value for line in place.trace()]


def test_what_stock_producers_push_is_run(place: Place, server: Server) -> None:
    raw(
        server,
        "work",
        '{"class":"note","queue":"work","args":["ruby"]}',
        '{ "class" : "note", "args" : ["spaced"], "queue" : "somewhere-else" }',
        '{"class":"note","args":["\\u00e9"],"x":{"y":[1.0,12345678901234567890]}}',
        '{"class":"note"}',
        '{"class":"note","args":"bare"}',
        '{"class":"note","args":["many",1,null,{"a":[]}]}',
    )
    worker = place.worker("--burst", threads=1)
    assert worker.ended() == 0
    assert values(place) == ["ruby", "spaced", "é", "None", "bare", "many"]
    assert place.left() == {}
    assert failures(server) == []


@pytest.mark.parametrize("payload", [b"", b"{", b"[1]", b"\xff\xfe\x00", b'{"args":[]}', b"null", b"[" * 5000])
def test_an_unreadable_payload_goes_to_the_failure_log_and_the_next_job_runs(
    payload: bytes, place: Place, server: Server
) -> None:
    raw(server, "work", payload, '{"class":"note","args":["next"]}')
    worker = place.worker("--burst", threads=1)
    assert worker.ended() == 0
    assert values(place) == ["next"]
    [entry] = failures(server)
    assert (entry["payload"]["class"], entry["exception"]) == ("(unreadable)", "PayloadError")
    [failure] = place.store.failures.page()
    assert failure.payload == payload
    assert place.left() == {}


def test_an_unknown_task_is_tried_again_for_a_while_and_fails_with_what_to_do(place: Place, server: Server) -> None:
    new = place.enqueue("not-deployed-yet")
    raw(server, "work", '{"class":"renamed","queue":"work","args":[],"id":"old","attempt":3}')
    worker = place.worker("--burst")
    assert worker.ended() == 0
    [entry] = failures(server)
    assert entry["payload"]["id"] == "old"
    assert entry["exception"] == "UnknownTask"
    assert "import the module that defines it" in entry["error"]
    with server.client() as control:
        [(member, at)] = control.zrange("resque:spoolq:delayed", 0, -1, withscores=True)
    later = wire.decode(member.split(b"\n")[2], "work")
    assert later.id == new
    assert 14.9 < at - later.history[-1].at < 30.1


def test_a_stale_job_is_dropped_and_counted(place: Place) -> None:
    stale = place.enqueue("note", "stale", expires=0.001)
    fresh = place.enqueue("note", "fresh", expires=600)
    worker = place.worker("--burst")
    assert worker.ended() == 0
    assert place.runs() == {fresh: 1}
    assert place.store.counters()["expired"] == 1, stale
    assert place.left() == {}


def test_queues_are_emptied_in_the_order_given(place: Place) -> None:
    for n in range(20):
        place.enqueue("note", f"low-{n}", queue="low")
        place.enqueue("note", f"high-{n}", queue="high")
        place.enqueue("note", f"not-{n}", queue="not-mine")
    worker = place.worker("--queues", "high,low", "--burst", threads=1)
    assert worker.ended() == 0
    assert values(place) == [f"high-{n}" for n in range(20)] + [f"low-{n}" for n in range(20)]
    assert place.left() == {"ready": 20}


def test_a_queue_that_is_no_list_keeps_nobody_from_the_others(place: Place, server: Server) -> None:
    with server.client() as control:
        control.set("resque:queue:high", "no list")
    worker = place.worker("--queues", "high,work").ready()
    id = place.enqueue("note")
    eventually(lambda: place.runs()[id])
    worker.end()
    assert len(worker.said("holds something else")) <= 1


def test_a_delayed_job_runs_when_it_is_due_also_one_of_a_stock_producer(place: Place, server: Server) -> None:
    at = time.time() + 1
    ours = place.enqueue("note", "ours", at=at)
    with server.client() as control:
        second = str(int(at))
        control.rpush(f"resque:delayed:{second}", '{"class":"note","queue":"work","args":["theirs"]}')
        control.zadd("resque:delayed_queue_schedule", {second: int(second)})
    worker = place.worker()
    eventually(lambda: sorted(values(place)) == ["ours", "theirs"])
    assert time.time() >= at
    assert place.runs()[ours] == 1
    worker.end()


def test_an_idle_worker_picks_up_one_job_after_the_other_at_once(place: Place) -> None:
    worker = place.worker().ready()
    place.enqueue("note")
    eventually(lambda: len(place.trace()) == 1)
    took = []
    with Control() as control:
        for number in range(15):
            began = time.monotonic()
            place.enqueue("note")
            eventually(lambda n=number: len(place.trace()) == n + 2)
            took.append(time.monotonic() - began)
    # a few milliseconds, and up to five until this test looks; a missed wake costs a second, each time
    assert sorted(took)[7] < min(0.1 + control.unscheduled, 0.5), (took, control.unscheduled)
    worker.end()


@pytest.mark.parametrize("off", [7200, -7200])
def test_a_worker_whose_clock_is_wrong_puts_no_retry_off(place: Place, off: float) -> None:
    """Two hours ahead, a retry would be due in two hours; two hours behind, at once, whatever the back-off."""
    place.set_clock(off)
    place.enqueue("late")
    place.worker()
    first, second = eventually(lambda: runs if len(runs := place.trace()) == 2 else [])
    assert float(second.value) - float(first.value) >= 1.0
