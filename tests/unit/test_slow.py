from spoolq.slow import IN_A_ROW, Slowness

DEADLINE = 0.25


def first_that_opens(answers: list[float], apart: float = 0.0) -> int | None:
    """The place of the answer at which it says enough; each call begins `apart` seconds after the last one ended."""
    slowness, now = Slowness(), 100.0
    for place, took in enumerate(answers):
        now += took + apart
        if slowness.answered(took, DEADLINE, now):
            return place
    return None


def test_quick_answers_and_a_few_slow_ones_say_nothing():
    assert first_that_opens([0.001] * 1000) is None
    assert first_that_opens([0.125] * 1000) is None
    assert first_that_opens(([0.24] * (IN_A_ROW - 1) + [0.001]) * 100, apart=1.0) is None


def test_slow_answers_in_a_row_are_enough():
    assert first_that_opens([0.13] * 10) == IN_A_ROW - 1
    assert first_that_opens([0.001, 0.2, 0.001] + [0.2] * 10) == 3 + IN_A_ROW - 1


def test_many_slow_answers_at_one_moment_are_not():
    slowness = Slowness()
    assert not any(slowness.answered(0.24, DEADLINE, 100.0 + 0.01 * n) for n in range(16))


def test_the_count_begins_anew_once_it_was_enough():
    slowness = Slowness()
    said = [slowness.answered(0.2, DEADLINE, 100.0 + n) for n in range(2 * IN_A_ROW)]
    assert said.count(True) == 2
