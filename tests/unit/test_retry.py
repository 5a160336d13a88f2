"""The decision about a failed attempt, case by case. The clock and chance are arguments: nothing here waits."""

from __future__ import annotations

import dataclasses
import random
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

from spoolq.errors import (
    ConfigError,
    Discard,
    PayloadError,
    Retry,
    SoftTimeLimit,
    SpoolqError,
    TimeLimit,
    UnknownTask,
    WorkerDied,
)
from spoolq.job import Attempt, Job
from spoolq.retry import ALONE_WITHIN, LEAST, MAX_CRASHES, Dropped, GiveUp, RetryAt, RetryPolicy, decide, last_chance, put_off

NOW = 1795511017.0
YEAR = 365 * 86400.0


class Low:
    """Chance that always gives the lower end."""

    def uniform(self, a: float, b: float, /) -> float:
        return a


class High:
    """Chance that always gives the upper end."""

    def uniform(self, a: float, b: float, /) -> float:
        return b


def a_job(attempt: int = 0, retries: int | None = None, crashes: int = 0, failed_at: float | None = None) -> Job:
    history = () if failed_at is None else (Attempt(1, failed_at, "ValueError", "no"),)
    return Job("0199", "send", "mail", (1,), {"a": 2}, attempt=attempt, retries=retries, crashes=crashes, history=history)


def wait(policy: RetryPolicy, job: Job, error: BaseException, rng: random.Random | Low | High | None = None) -> float:
    decision = decide(policy, job, error, NOW, rng or Low())
    assert isinstance(decision, RetryAt), decision
    return decision.at - NOW


# how often


@pytest.mark.parametrize("retries", [0, 1, 3, 10])
def test_a_job_is_tried_once_and_then_as_often_as_retries_says(retries: int) -> None:
    decisions = [decide(RetryPolicy(retries), a_job(attempt), ValueError(), NOW) for attempt in range(retries + 3)]
    assert [type(decision) for decision in decisions] == [RetryAt] * retries + [GiveUp] * 3


@pytest.mark.parametrize(
    ("policy", "own", "attempt", "again"), [(3, 0, 0, False), (0, 2, 1, True), (0, 2, 2, False), (5, 1, 1, False)]
)
def test_a_jobs_own_retries_override_the_policy(policy: int, own: int, attempt: int, again: bool) -> None:
    assert isinstance(decide(RetryPolicy(policy), a_job(attempt, own), ValueError(), NOW), RetryAt if again else GiveUp)


def test_the_reasons_say_which_attempt_it_was() -> None:
    assert decide(RetryPolicy(), a_job(1), ValueError("x"), NOW, Low()) == RetryAt(
        NOW + 2, "the task raised ValueError; attempt 3 of 4 in 2 s"
    )
    assert decide(RetryPolicy(), a_job(3), ValueError("x"), NOW) == GiveUp("the task raised ValueError; that was attempt 4 of 4")
    assert decide(RetryPolicy(0), a_job(), ValueError("x"), NOW) == GiveUp("the task raised ValueError; that was attempt 1 of 1")


# how long


@pytest.mark.parametrize(
    ("attempt", "least"), [(0, 1), (1, 2), (2, 4), (5, 32), (8, 256), (9, 300), (20, 300), (100, 300), (10**6, 300)]
)
def test_the_default_wait_doubles_from_a_second_to_ten_minutes(attempt: int, least: float) -> None:
    policy = RetryPolicy(10**7)
    assert wait(policy, a_job(attempt), ValueError(), Low()) == least
    assert wait(policy, a_job(attempt), ValueError(), High()) == 2 * least


def test_jitter_fills_its_bounds_and_is_the_seeds() -> None:
    policy = RetryPolicy(99)
    for attempt in range(14):
        step = min(2.0**attempt, 300)
        waits = [wait(policy, a_job(attempt), ValueError(), random.Random(seed)) for seed in range(400)]
        assert step <= min(waits) < 1.05 * step
        assert 1.95 * step < max(waits) <= 2 * step
        assert sum(waits) / len(waits) == pytest.approx(1.5 * step, rel=0.05)
        # an epoch time holds no more than about 2e-7 s: hence not one value for each seed, but nearly
        assert len(set(waits)) > 350
        assert waits == [wait(policy, a_job(attempt), ValueError(), random.Random(seed)) for seed in range(400)]


def test_without_a_seed_two_decisions_differ() -> None:
    assert len({decide(RetryPolicy(), a_job(), ValueError(), NOW).at for _ in range(20)}) > 15  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("backoff", "waits"),
    [
        (tenacity.wait_fixed(7), [7, 7, 7]),
        (tenacity.wait_none(), [0, 0, 0]),
        (tenacity.wait_exponential(multiplier=3), [3, 6, 12]),
        (tenacity.wait_incrementing(start=5, increment=2), [5, 7, 9]),
        (tenacity.wait_chain(tenacity.wait_fixed(1), tenacity.wait_fixed(9)), [1, 9, 9]),
        (tenacity.wait_fixed(1) + tenacity.wait_fixed(2), [3, 3, 3]),
        (tenacity.wait_random(4, 4), [4, 4, 4]),
        (lambda state: state.attempt_number * 10, [10, 20, 30]),
    ],
)
def test_any_tenacity_wait_will_do(backoff: object, waits: list[float]) -> None:
    policy = RetryPolicy(backoff=backoff)
    assert [wait(policy, a_job(attempt), ValueError()) for attempt in range(3)] == waits


def test_a_wait_sees_the_attempt_the_arguments_and_the_error() -> None:
    seen: list[tenacity.RetryCallState] = []

    def look(state: tenacity.RetryCallState) -> float:
        seen.append(state)
        return 1

    error = ValueError("x")
    decide(RetryPolicy(backoff=look), a_job(2), error, NOW)
    (state,) = seen
    assert (state.attempt_number, state.args, state.kwargs) == (3, (1,), {"a": 2})
    assert state.outcome is not None
    assert state.outcome.exception() is error
    assert state.outcome.attempt_number == 3
    assert "attempt #3" in repr(state)


def by_error(error: BaseException) -> float:
    return 40 if isinstance(error, TimeoutError) else 5


def test_a_wait_may_go_by_the_error() -> None:
    policy = RetryPolicy(backoff=lambda state: by_error(state.outcome.exception()))
    assert (wait(policy, a_job(), TimeoutError()), wait(policy, a_job(), ValueError())) == (40, 5)


def broken(state: object) -> float:
    raise ZeroDivisionError("division by zero")


@pytest.mark.parametrize(
    ("backoff", "remark"),
    [
        (broken, "its backoff raised ZeroDivisionError: division by zero"),
        (lambda state: None, "its backoff gave None, not seconds"),
        (lambda state: "5", "its backoff gave '5', not seconds"),
        (lambda state: float("nan"), "its backoff gave nan, not seconds"),
        (lambda state: True, "its backoff gave True, not seconds"),
        (lambda state: state(), "its backoff raised TypeError"),
    ],
)
def test_a_broken_backoff_gives_the_default_and_says_so(backoff: Callable[..., object], remark: str) -> None:
    decision = decide(RetryPolicy(backoff=backoff), a_job(1), ValueError(), NOW, Low())
    assert isinstance(decision, RetryAt)
    assert decision.at == NOW + 2
    assert f"(the default: {remark}" in decision.reason


@pytest.mark.parametrize(
    ("given_wait", "used"),
    [(-5, 0), (1e300, YEAR), (float("inf"), YEAR), (10**400, YEAR), (0.25, 0.25), (YEAR, YEAR)],
    ids=["negative", "1e300", "inf", "huge", "short", "year"],
)
def test_a_wait_stays_a_time_that_can_be_shown(given_wait: float, used: float) -> None:
    assert wait(RetryPolicy(backoff=lambda state: given_wait), a_job(), ValueError()) == used
    assert wait(RetryPolicy(), a_job(), Retry(given_wait)) == used


# which errors


class Ours(ValueError):
    pass


@pytest.mark.parametrize(
    ("policy", "error", "expected"),
    [
        (RetryPolicy(), ValueError(), RetryAt),
        (RetryPolicy(), SpoolqError(), RetryAt),
        (RetryPolicy(), PayloadError(), RetryAt),
        (RetryPolicy(), KeyboardInterrupt(), GiveUp),
        (RetryPolicy(), SystemExit(1), GiveUp),
        (RetryPolicy(retry_on=(BaseException,)), SystemExit(1), RetryAt),
        (RetryPolicy(retry_on=(OSError,)), ConnectionError(), RetryAt),
        (RetryPolicy(retry_on=(OSError,)), ValueError(), GiveUp),
        (RetryPolicy(retry_on=(OSError, ValueError)), Ours(), RetryAt),
        (RetryPolicy(retry_on=()), ValueError(), GiveUp),
        (RetryPolicy(give_up_on=(ValueError,)), Ours(), GiveUp),
        (RetryPolicy(give_up_on=(Ours,)), ValueError(), RetryAt),
        (RetryPolicy(retry_on=(Ours,), give_up_on=(ValueError,)), Ours(), GiveUp),
        (RetryPolicy(give_up_on=(OSError, Ours)), Ours(), GiveUp),
    ],
)
def test_which_errors_are_worth_another_try(policy: RetryPolicy, error: BaseException, expected: type) -> None:
    assert isinstance(decide(policy, a_job(), error, NOW), expected)


def test_the_reasons_name_the_error() -> None:
    assert decide(RetryPolicy(retry_on=OSError), a_job(), Ours(), NOW) == GiveUp("Ours is not among retry_on")  # type: ignore[arg-type]
    assert decide(RetryPolicy(give_up_on=(ValueError,)), a_job(), Ours(), NOW) == GiveUp("Ours is among give_up_on")


# the task's own word


def test_discard_drops_the_job_whatever_the_policy() -> None:
    for policy in (RetryPolicy(), RetryPolicy(0), RetryPolicy(give_up_on=(Exception,)), RetryPolicy(retry_on=())):
        assert decide(policy, a_job(9), Discard("the user is gone"), NOW) == Dropped("the user is gone")
    assert decide(RetryPolicy(), a_job(), Discard(), NOW) == Dropped("the task discarded the job")


def test_retry_comes_back_when_the_task_said() -> None:
    assert wait(RetryPolicy(), a_job(), Retry(90)) == 90
    assert wait(RetryPolicy(), a_job(), Retry(0)) == 0
    assert wait(RetryPolicy(backoff=tenacity.wait_fixed(7)), a_job(), Retry(90)) == 90
    assert wait(RetryPolicy(backoff=tenacity.wait_fixed(7)), a_job(), Retry()) == 7
    assert wait(RetryPolicy(), a_job(2), Retry()) == 4


def test_retry_needs_no_leave_of_retry_on_but_counts() -> None:
    assert wait(RetryPolicy(retry_on=(OSError,), give_up_on=(Exception,)), a_job(), Retry(5)) == 5
    assert decide(RetryPolicy(), a_job(3), Retry(5), NOW) == GiveUp("the task asked to be retried; that was attempt 4 of 4")
    assert isinstance(decide(RetryPolicy(0), a_job(), Retry(5), NOW), GiveUp)


@pytest.mark.parametrize("delay", ["5", float("nan"), True, [], object()])
def test_a_retry_with_a_wrong_delay_waits_as_by_default(delay: object) -> None:
    decision = decide(RetryPolicy(), a_job(1), Retry(delay), NOW, Low())  # type: ignore[arg-type]
    assert isinstance(decision, RetryAt)
    assert decision.at == NOW + 2
    assert "is no number of seconds" in decision.reason


# not the task's doing


def test_a_task_that_is_not_known_is_asked_for_again_though_its_own_retries_are_fewer() -> None:
    policy, error = RetryPolicy(0, retry_on=(OSError,)), UnknownTask("send")
    for job_retries in (None, 0, 1, LEAST):
        decisions = [decide(policy, a_job(attempt, job_retries), error, NOW) for attempt in range(LEAST + 2)]
        assert [type(decision) for decision in decisions] == [RetryAt] * LEAST + [GiveUp] * 2
    assert isinstance(decide(policy, a_job(9, 10), error, NOW), RetryAt)
    assert isinstance(decide(RetryPolicy(10), a_job(9), error, NOW), RetryAt)


@pytest.mark.parametrize("most", [1, 2, MAX_CRASHES, 7])
def test_a_job_whose_worker_died_so_often_is_given_up_whatever_its_retries(most: int) -> None:
    for retries in (0, 3, 99):
        policy = RetryPolicy(retries, retry_on=(OSError,), max_crashes=most)
        decisions = [decide(policy, a_job(crashes=crashes), WorkerDied(), NOW) for crashes in range(most + 1)]
        assert [type(decision) for decision in decisions] == [RetryAt] * (most - 1) + [GiveUp] * 2


def test_a_death_uses_up_no_retries_and_an_error_no_deaths() -> None:
    assert isinstance(decide(RetryPolicy(1), a_job(0, crashes=2), ValueError(), NOW), RetryAt)
    assert isinstance(decide(RetryPolicy(0), a_job(crashes=1), ValueError(), NOW), GiveUp)
    assert isinstance(decide(RetryPolicy(0), a_job(0), WorkerDied(), NOW), RetryAt)
    assert isinstance(decide(RetryPolicy(3), a_job(99), WorkerDied(), NOW), RetryAt)


def test_deaths_and_attempts_lengthen_the_wait_each_for_itself() -> None:
    policy = RetryPolicy(9, max_crashes=9)
    assert [wait(policy, a_job(5, crashes=crashes), WorkerDied()) for crashes in range(3)] == [1, 2, 4]
    assert wait(policy, a_job(2, crashes=5), ValueError()) == 4
    assert wait(RetryPolicy(backoff=lambda state: state.attempt_number * 10), a_job(5, crashes=1), WorkerDied()) == 20


def test_a_task_that_must_not_run_twice_can_say_so() -> None:
    assert isinstance(decide(RetryPolicy(give_up_on=(WorkerDied,)), a_job(), WorkerDied(), NOW), GiveUp)


def test_the_reasons_tell_what_happened() -> None:
    died = decide(RetryPolicy(), a_job(7, crashes=2), WorkerDied(), NOW)
    assert died == GiveUp("this job's worker died 3 times while it ran it; it isn't tried again: max_crashes=3")
    once = decide(RetryPolicy(max_crashes=1), a_job(), WorkerDied(), NOW)
    assert once == GiveUp("this job's worker died once while it ran it; it isn't tried again: max_crashes=1")
    again = decide(RetryPolicy(), a_job(7, crashes=1), WorkerDied(), NOW, Low())
    assert again == RetryAt(NOW + 2, "the worker died while it ran the job; death 2, given up at 3; another attempt in 2 s")
    unknown = decide(RetryPolicy(), a_job(3), UnknownTask("send"), NOW)
    assert unknown == GiveUp(
        "no task 'send' is registered on the worker (is a deploy on its way, or the task renamed?); that was attempt 4 of 4"
    )


def test_an_unknown_task_waits_long_enough_for_a_deploy() -> None:
    waits = [wait(RetryPolicy(), a_job(attempt), UnknownTask("send"), Low()) for attempt in range(3)]
    assert waits == [15, 30, 60]
    assert wait(RetryPolicy(99), a_job(50), UnknownTask("send"), High()) == 600
    assert wait(RetryPolicy(backoff=tenacity.wait_fixed(2)), a_job(), UnknownTask("send")) == 2


@pytest.mark.parametrize(
    ("crashes", "most", "last"),
    [(0, 3, False), (1, 3, False), (2, 3, True), (5, 3, True), (0, 1, False), (1, 2, True), (0, 2, False)],
)
def test_a_job_is_on_its_last_chance_after_all_deaths_but_one(crashes: int, most: int, last: bool) -> None:
    assert last_chance(RetryPolicy(max_crashes=most), a_job(crashes=crashes)) is last


@pytest.mark.parametrize(
    ("alone", "since", "later"),
    [
        (True, 1, False),
        (False, 1, True),
        (None, 1, True),
        (False, ALONE_WITHIN - 1, True),
        (False, ALONE_WITHIN, False),
        (None, ALONE_WITHIN + 1, True),
        (False, -1, False),
        (False, None, False),
    ],
)
def test_it_is_put_off_until_it_can_run_alone_for_a_minute_at_most(alone: bool | None, since: float | None, later: bool) -> None:
    job = a_job(crashes=2, failed_at=None if since is None else NOW - since)
    found = put_off(job, alone, NOW, Low())
    assert found == (
        RetryAt(NOW + 1, "it was running at the death of 2 workers, and waits for a moment to run alone") if later else None
    )


# how long in all


@pytest.mark.parametrize(
    ("since", "delay", "again"),
    [(None, 60, True), (None, 60.1, False), (0, 60, True), (50, 10, True), (50, 11, False), (61, 0, False)],
)
@pytest.mark.parametrize("error", [Retry, ValueError, UnknownTask, WorkerDied])
def test_no_attempt_is_begun_too_long_after_the_first_one_failed(
    error: Callable[..., BaseException], since: float | None, delay: float, again: bool
) -> None:
    policy = RetryPolicy(99, backoff=lambda state: delay, retry_for=60, max_crashes=99)
    job = a_job(5, failed_at=None if since is None else NOW - since)
    assert isinstance(decide(policy, job, error(), NOW), RetryAt if again else GiveUp)
    assert isinstance(decide(RetryPolicy(99, backoff=lambda state: delay, max_crashes=99), job, error(), NOW), RetryAt)


def test_the_reason_says_how_long_was_allowed() -> None:
    policy = RetryPolicy(retry_for=60)
    assert decide(policy, a_job(1, failed_at=NOW - 50), Retry(30), NOW) == GiveUp(
        "the task asked to be retried; another attempt would begin 80 s after the first one failed: retry_for=60"
    )


def test_retries_hold_beside_retry_for_and_without_them_it_alone_counts() -> None:
    assert isinstance(decide(RetryPolicy(3, retry_for=60), a_job(3), ValueError(), NOW), GiveUp)
    assert isinstance(decide(RetryPolicy(3, retry_for=60), a_job(2), ValueError(), NOW), RetryAt)
    endless = RetryPolicy(None, retry_for=timedelta(days=1))
    for error in (ValueError(), UnknownTask("x"), Retry()):
        assert isinstance(decide(endless, a_job(10**6, failed_at=NOW - 86000), error, NOW, Low()), RetryAt)
    assert isinstance(decide(endless, a_job(10**6, failed_at=NOW - 86399), ValueError(), NOW), GiveUp)
    assert isinstance(decide(endless, a_job(2, retries=2), ValueError(), NOW), GiveUp), "the launch's own"
    assert decide(endless, a_job(4), Retry(5), NOW) == RetryAt(NOW + 5, "the task asked to be retried; attempt 6 in 5 s")


def test_a_first_failure_in_the_future_as_after_a_clock_set_back_shortens_nothing() -> None:
    assert wait(RetryPolicy(9, retry_for=60), a_job(1, failed_at=NOW + 1e6), Retry(60)) == 60
    assert isinstance(decide(RetryPolicy(9, retry_for=60), a_job(1, failed_at=NOW + 1e6), Retry(61), NOW), GiveUp)


@given(st.floats(0.1, 10_000), st.randoms(use_true_random=False))
def test_a_job_with_retry_for_alone_ends_in_time(retry_for: float, rng: random.Random) -> None:
    policy, now = RetryPolicy(None, retry_for=retry_for), NOW
    for attempt in range(50):  # by then waits of 300 s at least are more than it allows
        decision = decide(policy, a_job(attempt, failed_at=NOW if attempt else None), ValueError(), now, rng)
        if isinstance(decision, GiveUp):
            return
        assert isinstance(decision, RetryAt)
        assert NOW < decision.at <= NOW + retry_for + 1e-3
        now = decision.at
    raise AssertionError(f"not ended after {now - NOW} s")


# the policy itself


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"retries": -1}, "retries=-1: a whole number"),
        ({"retries": 1.5}, "retries=1.5"),
        ({"retries": "3"}, "retries='3'"),
        ({"retries": True}, "retries=True"),
        ({"retries": None}, "retries=None: a whole number from 0 up is needed, or retry_for beside it"),
        ({"retries": -1, "retry_for": 5}, "retries=-1: a whole number"),
        ({"retry_for": 0}, "retry_for=0: a number of seconds above 0 is needed, or a timedelta, as in retry_for=3600"),
        ({"retry_for": -1.5}, "retry_for=-1.5"),
        ({"retry_for": timedelta(0)}, "retry_for=datetime.timedelta(0)"),
        ({"retry_for": "1h"}, "retry_for='1h'"),
        ({"retry_for": True}, "retry_for=True"),
        ({"retry_for": float("nan")}, "retry_for=nan"),
        ({"retry_for": float("inf")}, "retry_for=inf"),
        ({"max_crashes": 0}, "max_crashes=0: a whole number from 1 up is needed"),
        ({"max_crashes": None}, "max_crashes=None"),
        ({"max_crashes": True}, "max_crashes=True"),
        ({"max_crashes": 2.0}, "max_crashes=2.0"),
        ({"backoff": 30}, "backoff=30: a tenacity wait is needed, as in backoff=tenacity.wait_fixed(30)"),
        ({"backoff": "exponential"}, "backoff='exponential'"),
        ({"backoff": tenacity.wait_fixed}, "a tenacity wait is needed"),
        ({"backoff": tenacity.stop_after_attempt(3)}, "a tenacity wait is needed"),
        ({"backoff": tenacity.retry_if_result(bool)}, "a tenacity wait is needed"),
        ({"backoff": lambda: 30}, "a function of one argument that returns seconds"),
        ({"retry_on": (ValueError, "OSError")}, "retry_on: 'OSError' is no exception class"),
        ({"retry_on": ValueError()}, "retry_on: ValueError() is no exception class"),
        ({"retry_on": None}, "retry_on: None is no exception class"),
        ({"give_up_on": (int,)}, "give_up_on: <class 'int'> is no exception class"),
    ],
)
def test_what_is_no_policy_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RetryPolicy(**settings)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_one_class_or_several() -> None:
    assert RetryPolicy(retry_on=OSError).retry_on == (OSError,)  # type: ignore[arg-type]
    assert RetryPolicy(retry_on=[OSError, ValueError]).retry_on == (OSError, ValueError)  # type: ignore[arg-type]
    assert RetryPolicy(give_up_on={OSError}).give_up_on == (OSError,)  # type: ignore[arg-type]


def test_a_span_is_seconds_or_a_timedelta() -> None:
    assert RetryPolicy(retry_for=timedelta(minutes=2)) == RetryPolicy(retry_for=120)
    assert RetryPolicy(retry_for=10**400).retry_for == 1e12


def test_policies_and_decisions_are_frozen() -> None:
    for value in (RetryPolicy(), RetryAt(1, "x"), GiveUp("x"), Dropped("x")):
        assert dataclasses.is_dataclass(value)
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, dataclasses.fields(value)[0].name, "y")
    assert RetryPolicy() == RetryPolicy()
    assert hash(RetryPolicy()) == hash(RetryPolicy())


errors = st.sampled_from(
    [ValueError(), OSError(), Retry(), Retry(5), Discard(), WorkerDied(), UnknownTask("x"), KeyboardInterrupt()]
)


@given(
    st.integers(0, 9),
    st.integers(0, 12),
    st.none() | st.integers(0, 9),
    st.integers(0, 5),
    errors,
    st.randoms(use_true_random=False),
)
def test_every_job_ends(
    retries: int, attempt: int, own: int | None, crashes: int, error: BaseException, rng: random.Random
) -> None:
    decision = decide(RetryPolicy(retries), a_job(attempt, own, crashes), error, NOW, rng)
    if isinstance(decision, RetryAt):
        assert NOW <= decision.at <= NOW + 600
        if isinstance(error, WorkerDied):
            assert crashes + 1 < MAX_CRASHES
        else:
            assert attempt < max(retries if own is None else own, LEAST)
    assert decision.reason


def test_tenacity_is_loaded_only_when_a_policy_needs_it() -> None:
    script = (
        "import sys; from spoolq.retry import *; from spoolq.job import Job\n"
        "decide(RetryPolicy(), Job('i', 't', 'q'), ValueError(), 0.0)\n"
        "assert 'tenacity' not in sys.modules\n"
        "decide(RetryPolicy(backoff=lambda state: 1), Job('i', 't', 'q'), ValueError(), 0.0)\n"
        "assert 'tenacity' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


# time limits


@pytest.mark.parametrize("limit", [TimeLimit, SoftTimeLimit])
def test_a_time_limit_is_tried_again_without_leave_of_retry_on_but_counts(limit: type[BaseException]) -> None:
    policy = RetryPolicy(1, retry_on=(ConnectionError,))
    first = decide(policy, a_job(), limit("the task ran longer than its timeout of 30 s"), NOW, Low())
    assert isinstance(first, RetryAt)
    assert first.reason == "the task ran longer than its timeout of 30 s; attempt 2 of 2 in 1 s"
    assert isinstance(decide(policy, a_job(1), limit(), NOW), GiveUp)


@pytest.mark.parametrize(
    ("limit", "named", "final"),
    [
        (TimeLimit, TimeLimit, True),
        (SoftTimeLimit, SoftTimeLimit, True),
        (SoftTimeLimit, Exception, True),
        (TimeLimit, Exception, False),
        (TimeLimit, SoftTimeLimit, False),
    ],
)
def test_give_up_on_may_name_a_time_limit(limit: type[BaseException], named: type[BaseException], final: bool) -> None:
    decision = decide(RetryPolicy(give_up_on=(named,)), a_job(), limit(), NOW)
    assert isinstance(decision, GiveUp if final else RetryAt)


def test_long_waits_are_said_in_figures_that_people_read() -> None:
    policy = RetryPolicy(9, backoff=lambda state: 21_834)
    decision = decide(policy, a_job(1), ValueError(), NOW)
    assert isinstance(decision, RetryAt)
    assert decision.reason.endswith("attempt 3 of 10 in 21834 s")
    history = (Attempt(1, NOW - 5, "ValueError", ""),)
    late = decide(
        dataclasses.replace(policy, retry_for=21_600), dataclasses.replace(a_job(1), history=history), ValueError(), NOW
    )
    assert late.reason.endswith("another attempt would begin 21839 s after the first one failed: retry_for=21600")
