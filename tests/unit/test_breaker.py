from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spoolq.breaker import LASTING, OWN, UNCONFIRMED, Breaker
from spoolq.hint import FRESH, Hint
from spoolq.store.redis import outcomes
from tests.clock import Clock


def test_it_opens_at_the_first_failure_and_keeps_the_time_of_that_one():
    times = iter([10.0, 20.0])
    breaker = Breaker(clock=lambda: next(times))
    assert breaker.allows()
    breaker.failed("refused")
    breaker.failed("timeout")
    assert not breaker.allows()
    assert (breaker.open_since, breaker.reason) == (10.0, "timeout")


def test_success_closes_it_and_each_transition_is_told_once():
    told: list[tuple[bool, str]] = []
    breaker = Breaker(clock=lambda: 1.0, changed=lambda open, reason: told.append((open, reason)))
    breaker.succeeded()
    breaker.failed("oom")
    breaker.failed("oom")
    breaker.succeeded()
    breaker.succeeded()
    assert breaker.allows()
    assert breaker.reason is None
    assert told == [(True, "oom"), (False, "oom")]


def test_a_forked_child_keeps_the_state_but_not_the_lock():
    breaker = Breaker(clock=lambda: 1.0)
    breaker.failed("refused")
    breaker._lock.acquire()  # as if another thread of the parent held it at the fork
    breaker.after_fork()
    breaker.succeeded()
    assert breaker.allows()


# what the processes of one host tell each other


@pytest.fixture
def process(tmp_path: Path, clock: Clock) -> Callable[..., Breaker]:
    """Make the breaker of one more process of the host."""

    def make(**options: Any) -> Breaker:
        hint = Hint(lambda: ([str(tmp_path)], "outage.json"), monotonic=clock)
        return Breaker(hint=hint, monotonic=clock, **options)

    return make


def test_what_one_process_finds_out_the_others_know_with_its_reason_and_since_when(process, clock):
    first, second = process(clock=lambda: 77.0), process()
    assert second.allows()
    first.failed("timeout")
    clock.later(0.1)
    assert not second.allows()
    assert (second.reason, second.open_since) == ("timeout", 77.0)


def test_one_answered_probe_closes_it_for_everybody(process, clock):
    told: list[tuple[bool, str]] = []
    first, second, third = process(), process(), process(changed=lambda open, reason: told.append((open, reason)))
    first.failed("timeout")
    clock.later(0.1)
    assert not third.allows()
    clock.later(0.1)
    second.allows()
    second.succeeded()
    clock.later(0.1)
    assert third.allows()
    assert first.allows()
    assert told == [(True, "timeout"), (False, "timeout")]


def test_a_failure_after_anothers_answer_is_not_closed_by_it(process, clock):
    first, second = process(), process()
    first.failed("refused")
    clock.later(0.1)
    second.allows()
    second.succeeded()
    clock.later(0.1)
    first.failed("refused")
    clock.later(0.1)
    assert not first.allows()


@pytest.mark.parametrize("reason", sorted(OWN))
def test_a_fault_that_may_be_of_this_process_alone_is_not_told_and_not_ended_by_others(process, clock, reason):
    first, second = process(), process()
    first.failed(reason)
    clock.later(0.1)
    assert second.allows()
    second.failed("timeout")
    clock.later(0.1)
    second.succeeded()
    clock.later(0.1)
    assert not first.allows()


def test_every_reason_that_is_treated_apart_is_one_that_a_store_gives():
    table = {reason.word for reason in vars(outcomes).values() if isinstance(reason, outcomes.Reason)}
    table |= {reason.word for each in (outcomes.BY_CODE, outcomes.BY_CLASS, outcomes.BY_ERRNO) for reason in each.values()}
    table |= {reason.word for _, reason in outcomes.BY_TEXT}
    assert table >= OWN >= LASTING


def test_an_outage_whose_processes_are_all_gone_is_forgotten(process, clock):
    process().failed("timeout")
    clock.later(FRESH + 0.1)
    assert process().allows()


def test_who_heard_of_it_asks_again_when_nobody_confirms_it_any_more(process, clock):
    told: list[tuple[bool, str]] = []
    first, asks = process(), process(changed=lambda open, reason: told.append((open, reason)))
    first.failed("timeout")
    for _ in range(3):
        clock.later(FRESH - 0.1)
        first.failed("timeout")
        assert not asks.allows()
    clock.later(FRESH + 0.1)
    assert asks.allows()
    assert told == [(True, "timeout"), (False, UNCONFIRMED)]
    assert not first.allows(), "it met the outage itself: only an answer ends it"
    first.failed("timeout")
    clock.later(0.1)
    assert not asks.allows()


def test_a_forked_child_asks_for_itself_when_its_parent_is_not_heard_of(process, clock):
    parent = process()
    parent.failed("timeout")
    parent.after_fork()
    clock.later(FRESH - 0.1)
    assert not parent.allows()
    clock.later(0.2)
    assert parent.allows()


def test_an_outage_that_goes_on_is_confirmed_by_each_probe_that_fails(process, clock):
    prober = process()
    for _ in range(10):
        prober.failed("timeout")
        clock.later(FRESH / 2)
        assert not process().allows()


def test_who_heard_of_an_outage_and_finds_none_closes_it_and_is_hard_of_hearing_for_a_while(process, clock):
    """A process that is starved, or has a deadline that it can't keep, must not keep the others from Redis."""
    starved, well = process(), process()
    spooling = 0
    for _ in range(600):  # a minute: the one fails whenever it is allowed to ask, the other's probes are answered at once
        if starved.allows():
            starved.failed("timeout")
        clock.later(0.05)
        if not well.allows():
            spooling += 1
            well.succeeded()
        clock.later(0.05)
    assert 1 <= spooling <= 12


def test_hearsay_that_proved_true_is_believed_again_at_once(process, clock):
    first, second = process(), process()
    first.failed("timeout")
    clock.later(0.1)
    second.allows()
    second.succeeded()  # deaf now
    clock.later(0.1)
    second.failed("timeout")  # its own call: there is an outage
    clock.later(0.1)
    second.succeeded()
    clock.later(0.1)
    first.failed("timeout")
    clock.later(0.1)
    assert second._deaf == 0.0
    clock.later(1.0)
    first.failed("timeout")
    clock.later(2.0)
    first.failed("timeout")
    clock.later(0.1)
    assert not second.allows()


def test_without_a_place_for_the_hint_each_finds_out_by_itself(clock):
    def make() -> Breaker:
        return Breaker(hint=Hint(lambda: ([], "outage.json"), monotonic=clock), monotonic=clock)

    first, second = make(), make()
    first.failed("timeout")
    clock.later(0.1)
    assert not first.allows()
    assert second.allows()
    first.succeeded()
    assert first.allows()


def test_a_healthy_primary_costs_one_look_in_ten_milliseconds(process, clock, monkeypatch):
    breaker = process()
    looks = []
    monkeypatch.setattr(breaker._hint, "news", lambda: looks.append(clock.now))
    for _ in range(1000):
        breaker.allows()
        clock.later(0.0001)
    assert 9 <= len(looks) <= 11


# slow answers


def test_a_slow_answer_to_a_probe_leaves_it_open_and_a_quick_one_closes_it(clock):
    breaker = Breaker(quick=0.25, monotonic=clock)
    breaker.failed("timeout")
    breaker.probe(lambda: clock.later(0.3))
    assert (breaker.allows(), breaker.reason) == (False, "slow")
    breaker.probe(lambda: clock.later(0.2))
    assert breaker.allows()


def test_a_probe_that_had_to_connect_is_asked_again_before_it_is_judged(clock):
    breaker = Breaker(quick=0.25, monotonic=clock)
    breaker.failed("timeout")
    delays = iter([0.3, 0.01])
    breaker.probe(lambda: clock.later(next(delays)))
    assert breaker.allows()


def test_a_slow_probe_opens_nothing(clock):
    breaker, began = Breaker(quick=0.25, monotonic=clock), clock.now
    breaker.probe(lambda: clock.later(5.0))
    assert breaker.allows()
    assert clock.now == began + 5.0  # asked once: there is nothing to close


def test_what_is_known_of_an_outage_is_told_whole_also_after_its_own_hint_was_read(process, clock):
    breaker, other = process(), process()
    assert breaker.away() is None
    breaker.failed("refused", "Redis refused at h:6379")
    began = clock.now
    clock.later(1)
    assert not breaker.allows()
    assert not other.allows()
    assert breaker.away() == (began, "refused", "Redis refused at h:6379")
    assert other.away() == (began, "refused", "")
    breaker.failed("timeout", "no answer")
    assert breaker.away() == (began, "timeout", "no answer")
    breaker.succeeded()
    assert breaker.away() is None
