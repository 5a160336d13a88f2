from __future__ import annotations

from typing import Any

import pytest

from spoolq import tracking
from spoolq.errors import PayloadError, StoreUnavailable
from spoolq.job import Job
from spoolq.reporter import EVERY, Reporter
from spoolq.tracking import keys


class Book:
    """A store's values, and how often it was asked."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.puts = self.looks = 0
        self.gone = False

    def put(self, messages: Any, effects: Any, *, timeout: float, hold: bool) -> list[bool]:
        assert messages == ()
        assert hold, "a store that confirms what was put would wait for its disk"
        self.puts += 1
        self.answer()
        self.kept.update({key: value for key, value, _ in effects.values})
        return []

    def values(self, names: Any, *, timeout: float) -> list[bytes | None]:
        self.looks += 1
        self.answer()
        return [self.kept.get(name) for name in names]

    def answer(self) -> None:
        if self.gone:
            raise StoreUnavailable("it is gone", reason="refused")


class Quiet(Reporter):
    """Whose turns are the test's to make."""

    woken = 0

    def wake(self) -> None:
        self.woken += 1


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def one(book: Book, now: list[float]) -> Quiet:
    return Quiet(book, lambda: now[0], lambda: now[0] + 1e9)  # type: ignore[arg-type]


TRACKED = Job("a", "t", "q", (), track=60.0)
PLAIN = Job("b", "t", "q", ())


def status(book: Book) -> Any:
    return tracking.read([book.kept.get(key) for key in keys("a")])


@pytest.mark.parametrize("job", [TRACKED, PLAIN], ids=["tracked", "plain"])
def test_a_thread_that_a_job_left_behind_does_not_have_it_run_for_ever(one: Quiet, book: Book, now: list[float], job: Job):
    run = one.follow(job)
    one.leave(run)
    looks = book.looks
    assert not run.cancelled
    run.say(0.9, "still here")
    now[0] += 100
    one.turn()
    assert (status(book), book.puts, book.looks) == ("unknown", 0, looks)


def test_a_job_that_is_not_tracked_asks_the_store_nothing(one: Quiet, book: Book):
    run = one.follow(PLAIN)
    run.say(0.5, "half")
    one.turn()
    one.leave(run)
    assert (book.puts, book.looks, one.woken) == (0, 0, 0)


def test_what_a_job_says_is_told_at_once_and_then_not_too_often(one: Quiet, book: Book, now: list[float]):
    run = one.follow(TRACKED)
    assert one.turn() > EVERY
    assert status(book) == "running"
    for n in range(100):
        run.say(n / 100, f"step {n}")
        one.turn()
    assert book.puts == 1
    now[0] += EVERY
    one.turn()
    assert (book.puts, status(book).progress, status(book).text) == (2, 0.99, "step 99")


def test_what_a_job_does_not_repeat_is_renewed_for_as_long_as_it_runs(one: Quiet, book: Book, now: list[float]):
    run = one.follow(TRACKED)
    one.turn()
    for _ in range(5):
        now[0] += tracking.RUNS_FOR / 3
        assert one.turn() <= tracking.RUNS_FOR / 3
    assert book.puts == 6
    one.leave(run)
    now[0] += tracking.RUNS_FOR
    one.turn()
    assert book.puts == 6


def test_where_the_store_is_away_nothing_is_lost_but_time(one: Quiet, book: Book, now: list[float]):
    run = one.follow(TRACKED)
    run.say(0.5, "half")
    book.gone = True
    with pytest.raises(StoreUnavailable):
        one.turn()
    book.gone = False
    now[0] += EVERY
    one.turn()
    assert status(book).progress == 0.5


def test_a_job_that_looks_is_told_that_it_is_to_stop(one: Quiet, book: Book, now: list[float]):
    run = one.follow(PLAIN)
    assert not run.cancelled
    one.turn()
    assert not run.cancelled
    book.kept[tracking.cancel_key("b")] = b"1"
    assert not run.seen
    one.turn()
    assert run.cancelled
    assert run.seen
    looks = book.looks
    one.turn()
    assert book.looks == looks, "it knows"


def test_a_store_that_does_not_answer_is_not_asked_in_front_of_every_job(one: Quiet, book: Book, now: list[float]):
    book.gone = True
    assert not one.asked("a")
    book.kept[tracking.cancel_key("a")] = b"1"
    book.gone = False
    assert not one.asked("a")
    assert book.looks == 1
    now[0] += 60
    assert one.asked("a")


@pytest.mark.parametrize("share", [-0.1, 1.1, "0.5", None, float("nan"), True])
def test_a_progress_that_is_no_share_is_refused(one: Quiet, share: Any):
    with pytest.raises(PayloadError, match="from 0 to 1"):
        one.follow(PLAIN).say(share, "")


def test_the_thread_begins_with_the_first_word_and_ends(book: Book):
    real = Reporter(book)  # type: ignore[arg-type]
    real.follow(TRACKED)
    service = real._service
    assert service is not None
    real.stop()
    assert service.stop(40.0)
