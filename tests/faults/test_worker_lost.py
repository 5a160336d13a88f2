"""Answers to a worker that are cut, spoilt or late: no job runs twice for it, no claim is orphaned, no failure is written twice.

The control stands first: the same cut loses claims for a worker that doesn't repeat its call under the same number.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolq.errors import StoreUnavailable
from spoolq.store.base import WorkerInfo
from spoolq.store.redis.scripts import script
from tests.faults.working import Place, Worker, at, failures
from tests.proxy import Action, Proxy
from tests.servers import Server
from tests.waiting import eventually

CUTS: list[Action] = ["cut_before", "cut_inside", "cut_reply", "part_reply", "garbage", "wrong_type"]


@pytest.fixture
def proxied(server: Server, tmp_path: Path) -> Iterator[tuple[Place, Proxy]]:
    """Workers behind a proxy; the test itself asks the server."""
    with Proxy(server.port) as proxy, at(tmp_path, server.url, deadline=20.0) as place:  # no job may go to the test's own spool
        place.environment["SPOOLQ_URL"] = proxy.url
        place.environment["SPOOLQ_SPOOL"] = str(tmp_path / "workers-spool.db")
        yield place, proxy


def idle(place: Place) -> Worker:
    worker = place.worker(threads=1).ready()
    eventually(lambda: place.store.workers())
    eventually(lambda: place.store._command(b"EXISTS", b"resque:spoolq:idle:work"))  # type: ignore[attr-defined]
    return worker


def needle(name: str) -> bytes:
    return script(name).sha


def test_the_control_a_worker_that_counts_on_orphans_the_claims(proxied: tuple[Place, Proxy], tmp_path: Path) -> None:
    place, proxy = proxied
    with at(tmp_path, proxy.url) as careless:
        who = WorkerInfo("careless", "host", 1, ("work",))
        careless.store.claim(who, 1, ("work",), 10)
        place.enqueue("note")
        rule = proxy.rule(needle("claim"), "cut_reply")
        with pytest.raises(StoreUnavailable):
            careless.store.claim(who, 2, ("work",), 10)
        rule.wait()
        assert careless.store.claim(who, 3, ("work",), 10).claims == ()
        assert careless.store.heartbeat(who) == 1, "held for ever by a worker that knows nothing of it"
        careless.store.unregister(who)


@pytest.mark.parametrize("action", CUTS)
def test_a_claim_whose_answer_does_not_come_is_repeated(action: Action, proxied: tuple[Place, Proxy]) -> None:
    place, proxy = proxied
    worker = idle(place)
    rule = proxy.rule(needle("claim"), action)
    id = place.enqueue("note")
    rule.wait()
    place.done()
    assert place.runs() == {id: 1}
    assert {line.attempt for line in place.trace()} == {0}
    worker.end()
    assert not worker.said("nobody here knows of")


@pytest.mark.parametrize("action", CUTS)
def test_an_acknowledgement_whose_answer_does_not_come_is_repeated(action: Action, proxied: tuple[Place, Proxy]) -> None:
    place, proxy = proxied
    id = place.enqueue("hold")
    worker = place.worker(threads=1)
    place.begun()
    rule = proxy.rule(needle("claim"), action)
    place.open_gate()
    rule.wait()
    place.done()
    worker.end()
    assert place.runs() == {id: 1}
    assert place.store.counters()["processed"] == 1
    assert not worker.said("taken over")


@pytest.mark.parametrize("verb", ["retry", "fail"])
def test_a_failure_s_settling_whose_answer_is_lost_happens_once(verb: str, proxied: tuple[Place, Proxy], server: Server) -> None:
    place, proxy = proxied
    worker = idle(place)
    rule = proxy.rule(needle(verb), "cut_reply")
    id = place.enqueue("broken")
    rule.wait()
    eventually(lambda: len(failures(server)) == 1)
    place.done()
    worker.end()
    assert place.runs() == {id: 2}
    assert len(failures(server)) == 1
    assert place.store.counters()["failed"] == 1


def test_what_is_put_back_at_the_end_is_there_once_though_the_answer_is_lost(proxied: tuple[Place, Proxy]) -> None:
    place, proxy = proxied
    place.enqueue("hold")
    worker = place.worker("--grace", "0.1s", threads=1)
    place.begun()
    rule = proxy.rule(needle("release"), "cut_reply", times=2)  # the first may only have said that it knows no such script
    worker.end()
    rule.wait(2)
    assert place.left() == {"ready": 1}


def test_a_rescue_whose_answer_is_lost_is_found_out(proxied: tuple[Place, Proxy]) -> None:
    place, proxy = proxied
    ids = [place.enqueue("hold", n) for n in range(2)]
    first = place.worker(LEASE="1s")
    place.begun(2)
    first.kill()
    place.open_gate()
    rule = proxy.rule(needle("rescue"), "cut_reply")
    second = place.worker(LEASE="1s")
    rule.wait()
    place.done()
    second.end()
    assert place.runs() == dict.fromkeys(ids, 1)
    assert {line.attempt for line in place.trace()} == {1}


def test_a_connection_that_is_cut_again_and_again_loses_and_repeats_nothing(proxied: tuple[Place, Proxy]) -> None:
    place, proxy = proxied
    worker = place.worker(threads=4).ready()
    ids = []
    for turn in range(6):
        rule = proxy.rule(needle("claim"), "cut_reply")
        ids += [place.enqueue("note", turn) for _ in range(50)]
        rule.wait()
    place.done()
    worker.end()
    assert place.runs() == dict.fromkeys(ids, 1)
    assert place.store.counters()["processed"] == len(ids)


def test_a_server_frozen_around_each_claim_whose_answer_is_then_lost(proxied: tuple[Place, Proxy], server: Server) -> None:
    """It gets the call while it is stopped, takes and settles when it goes on, and its answer reaches nobody."""
    place, proxy = proxied
    worker = place.worker(threads=1).ready()
    ids = []
    for turn in range(5):
        gate = f"gate-{turn}"
        ids.append(place.enqueue("gated", gate))
        place.begun(turn + 1)
        ids += [place.enqueue("note", n) for n in range(5)]
        eventually(lambda: place.store.workers()[0].working, what="the heartbeat, whose connection the claim is to use")
        server.stop()
        try:
            rule = proxy.rule(needle("claim"), "cut_reply")
            (place.folder / gate).touch()
            rule.wait()
        finally:
            server.cont()
        eventually(lambda n=turn: len(place.trace()) == 6 * (n + 1), what="all jobs of this turn")
    place.done()
    worker.end()
    assert place.runs() == dict.fromkeys(ids, 1)
    assert {line.attempt for line in place.trace()} == {0}
    assert place.store.counters()["processed"] == len(ids)
    assert not worker.said("nobody here knows of")
