"""The loop over one store, against everything that can come between: lost answers, outages, leases that end, slow jobs."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spoolq.errors import ConfigError, StoreUnavailable
from spoolq.journal import Journal
from spoolq.store.base import Claimed, Working
from spoolq.store.effects import Effects
from spoolq.store.sqlite import SQLiteStore
from tests.unit.hands import Rig, file, held, id_of, info, job, jobs, left
from tests.waiting import eventually

Make = Callable[..., Rig]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Rig] = []

    def one(**options: Any) -> Rig:
        made.append(Rig(tmp_path, **options))
        return made[-1]

    yield one
    for rig in made:
        rig.close()


def gone(rig: Rig) -> bool:
    """Nothing is left in the store, and nothing in our hands."""
    return rig.consumer.idle and not any(d.ready or d.claimed or d.scheduled for d in rig.real.depths())


def said(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and text in r.getMessage()]


def settled(rig: Rig) -> None:
    """All jobs ran once and are acknowledged."""
    eventually(lambda: gone(rig), what="everything acknowledged")
    assert Counter(rig.ran).most_common(1)[0][1] == 1


class Gate:
    """A task that says when it runs and waits until it may end."""

    def __init__(self) -> None:
        self.running, self.open = threading.Semaphore(0), threading.Event()
        self.count = 0

    def __call__(self, *args: Any) -> None:
        self.count += 1
        self.running.release()
        assert self.open.wait(60)

    def entered(self) -> None:
        assert self.running.acquire(timeout=40)


# the plain way


@pytest.mark.parametrize("threads", [1, 3])
def test_every_job_runs_once_in_order_and_is_counted(make: Make, threads: int) -> None:
    rig = make(threads=threads)
    rig.store.put(jobs(300))
    rig.start()
    settled(rig)
    assert sorted(rig.ran) == list(range(300))
    if threads == 1:
        assert rig.ran == list(range(300))
    assert dict(rig.real.counters()) == {"processed": 300, "processed:host:4242": 300}
    assert rig.points[:2] == ["registered", "claimed"]


@pytest.fixture
def no_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who isn't woken, or forgets to look, doesn't do so by itself after a second."""
    monkeypatch.setattr("spoolq.store.sqlite.store._SLOW_POLL", 60.0)
    monkeypatch.setattr("spoolq.consumer._LOOK", 60.0)


@pytest.mark.usefixtures("no_looks")
def test_an_idle_one_is_woken_by_a_job(make: Make) -> None:
    rig = make()
    rig.start()
    eventually(lambda: rig.store.calls["wait"])
    for number in range(5):
        rig.store.put([job(f"j{number}", args=(number,))])
        eventually(lambda n=number: rig.ran[-1:] == [n])
    settled(rig)


@pytest.mark.usefixtures("no_looks")
def test_a_look_asked_for_while_a_claim_is_under_way_is_not_lost(make: Make) -> None:
    """A burst that ended here waited for ever."""
    rig = make()
    claim, asked = rig.real.claim, threading.Event()
    numbers: list[int] = []

    def slow(*args: Any, **options: Any) -> Any:
        claimed = claim(*args, **options)
        if not asked.is_set():
            numbers.append(rig.consumer.look())
            asked.set()
        return claimed

    rig.real.claim = slow  # type: ignore[method-assign]
    rig.start()
    assert asked.wait(40)
    eventually(lambda: rig.consumer.looked(numbers[0]), what="a look that began after it was asked for")


def test_a_claim_that_left_some_for_their_size_is_no_sign_that_nothing_is_left(make: Make) -> None:
    """A burst would end in the middle of the queue."""
    rig = make()
    rig.real.put(jobs(10))
    real = rig.real.claim

    def few(worker: Any, call: int, queues: Any, limit: int, **options: Any) -> Any:
        claimed = real(worker, call, queues, min(limit, 1), **options)
        return claimed._replace(more=limit > 1 and len(claimed.claims) == 1)

    rig.real.claim = few  # type: ignore[method-assign]
    rig.consumer._mean = 1e-6  # it takes many at a time
    rig.start()
    settled(rig)
    assert rig.points.index("idle") > [i for i, point in enumerate(rig.points) if point == "claimed"][9]


def test_an_idle_one_asks_about_once_a_second(make: Make) -> None:
    rig = make()
    rig.start()
    waits = eventually(lambda: rig.store.calls["wait"])
    before = rig.store.calls["claim"]
    eventually(lambda: rig.store.calls["wait"] >= waits + 2)
    assert rig.store.calls["claim"] == before


def test_queues_in_their_order(make: Make) -> None:
    rig = make(queues=("high", "low"))
    rig.store.put([job(f"l{n}", queue="low", args=(f"l{n}",)) for n in range(3)])
    rig.store.put([job(f"h{n}", queue="high", args=(f"h{n}",)) for n in range(3)])
    rig.start()
    eventually(lambda: len(rig.ran) == 6)
    assert rig.ran == ["h0", "h1", "h2", "l0", "l1", "l2"]


def test_a_failing_job_is_tried_again_and_then_logged(make: Make) -> None:
    rig = make()
    attempts = []

    def broken() -> None:
        attempts.append(1)
        raise ValueError("no luck")

    rig.task("broken", broken, retries=1, backoff=lambda state: 0)
    rig.store.put([job("j1", "broken")])
    rig.start()
    eventually(lambda: rig.real.failures.count() == 1)
    assert len(attempts) == 2
    [failure] = rig.real.failures.page()
    assert (failure.id, failure.attempts, failure.error) == ("j1", 2, "no luck")
    eventually(lambda: gone(rig))


def test_an_unreadable_payload_at_the_head_blocks_nobody(make: Make) -> None:
    rig = make()
    rig.store.put([job("bad")._replace(payload=b"\xff{"), *jobs(3)])
    rig.start()
    eventually(lambda: len(rig.ran) == 3)
    eventually(lambda: rig.real.failures.count() == 1)
    assert rig.real.failures.page()[0].payload == b"\xff{"


# lost answers


def test_a_claim_whose_answer_is_lost_is_asked_for_again_under_its_number(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    rig = make(threads=2)
    rig.store.put(jobs(50))
    rig.store.inject("lost", "claim", times=3)
    rig.start()
    settled(rig)
    assert sorted(rig.ran) == list(range(50))
    assert dict(rig.real.counters())["processed"] == 50
    assert not said(caplog, "taken over")
    assert not said(caplog, "nobody here knows of")


def test_an_acknowledgement_whose_answer_is_lost_is_no_second_run(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    rig = make()
    gate = Gate()
    rig.task("gate", gate)
    rig.store.put([job("j1", "gate")])
    rig.start()
    gate.entered()
    rig.store.inject("lost", "claim")
    gate.open.set()
    eventually(lambda: gone(rig))
    assert gate.count == 1
    assert dict(rig.real.counters())["processed"] == 1
    assert not said(caplog, "taken over")


def test_random_lost_answers_of_every_verb_lose_and_repeat_nothing(make: Make) -> None:
    rig = make(threads=3)
    tried: Counter[int] = Counter()

    def sometimes(number: int) -> None:
        tried[number] += 1
        if number % 7 == 0 and tried[number] == 1:
            raise ValueError

    rig.task("sometimes", sometimes, retries=3, backoff=lambda state: 0)
    rig.store.put(jobs(200, "sometimes"))
    rig.start()
    for _ in range(4):
        rig.store.inject("lost", "claim", "retry", "reconcile", "release")
        eventually(lambda: rig.store.faults("claim") == 0)
    eventually(lambda: gone(rig), within=60)
    assert tried == {n: 2 if n % 7 == 0 else 1 for n in range(200)}


def test_a_call_that_came_too_late_is_made_anew(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    rig = make()
    rig.store.inject("late", "claim", times=2)
    rig.store.put(jobs(10))
    rig.start()
    settled(rig)
    assert sorted(rig.ran) == list(range(10))


def test_acknowledgements_of_a_late_call_are_not_lost(make: Make) -> None:
    rig = make()
    gate = Gate()
    rig.task("gate", gate)
    rig.store.put([job("j1", "gate")])
    rig.start()
    gate.entered()
    rig.store.inject("late", "claim", times=3)
    gate.open.set()
    eventually(lambda: gone(rig))
    assert dict(rig.real.counters()) == {"processed": 1, "processed:host:4242": 1}


def test_a_clock_that_is_off_for_good_makes_no_spin(make: Make) -> None:
    rig = make()
    rig.store.inject("late", "claim", times=-1)
    rig.start()
    began = time.monotonic()
    eventually(lambda: rig.store.calls["claim"] >= 10)
    assert time.monotonic() - began > 0.04


# outages


def test_results_are_kept_through_an_outage(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    rig = make(threads=2)
    gate = Gate()
    rig.task("gate", gate)
    rig.store.put([job("j1", "gate"), job("j2", "gate")])
    rig.start()
    gate.entered()
    gate.entered()
    rig.store.inject("refused", "claim", "retry", "fail", "release", "reconcile", "wait", times=-1)
    gate.open.set()
    eventually(lambda: rig.consumer.reach.available is False)
    eventually(lambda: rig.consumer.reach.failures >= 3)
    assert rig.consumer.owes
    assert rig.consumer.count == 2
    rig.store.inject("fit", "claim", "retry", "fail", "release", "reconcile", "wait")
    eventually(lambda: gone(rig))
    assert gate.count == 2
    assert rig.consumer.reach.available is True
    assert len(said(caplog, "nobody listens")) == 1
    assert len(said(caplog, "answers again")) == 1


def test_it_may_be_started_in_an_outage(make: Make) -> None:
    rig = make()
    rig.store.inject("refused", "claim", "wait", "reconcile", times=-1)
    rig.start()
    eventually(lambda: rig.consumer.reach.failures >= 2)
    rig.store.put(jobs(3))
    rig.store.inject("fit", "claim", "wait", "reconcile")
    settled(rig)
    assert "away" in rig.points


def test_after_an_outage_others_get_a_lease_s_time_before_they_are_rescued(make: Make) -> None:
    rig = make(lease=3.0)
    rig.store.inject("refused", "claim", times=-1)
    rig.start()
    eventually(lambda: rig.consumer.reach.available is False)
    assert rig.consumer.reach.hold_off > 0
    eventually(lambda: rig.consumer.reach.away_for > 1.1, what="an outage of more than a third of the lease")
    rig.store.inject("fit", "claim")
    eventually(lambda: rig.consumer.reach.available is True)
    assert 0 < rig.consumer.reach.hold_off <= 3.0
    eventually(lambda: rig.consumer.reach.hold_off <= 0)


def test_one_key_that_is_wrong_is_no_outage(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    rig = make()
    gate = Gate()
    rig.task("gate", gate)
    rig.store.put([job("j1", "gate")])
    rig.start()
    gate.entered()
    rig.store.inject("own", "claim", times=2)
    gate.open.set()
    eventually(lambda: gone(rig))
    assert rig.consumer.reach.available is True
    assert len(said(caplog, "holds something else")) == 1
    rig.store.put(jobs(3))
    eventually(lambda: len(rig.ran) == 3)


def test_a_store_that_never_answers_but_with_a_key_that_is_wrong_is_there_nonetheless(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    rig = make()
    rig.store.inject("own", "claim", times=-1)
    rig.start()
    eventually(lambda: rig.store.calls["claim"] >= 3)
    assert rig.consumer.reach.available is True
    assert rig.consumer.reach.hold_off <= 0, "dead workers' claims are taken over"
    assert len(said(caplog, "holds something else")) == 1
    rig.store.inject("fit", "claim")
    rig.store.put(jobs(2))
    settled(rig)
    assert rig.consumer.reach.refusal is None


def test_a_key_that_is_wrong_is_told_once_also_where_other_queues_have_jobs(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    rig = make()
    rig.start()
    for n in range(3):
        rig.store.inject("own", "claim")
        rig.consumer.wake()
        eventually(lambda: rig.store.faults("claim") == 0)
        rig.store.put([job(f"j{n}", args=(n,))])
        eventually(lambda n=n: len(rig.ran) == n + 1)
    assert len(said(caplog, "holds something else")) == 1


def test_a_claim_that_can_not_be_settled_holds_up_nobody(make: Make) -> None:
    rig = make()

    def broken() -> None:
        raise ValueError

    rig.task("broken", broken)
    rig.store.put([job("bad", "broken")])
    rig.store.inject("own", "retry", times=-1)
    rig.start()
    eventually(lambda: rig.store.calls["retry"] == 1)
    rig.store.put(jobs(20))
    eventually(lambda: len(rig.ran) == 20)
    eventually(lambda: held(rig.real) == 1 and rig.consumer.count == 1)


def test_waiting_that_fails_neither_stops_nor_spins(make: Make) -> None:
    for how in ("refused", "broken"):
        rig = make()
        rig.store.inject(how, "wait", times=-1)
        began = time.monotonic()
        rig.start()
        eventually(lambda r=rig: r.store.calls["wait"] >= 1)
        rig.store.put([job(f"after-{how}", args=(how,))])
        eventually(lambda r=rig, h=how: r.ran == [h])
        waits, claims = rig.store.calls["wait"], rig.store.calls["claim"]
        pauses = (time.monotonic() - began) / 0.25  # the shortest
        assert waits < 6 + pauses
        assert claims < 12 + 2 * pauses
        rig.close()


def test_an_error_of_our_own_is_shown_and_survived(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    rig = make()
    rig.store.inject("broken", "claim", times=1)
    rig.store.put(jobs(3))
    rig.start()
    settled(rig)
    assert "a mistake of ours" in caplog.text


def test_what_is_raised_where_another_error_is_handled_ends_no_thread(make: Make) -> None:
    class Forgetful:
        """A journal for which there is no memory."""

        count, times = 1, 3

        def keep(self, *args: Any, **options: Any) -> None:
            self.times -= 1
            if self.times >= 0:
                raise MemoryError

    rig = make(journal=Forgetful())
    rig.store.put(jobs(3))
    rig.start()
    settled(rig)
    assert rig.consumer.dead == []


def test_a_waiting_thread_that_is_struck_goes_on(make: Make) -> None:
    rig = make()
    wait, times = rig.real.wait, iter(range(2))

    def struck(*args: Any, **options: Any) -> Any:
        if next(times, None) is not None:
            raise KeyboardInterrupt  # any that is no Exception
        return wait(*args, **options)

    rig.store.wait = struck  # type: ignore[method-assign]
    rig.start()
    eventually(lambda: next(times, None) is None)
    rig.store.put(jobs(3))
    settled(rig)
    assert rig.consumer.dead == []


def test_a_store_that_is_set_up_wrongly_ends_it(make: Make) -> None:
    rig = make()

    def wrong(*args: Any, **kwargs: Any) -> Any:
        raise ConfigError("made by a newer spoolq")

    rig.store.claim = wrong  # type: ignore[method-assign]
    rig.start()
    eventually(lambda: rig.consumer.broken is not None)
    for thread in rig.consumer._threads:
        thread.join(40)
        assert not thread.is_alive()


# leases


def test_the_heartbeat_shows_what_runs_and_keeps_the_lease(make: Make) -> None:
    rig = make(lease=20.0)
    gate = Gate()
    rig.task("gate", gate)
    rig.store.put([job("j1", "gate")])
    rig.start()
    gate.entered()
    rig.consumer.reconciler.heartbeat()
    [view] = rig.real.workers()
    [working] = view.working
    assert isinstance(working, Working)
    assert (working.slot, id_of(working.claim)) == (0, "j1")
    assert abs(working.since - time.time()) < 30
    assert 0 < view.lease_left <= 20.0
    gate.open.set()
    eventually(lambda: gone(rig))


def test_the_effects_of_a_job_that_was_taken_over_do_not_happen_with_those_of_others(make: Make) -> None:
    rig = make(threads=2)
    gate, run = Gate(), rig.runner.run
    rig.task("gate", gate)
    rig.runner.run = lambda claim, *args: replace(  # type: ignore[method-assign, assignment]
        run(claim, *args), effects=Effects(counters=((f"of {id_of(claim)}", 1),))
    )
    rig.store.put([job("late", "gate"), job("kept", "gate")])
    rig.start()
    gate.entered()
    gate.entered()
    [late] = [claim for claim in rig.real.reconcile(info(), 1000) if id_of(claim) == "late"]
    rig.real.ack([late])
    gate.open.set()
    eventually(lambda: gone(rig))
    assert [name for name in rig.real.counters() if name.startswith("of ")] == ["of kept"]


def test_a_late_acknowledgement_is_fenced_with_one_line(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    rig = make(lease=0.1)
    gate = Gate()
    rig.task("gate", gate)
    rig.store.put([job("j1", "gate")])
    rig.start()
    gate.entered()
    other = info("other")
    [claim] = eventually(lambda: rig.real.rescue(other, 10))
    gate.open.set()
    eventually(lambda: said(caplog, "taken over"))
    eventually(lambda: rig.consumer.idle)
    rig.consumer.reconciler.heartbeat()
    assert len(said(caplog, "taken over")) == 1
    rig.real.ack([claim])
    assert "processed" not in rig.real.counters()


def test_a_heartbeat_finds_out_what_was_taken_over_and_the_late_result_is_dropped(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    rig = make(lease=0.1)
    gate = Gate()
    rig.task("gate", gate)
    rig.store.put([job("j1", "gate")])
    rig.start()
    gate.entered()
    other = info("other")
    [claim] = eventually(lambda: rig.real.rescue(other, 10))
    eventually(lambda: rig.consumer.reconciler.heartbeat() or said(caplog, "taken over"))
    assert rig.consumer.count == 0
    assert rig.consumer.working == []
    reconciler = rig.consumer.reconciler
    reconciler._worker = replace(rig.info, lease=60.0)  # from here on it lasts: what is compared is so for no other reason

    def lasts() -> bool:
        reconciler.heartbeat()
        return not (reconciler.due or reconciler.lapsed) and rig.consumer._resting() is not None

    eventually(lasts)
    before = rig.store.calls["reconcile"]
    for _ in range(5):
        rig.consumer.reconciler.heartbeat()
    assert rig.store.calls["reconcile"] == before, "what is lost is known, and compared no more"
    gate.open.set()
    rig.store.put(jobs(1))
    eventually(lambda: rig.ran == [0])
    assert len(said(caplog, "taken over")) == 1
    rig.real.ack([claim])


def test_claims_that_nobody_knows_of_are_found_and_put_back(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    rig = make()
    rig.start()
    eventually(lambda: rig.consumer.idle and rig.store.calls["wait"])
    rig.store.put([job("j1", queue="other")])
    [orphan] = rig.real.claim(rig.info, 1_000_000, ["other"], 1).claims
    rig.consumer._number = 1_000_000
    eventually(lambda: rig.consumer.reconciler.heartbeat() or said(caplog, "nobody here knows of"))
    eventually(lambda: held(rig.real) == 0)
    assert left(rig.real, "other") == ["j1"]
    assert orphan.worker == "w"


def test_a_busy_worker_compares_its_claims_too(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = make()
    gate = Gate()
    rig.task("gate", gate)
    rig.store.put([job("j1", "gate")])
    rig.start()
    gate.entered()
    monkeypatch.setattr(rig.consumer.reconciler, "_resting", lambda: None)  # as if each came in the middle of a turn
    for _ in range(10):
        rig.consumer.reconciler.heartbeat()
    rig.consumer.wake()
    eventually(lambda: rig.store.calls["reconcile"] == 1)
    gate.open.set()
    eventually(lambda: gone(rig))


def test_what_was_claimed_before_the_lease_ended_is_not_begun_after_it(make: Make) -> None:
    """As after a SIGSTOP: somebody else may run those by now."""
    rig = make()
    gate = Gate()
    rig.task("gate", gate)
    rig.store.put([job("j1", "gate"), *jobs(5)])
    rig.consumer._mean = 0.0001  # it was fast until now: more is claimed than can be begun
    rig.start()
    gate.entered()
    eventually(lambda: rig.consumer._hold.unbegun or held(rig.real) == 1)
    rig.consumer._hold.good_until = time.monotonic() - 1
    rig.consumer.wake()
    eventually(lambda: held(rig.real) == 1)
    assert rig.ran == []
    gate.open.set()
    settled(rig)
    assert sorted(rig.ran) == [0, 1, 2, 3, 4]


# fairness


def test_a_slow_job_holds_up_no_claims(make: Make) -> None:
    rig = make(threads=2)
    gate = Gate()
    rig.task("gate", gate)
    rig.store.put([*jobs(40), job("slow", "gate"), *[job(f"k{n}", args=(100 + n,)) for n in range(60)]])
    rig.start()
    gate.entered()
    eventually(lambda: len(rig.ran) == 100)
    eventually(lambda: held(rig.real) == 1, what="only the slow job is still held")
    gate.open.set()
    settled(rig)


def test_a_thread_is_fed_though_all_others_have_more_to_do_than_they_can_begin(make: Make) -> None:
    """It waited 50 ms each time, with a queue full of jobs."""
    rig, gate = make(threads=4), Gate()
    rig.task("slow", gate)
    rig.consumer._mean = 0.005 / 26.5  # it takes as many as it may: 26 for each thread
    now = time.monotonic()
    rig.consumer._clock = lambda: now  # so that no time passes in which it would claim, or put back, for that alone
    order = [job(f"j{n:04}", "slow" if n in (0, 26, 52) else "note", args=(n,)) for n in range(400)]
    rig.real.put(order)
    rig.start()
    for _ in range(3):
        gate.entered()
    behind = {n for start in (0, 26, 52) for n in range(start, start + 26)}
    eventually(lambda: set(rig.ran) >= set(range(400)) - behind, what="the jobs of the one thread that is free")
    gate.open.set()


def test_what_lies_behind_a_slow_job_is_for_the_threads_that_have_nothing_to_do(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoolq.consumer._STALLED", 60.0)  # it is not put back for that
    rig, gate = make(threads=4), Gate()
    rig.task("slow", gate)
    rig.consumer._mean = 1e-6  # one thread is given all
    rig.store.put([job("a", "slow"), *jobs(90)])
    rig.start()
    gate.entered()
    eventually(lambda: len(rig.ran) == 90, within=20)
    assert not rig.store.calls["release"]
    gate.open.set()
    settled(rig)
    assert sorted(rig.ran) == list(range(90))


def test_a_store_that_does_not_answer_keeps_no_thread_from_what_lies_behind_a_slow_job(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, gate, answers = make(threads=4), Gate(), threading.Event()
    rig.task("slow", gate)
    rig.consumer._mean = 1e-6  # one thread is given all
    real, calls = rig.real.claim, list[int]()

    def claim(*args: Any, **options: Any) -> Claimed:
        calls.append(1)
        if len(calls) == 2:
            answers.wait(60)
        return real(*args, **options)

    def ask_again(point: str) -> None:
        if len(calls) == 1:
            rig.consumer.reach.suspect = True
            rig.consumer.wake()

    monkeypatch.setattr(rig.real, "claim", claim)
    rig.consumer._hook = ask_again
    rig.store.put([job(f"j{n}", "slow") for n in range(4)])
    rig.start()
    for _ in range(4):
        gate.entered()
    eventually(lambda: len(calls) == 2)
    answers.set()
    gate.open.set()
    eventually(lambda: gone(rig))
    assert gate.count == 4


def test_what_no_thread_can_begin_is_put_back_for_other_workers(make: Make) -> None:
    rig = make(threads=2)
    gate = Gate()
    rig.task("gate", gate)
    rig.store.put([*jobs(40), job("s1", "gate"), job("s2", "gate"), *[job(f"k{n:02}", args=(100 + n,)) for n in range(60)]])
    rig.start()
    gate.entered()
    gate.entered()
    eventually(lambda: held(rig.real) == 2)
    others = left(rig.real)
    assert others == sorted(others)
    claims = rig.store.calls["claim"]
    eventually(lambda: rig.store.calls["heartbeat"] or rig.consumer.reconciler.heartbeat() or True)
    assert rig.store.calls["claim"] - claims < 5, "what was put back is not fetched again for busy threads"
    gate.open.set()
    settled(rig)
    assert len(rig.ran) == 100


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("most", [0, 7])
def test_the_store_never_holds_more_for_it_than_its_threads_and_what_it_may_take_beyond(
    make: Make, monkeypatch: pytest.MonkeyPatch, most: int, late: bool
) -> None:
    """`late`: all that it has ends after it last looked, and is not acknowledged with the next claim."""
    rig = make(threads=2, max_prefetch=most)
    hold, send, may_end = rig.consumer._hold, rig.consumer._settler.send, threading.Event()

    def end_all() -> None:
        may_end.set()
        eventually(lambda: not (hold.unbegun or hold.working))
        may_end.clear()
        send()

    def ends(number: int) -> None:
        assert may_end.wait(60)
        rig.ran.append(number)

    rig.task("ends", ends)
    if late:
        monkeypatch.setattr(rig.consumer._settler, "send", end_all)
    rig.real.put(jobs(*(60, "ends") if late else (200, "note")))
    claim, seen = rig.real.claim, list[int]()

    def looked_at(*args: Any, **options: Any) -> Any:
        claimed = claim(*args, **options)
        seen.append(held(rig.real))
        return claimed

    rig.real.claim = looked_at  # type: ignore[method-assign]
    rig.consumer._mean = 1e-6  # it takes as many as it may
    rig.start()
    settled(rig)
    assert max(seen) == 2 + most


def test_slow_jobs_are_claimed_one_for_each_thread(make: Make) -> None:
    rig = make(threads=2)
    gate = Gate()
    rig.task("gate", gate)
    rig.store.put(jobs(10, "gate"))
    rig.start()
    gate.entered()
    gate.entered()
    assert held(rig.real) == 2
    gate.open.set()
    eventually(lambda: gone(rig))


# pauses and the end


def test_paused_it_takes_nothing_and_resumed_it_goes_on(make: Make) -> None:
    rig = make()
    rig.start()
    eventually(lambda: rig.store.calls["wait"])
    rig.consumer.pause(True)
    rig.store.put(jobs(3))
    eventually(lambda: rig.store.calls["wait"] and not rig.consumer._nothing.is_set())
    before = rig.store.calls["claim"]
    rig.consumer.wake()
    assert rig.store.calls["claim"] == before
    rig.consumer.pause(False)
    settled(rig)


def test_at_the_end_what_was_not_begun_is_back_in_order_and_not_counted(make: Make) -> None:
    rig = make()
    gate = Gate()
    rig.task("gate", gate)
    rig.store.put([job("a1", "gate"), *jobs(50)])
    rig.consumer._mean = 0.0001
    rig.start()
    gate.entered()
    rig.consumer.stop_claiming()
    eventually(lambda: held(rig.real) == 1)
    assert left(rig.real) == [f"j{n:04}" for n in range(50)]
    gate.open.set()
    eventually(lambda: rig.consumer.count == 0)
    rig.consumer.end()
    assert rig.consumer.join(40)
    claims = rig.real.claim(info("next"), 1, ["q"], 100).claims
    assert [json.loads(claim.payload).get("attempt", 0) for claim in claims] == [0] * 50
    assert rig.ran == []


def test_at_the_end_what_still_runs_is_put_back_and_its_late_result_counts_for_nothing(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    rig = make(threads=2)
    gate = Gate()
    rig.task("gate", gate)
    rig.store.put([job("a1", "gate"), job("a2", "gate")])
    rig.start()
    gate.entered()
    gate.entered()
    rig.consumer.stop_claiming()
    rig.consumer.end()
    assert rig.consumer.join(40)
    assert left(rig.real) == ["a1", "a2"]
    assert len(said(caplog, "still run after the grace")) == 1
    gate.open.set()
    eventually(lambda: not rig.crew.runs)
    assert rig.consumer.count == 0
    assert left(rig.real) == ["a1", "a2"]


def test_an_end_in_the_middle_of_an_outage_hangs_on_nothing(make: Make) -> None:
    rig = make()
    gate = Gate()
    rig.task("gate", gate)
    rig.store.put([job("a1", "gate")])
    rig.start()
    gate.entered()
    rig.store.inject("refused", "claim", "release", "reconcile", times=-1)
    rig.consumer.stop_claiming()
    rig.consumer.end()
    assert not rig.consumer.join(40)
    assert not rig.consumer._threads[0].is_alive()
    gate.open.set()


def test_a_claim_with_a_lost_answer_is_asked_for_and_put_back_at_the_end(make: Make) -> None:
    rig = make()
    rig.store.inject("lost", "claim", times=4)
    rig.store.put(jobs(5))
    rig.start()
    eventually(lambda: rig.store.calls["claim"] >= 1)
    rig.consumer.stop_claiming()
    eventually(lambda: rig.consumer._call is None)  # first: until it was answered nothing may be held yet
    eventually(lambda: held(rig.real) == 0)
    assert left(rig.real) == [f"j{n:04}" for n in range(5)]


# rescued claims


def abandoned(rig: Rig, count: int) -> None:
    """A worker claims so many and dies."""
    dead = info("dead", lease=0.05)
    rig.real.put(jobs(count))
    assert len(rig.real.claim(dead, 1, ["q"], count).claims) == count


def test_rescued_claims_run_again_with_an_attempt_counted(make: Make) -> None:
    rig = make()
    attempts: list[int] = []
    abandoned(rig, 3)
    rig.start()
    eventually(lambda: rig.consumer.reconciler.rescue(10))
    eventually(lambda: sum(depth.scheduled for depth in rig.real.depths()) == 3)
    assert dict(rig.real.counters()) == {"retried": 3}
    assert rig.consumer._mean is None, "they say nothing of how long jobs take"
    assert attempts == []


def test_a_rescue_whose_answer_is_lost_still_counts_as_an_attempt(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    rig = make()
    abandoned(rig, 3)
    rig.start()
    eventually(lambda: rig.consumer.idle)
    rig.store.inject("lost", "rescue", times=-1)
    eventually(lambda: rescued(rig) and held(rig.real) == 0)
    rig.store.inject("fit", "rescue")
    eventually(lambda: sum(depth.scheduled for depth in rig.real.depths()) == 3)
    assert rig.ran == []


def rescued(rig: Rig) -> bool:
    try:
        rig.consumer.reconciler.rescue(10)
    except StoreUnavailable:
        return True
    return False


def test_rescuing_beside_heartbeats_and_comparisons_confuses_nobody(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    rig = make(threads=2)
    rig.start()
    for turn in range(10):
        dead = info(f"dead-{turn}", lease=0.01)
        rig.real.put([job(f"d{turn}-{n}", "unknown", "theirs") for n in range(3)])
        rig.real.claim(dead, 1, ["theirs"], 3)
        rig.consumer.reconciler.due = True
        eventually(lambda: rig.consumer.reconciler.rescue(10) or rig.consumer.reconciler.heartbeat())
        rig.consumer.reconciler.heartbeat()
    eventually(lambda: rig.consumer.count == 0 and held(rig.real) == 0)
    assert not said(caplog, "nobody here knows of")


def test_an_outage_is_noticed_though_every_thread_is_busy(make: Make) -> None:
    """By its heartbeats: it asks for no more jobs meanwhile. Else it would rescue at once when the outage is over."""
    rig = make(lease=3.0)
    gate = Gate()
    rig.task("gate", gate)
    rig.store.put([job("j1", "gate")])
    rig.start()
    gate.entered()
    rig.store.inject("refused", "claim", "heartbeat", "reconcile", times=-1)
    with pytest.raises(StoreUnavailable):
        rig.consumer.reconciler.heartbeat()
    eventually(lambda: rig.consumer.reach.available is False)
    eventually(lambda: rig.consumer.reach.away_for > 1.1, what="an outage of more than a third of the lease")
    rig.store.inject("fit", "claim", "heartbeat", "reconcile")
    eventually(lambda: rig.consumer.reach.available is True)
    assert rig.consumer.reach.hold_off > 0
    gate.open.set()
    eventually(lambda: gone(rig))


def test_a_last_settling_whose_answer_is_lost_is_told_again(make: Make) -> None:
    rig = make()
    gate = Gate()
    rig.task("gate", gate)
    rig.store.put([job("a1", "gate")])
    rig.start()
    gate.entered()
    rig.store.inject("refused", "release", times=2)
    rig.consumer.stop_claiming()
    rig.consumer.end()
    assert rig.consumer.join(40)
    assert left(rig.real) == ["a1"]
    gate.open.set()


def test_after_a_lapsed_lease_fresh_claims_are_kept_and_run(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the second outage of a worker: it was not heard of in the spool for long."""
    monkeypatch.setattr("spoolq.consumer._STALLED", 60.0)  # nor put back for want of a core
    rig = make()
    rig.start()
    eventually(lambda: rig.consumer.idle and rig.store.calls["wait"])
    rig.consumer._hold.good_until = time.monotonic() - 100
    rig.store.put(jobs(20))
    settled(rig)
    assert rig.store.calls["reconcile"] == 1
    assert rig.store.calls["release"] == 0


# what the store can't be told, written down


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[SQLiteStore]:
    store = file(tmp_path / "spool.db", role="spool")
    yield store
    store.close()


def written(spool: SQLiteStore) -> int:
    return spool.info().settlements


def fails(number: int) -> None:
    raise ValueError(number)


def away(rig: Rig) -> None:
    rig.store.inject("refused", "claim", "retry", "fail", "release", "reconcile", times=-1)


def back(rig: Rig) -> None:
    rig.store.inject("fit", "claim", "retry", "fail", "release", "reconcile")


def test_what_an_outage_keeps_from_being_told_is_written_down_until_it_was(make: Make, spool: SQLiteStore) -> None:
    gate = Gate()
    rig = make(threads=3, journal=Journal(spool.settlements, "w"))
    rig.task("gate", gate)
    rig.task("fails", lambda number: (gate(), fails(number)), retries=0)
    rig.store.put([job("a", "gate"), job("b", "gate"), job("c", "fails", args=(1,))])
    rig.start()
    for _ in range(3):
        gate.entered()
    away(rig)
    gate.open.set()
    eventually(lambda: rig.consumer.written_down == 3, what="a journal of three outcomes")
    assert written(spool) == 3
    assert spool.settlements.take("x", 10, 1.0) == [], "its writer lives"
    back(rig)
    eventually(lambda: gone(rig) and not written(spool), what="all told, and struck out")
    assert (gate.count, rig.real.failures.count(), dict(rig.real.counters())["processed"]) == (3, 1, 2)


def test_an_outage_of_a_moment_writes_nothing(make: Make, spool: SQLiteStore) -> None:
    rig = make(journal=Journal(spool.settlements, "w"))
    rig.store.put(jobs(20))
    rig.store.inject("refused", "claim", times=2)
    rig.start()
    settled(rig)
    assert not (Path(spool.path).exists() and written(spool))


def test_what_is_refused_for_its_own_sake_is_written_down_and_no_more_than_that(make: Make, spool: SQLiteStore) -> None:
    rig = make(threads=2, journal=Journal(spool.settlements, "w"))
    rig.task("fails", fails, retries=0)
    rig.store.inject("own", "fail", times=-1)
    rig.store.put([job("f", "fails", args=(1,)), *jobs(50)])
    rig.start()
    eventually(lambda: sorted(rig.ran) == list(range(50)) and written(spool) == 1)
    rig.store.inject("fit", "fail")
    eventually(lambda: gone(rig) and not written(spool), within=60)
    assert rig.real.failures.count() == 1


def at_gates(make: Make, spool: SQLiteStore) -> tuple[Rig, Gate, Gate]:
    """One with a journal, and two jobs that run until their gates are opened."""
    first, second = Gate(), Gate()
    rig = make(threads=2, journal=Journal(spool.settlements, "w"))
    rig.task("first", first)
    rig.task("second", second)
    rig.store.put([job("a", "first"), job("b", "second")])
    rig.start()
    for gate in (first, second):
        gate.entered()
    return rig, first, second


def test_at_the_end_all_that_could_not_be_told_is_anybody_s(make: Make, spool: SQLiteStore) -> None:
    """What was done, what still runs and what nobody has begun."""
    rig, first, second = at_gates(make, spool)
    away(rig)
    first.open.set()
    eventually(lambda: written(spool) == 1)
    rig.consumer.stop_claiming()
    rig.consumer.end()
    assert not rig.consumer.join(40.0)
    found = spool.settlements.take("x", 10, 1.0)
    assert sorted(one.verb for one in found) == ["ack", "release"]
    second.open.set()


def test_what_ended_behind_a_call_that_is_not_answered_is_written_down_at_the_end_too(make: Make, spool: SQLiteStore) -> None:
    rig, first, second = at_gates(make, spool)
    rig.store.inject("lost", "claim", times=-1)
    first.open.set()
    eventually(lambda: rig.consumer.reach.available is False)
    second.open.set()
    eventually(lambda: not rig.consumer.working)
    rig.consumer.end()
    assert not rig.consumer.join(40.0)
    assert [one.verb for one in spool.settlements.take("x", 10, 1.0)] == ["ack", "ack"]
    assert held(rig.real) == 1, "the one was told, though no answer came"


def test_what_is_put_back_unbegun_does_not_count_as_run(make: Make) -> None:
    """Quick jobs are claimed ahead; then one is slow, and what waits behind it goes back. So many are run all the same."""
    gate = Gate()
    rig = make(most=60)
    rig.task("slow", gate)
    rig.real.put([*jobs(30), job("slow", "slow"), *[job(f"k{n}", args=(n,)) for n in range(60)]])
    rig.start()
    eventually(lambda: gate.running.acquire(blocking=False))
    eventually(lambda: held(rig.real) == 1, what="the rest put back")
    gate.open.set()
    eventually(lambda: rig.consumer.ran == 60 and held(rig.real) == 0, what="sixty jobs run")


def test_each_job_that_is_done_is_told_of_where_all_is_logged(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "spoolq")
    rig = make()
    rig.store.put(jobs(2))
    rig.start()
    settled(rig)
    told = [record.getMessage() for record in caplog.records if " was processed, after " in record.getMessage()]
    assert sorted(line.partition("job ")[2].partition(" was")[0] for line in told) == [
        "j0000 (note, queue q)",
        "j0001 (note, queue q)",
    ]
