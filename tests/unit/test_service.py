"""A background loop: its pauses, its errors, its end."""

from __future__ import annotations

import logging
import threading

import pytest

from spoolq.errors import ConfigError, StoreUnavailable
from spoolq.service import Service
from tests.waiting import eventually

AWAY = StoreUnavailable("nobody listens", reason="refused")


class Turns:
    """A turn that does what the list says, then sleeps for ever."""

    def __init__(self, *answers: float | Exception | None) -> None:
        self.answers, self.count = list(answers), 0

    def __call__(self) -> float | None:
        self.count += 1
        answer = self.answers.pop(0) if self.answers else 3600.0
        if isinstance(answer, Exception):
            raise answer
        return answer


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(record.levelno, record.getMessage()) for record in caplog.records]


def test_the_first_turn_comes_at_once_and_the_next_without_a_pause_when_there_is_more() -> None:
    turns = Turns(0.0, 0.0)
    service = Service("s", turns)
    service.start()
    eventually(lambda: turns.count == 3)
    assert service.running
    assert service.stop(40.0)
    assert not service.running


def test_none_is_the_end() -> None:
    service = Service("s", Turns(None))
    service.start()
    eventually(lambda: not service.running)


def test_it_can_be_woken() -> None:
    turns = Turns()
    service = Service("s", turns)
    service.start()
    eventually(lambda: turns.count == 1)
    service.wake()
    eventually(lambda: turns.count == 2)
    service.stop(40.0)


def test_a_turn_that_hangs_is_left_behind() -> None:
    release = threading.Event()
    service = Service("s", lambda: float(release.wait(30)) and None)
    service.start()
    assert not service.stop(0.05)
    release.set()
    assert service.stop(40.0)


def test_it_may_stop_itself() -> None:
    service: Service
    done = threading.Event()

    def turn() -> float:
        service.stop(40.0)
        done.set()
        return 0.0

    service = Service("s", turn)
    service.start()
    assert done.wait(40.0)
    eventually(lambda: not service.running)


def test_a_store_that_is_away_is_told_once_and_so_is_its_return(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    service = Service("s", Turns(AWAY, AWAY, AWAY, 1.0, 1.0))
    pauses = [service.once() for _ in range(5)]
    assert all(pause is not None and 0 < pause <= 10 for pause in pauses)
    assert lines(caplog) == [(logging.WARNING, "s: nobody listens"), (logging.INFO, "s: goes on again")]


def test_a_quiet_one_leaves_the_telling_to_others(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    service = Service("s", Turns(AWAY, 1.0), quiet=True)
    assert [service.once() is not None for _ in range(2)] == [True, True]
    assert lines(caplog) == []


def test_pauses_grow_and_stay_below_ten_seconds() -> None:
    class Longest:
        def uniform(self, a: float, b: float) -> float:
            return b

    service = Service("s", Turns(*[AWAY] * 12), rng=Longest())  # type: ignore[arg-type]
    pauses = [service.once() or 0.0 for _ in range(12)]
    assert pauses[:4] == [1.0, 2.0, 4.0, 8.0]
    assert pauses[4:] == [10.0] * 8


def test_an_error_of_our_own_is_shown_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    service = Service("s", Turns(ValueError("oops"), 1.0))
    assert service.once() is not None
    assert "oops" in caplog.text
    assert service.once() == 1.0


def test_a_wrong_setting_is_told_once_and_looked_at_again_within_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    wrong = ConfigError("the file is somebody else's")
    service = Service("s", Turns(AWAY, wrong, wrong, wrong, 1.0, wrong))
    pauses = [service.once() or 0.0 for _ in range(6)]
    assert all(30 <= pause <= 60 for pause in (*pauses[1:4], pauses[5]))
    assert pauses[4] == 1.0
    told = "s: the file is somebody else's; nothing is done here until that is mended, which is looked at every 60 s"
    assert [message for _, message in lines(caplog)] == ["s: nobody listens", told, "s: goes on again", told]
    assert "Traceback" not in caplog.text


def test_a_wrong_setting_does_not_hold_up_the_end() -> None:
    turns = Turns(ConfigError("wrong"))
    service = Service("s", turns)
    service.start()
    eventually(lambda: turns.count == 1)
    assert service.running
    assert service.stop(40.0)


def test_a_quiet_one_tells_of_a_wrong_setting_too_and_looks_again_as_soon_as_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    service = Service("s", Turns(AWAY, ConfigError("wrong"), ConfigError("wrong")), quiet=True, again=1.0)
    pauses = [service.once() or 0.0 for _ in range(3)]
    assert all(0.5 <= pause <= 1.0 for pause in pauses[1:])
    assert [r.levelno for r in caplog.records if r.levelno > logging.DEBUG] == [logging.ERROR]


@pytest.mark.parametrize("error", [MemoryError, SystemExit])
def test_a_turn_that_raises_what_is_no_error_of_a_store_is_no_end(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoolq.service._FIRST", 0.01)
    turns = 0

    def turn() -> float | None:
        nonlocal turns
        turns += 1
        if turns < 3:
            raise error
        return None

    service = Service("it", turn)
    service.start()
    eventually(lambda: service.ended)
    assert turns == 3
    assert not service.dead, "it said itself that it is over"


def test_a_wrong_setting_is_told_once_to_who_writes_it_down() -> None:
    told: list[str] = []

    def turn() -> float:
        raise ConfigError("the spool is for another Redis")

    service = Service("drainer", turn, quiet=True, wrong=told.append)
    for _ in range(3):
        service.once()
    assert told == ["drainer: the spool is for another Redis"]
