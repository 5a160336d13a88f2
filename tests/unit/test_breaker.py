from spoolq.breaker import Breaker


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
