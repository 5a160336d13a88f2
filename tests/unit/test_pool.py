"""The pool's own process, over forks that do as they are told here."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from spoolq.membership import RECYCLED
from spoolq.pool import Pool, Role
from spoolq.presence import Presence
from spoolq.runtime import Folder
from tests.unit.hands import Steps, info, sizer
from tests.waiting import eventually


class Forks:
    """Starts processes that call `job`; a housekeeper waits for its end, or dies at once. `refused`: so many can't be started."""

    def __init__(self, folder: Folder, job: Callable[[Presence], int], refused: int = 0, house_dies: bool = False) -> None:
        self._folder, self._job, self.refused, self._house_dies = folder, job, refused, house_dies
        self.begun: list[Role] = []

    def __call__(self, role: Role, key: str, *, paused: bool) -> int:
        if self.refused:
            self.refused -= 1
            raise BlockingIOError("no process numbers")
        self.begun.append(role)
        pid = os.fork()
        if pid:
            return pid
        code = 70
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if role == "house":
                if self._house_dies:
                    os.kill(os.getpid(), signal.SIGKILL)
                signal.pause()
            presence = Presence(self._folder, info(key), 2, "pool")
            presence.appear()
            presence.beat(0)
            code = self._job(presence)
        finally:
            os._exit(code)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(lambda: [str(tmp_path)], "workers-0a")


def by_itself(code: int) -> Callable[[Presence], int]:
    def end(presence: Presence) -> int:
        presence.begin(0, "token", None)
        presence.vanish()
        return code

    return end


def by_a_job(code: int) -> Callable[[Presence], int]:
    """Once; the next one ends by itself."""

    def end(presence: Presence) -> int:
        marker = Path(presence._folder.path).parent / "once"
        if marker.exists():
            return by_itself(0)(presence)
        marker.touch()
        presence.begin(0, "token", None)
        return code

    return end


def test_where_no_process_can_be_started_the_pool_waits_and_obeys(folder: Folder) -> None:
    forks = Forks(folder, by_itself(0), refused=10**9)
    pool = Pool(forks, folder, sizer(2, 2, 1))
    timer = threading.Timer(0.5, pool.stop)
    timer.start()
    try:
        assert pool.run() == 0
    finally:
        timer.cancel()
    assert 10**9 - forks.refused < 10


@pytest.mark.parametrize("code", [0, 3, 70, 73, 78, RECYCLED])
def test_a_burst_goes_on_after_a_job_that_ended_its_process_with_whatever_code(code: int, folder: Folder) -> None:
    forks = Forks(folder, by_a_job(code))
    assert Pool(forks, folder, sizer(1, 1, 1), burst=True).run() == 0
    assert forks.begun.count("jobs") == 2


def test_a_burst_whose_processes_ended_by_themselves_ends_with_the_first_code_that_tells_something(folder: Folder) -> None:
    forks = Forks(folder, by_itself(69))
    assert Pool(forks, folder, sizer(2, 2, 1), burst=True).run() == 69
    assert forks.begun.count("jobs") == 2


def once(happened: Callable[[], object], then: Callable[[], None]) -> threading.Thread:
    """Does that on a thread of its own."""

    def wait() -> None:
        eventually(happened)
        then()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.parametrize(("now", "grace"), [(False, 5.0), (True, None)])
def test_a_process_that_does_not_obey_is_killed_long_after_the_grace(
    now: bool, grace: float | None, folder: Folder, tmp_path: Path
) -> None:
    """Also one that is stopped, or whose interpreter's lock is kept by C code."""

    def deaf(presence: Presence) -> int:
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        presence.begin(0, "token", None)
        (tmp_path / "works").touch()
        while True:
            signal.pause()

    told: list[float] = []
    pool = Pool(Forks(folder, deaf), folder, sizer(1, 1, 1), grace=grace, clock=lambda: time.monotonic() * 30)

    def stop() -> None:
        told.append(time.monotonic())
        pool.stop(now=now)

    thread = once((tmp_path / "works").exists, stop)
    assert pool.run() == 0
    thread.join()
    assert time.monotonic() - told[0] >= 20 / 30


def test_an_interrupt_that_nobody_handles_lets_the_jobs_finish(folder: Folder, tmp_path: Path) -> None:
    def working(presence: Presence) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        presence.begin(0, "token", None)
        (tmp_path / "works").touch()
        signal.sigwait({signal.SIGTERM})
        (tmp_path / "finished").touch()
        return 0

    def works_for_a_while() -> bool:  # Python drops what is raised in the handlers that end a fork, here in the parent
        works = tmp_path / "works"
        return works.exists() and time.time() - works.stat().st_mtime > 3

    pool = Pool(Forks(folder, working), folder, sizer(1, 1, 1))
    thread = once(works_for_a_while, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert pool.run() == 0
    thread.join()
    assert (tmp_path / "finished").exists()


def test_one_that_dies_soon_and_of_no_job_is_not_followed_at_once_for_ever(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    """It registers, so it can work; and something kills it again and again."""
    forks = Forks(folder, lambda presence: 70)
    pool = Pool(forks, folder, sizer(1, 1, 1))

    def waits() -> list[float]:
        told = [re.search(r"another is started in ([\d.]+) s", text) for text in caplog.messages]
        return [float(found[1]) for found in told if found]

    began = time.monotonic()
    thread = once(lambda: len(waits()) >= 3, pool.stop)
    assert pool.run() == 0
    thread.join()
    starts = forks.begun.count("jobs")
    assert time.monotonic() - began >= sum(waits()[: starts - 1]) - 0.1 * starts, (
        "each is waited for, told to a tenth of a second"
    )
    assert 3 <= starts <= len(waits()) + 1
    assert waits()[:2] == sorted(waits()[:2])
    assert waits()[0] >= 0.4


def test_one_that_dies_of_a_job_is_followed_at_once(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    def struck(presence: Presence) -> int:
        presence.begin(0, "token", None)
        return 70

    pool = Pool(Forks(folder, struck), folder, sizer(1, 1, 1))
    thread = once(lambda: caplog.text.count("another is started at once") >= 5, pool.stop)
    assert pool.run() == 0
    thread.join()
    assert "another is started in" not in caplog.text


def test_the_youngest_ends_as_soon_as_its_jobs_have_where_one_less_is_enough(folder: Folder, tmp_path: Path) -> None:
    """QUIT lets a job take as long as it takes: nobody is in a hurry."""

    def working(presence: Presence) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGQUIT, signal.SIGTERM})
        for slot in range(2):
            presence.begin(slot, f"token-{slot}", None)
        eventually((tmp_path / "idle").exists)
        for slot in range(2):
            presence.end(slot)
        got = signal.sigwait({signal.SIGQUIT, signal.SIGTERM})
        (tmp_path / f"{signal.Signals(got).name}-{os.getpid()}").touch()
        presence.vanish()
        return 0

    started: list[int] = []

    def start(role: Role, key: str, *, paused: bool) -> int:
        pid = forks(role, key, paused=paused)
        if role == "jobs":
            started.append(pid)
        return pid

    forks = Forks(folder, working)
    idle = (tmp_path / "idle").exists
    policy = Steps(2, 1, is_time=lambda sample: sample.busy == (0.0 if idle() else 1.0) and sample.ready == sample.size)
    pool = Pool(start, folder, sizer(1, 2, 2, policy))
    grown = once(lambda: len(started) == 2, (tmp_path / "idle").touch)
    shrunk = once(lambda: list(tmp_path.glob("SIGQUIT-*")), pool.stop)
    assert pool.run() == 0
    grown.join()
    shrunk.join()
    assert {file.name for file in tmp_path.glob("SIG*")} == {f"SIGQUIT-{started[1]}", f"SIGTERM-{started[0]}"}


@pytest.mark.parametrize("code", [RECYCLED, -9])
def test_a_housekeeper_that_dies_again_and_again_keeps_nobody_else_from_being_followed(
    code: int, folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    """Those that are to be replaced, and those that died of a job."""

    def ends(presence: Presence) -> int:
        if code == RECYCLED:
            return code
        presence.begin(0, "token", None)
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    forks = Forks(folder, ends, house_dies=True)
    pool = Pool(forks, folder, sizer(2, 2, 2))
    # two every quarter of a second, on a machine with time for it; the sixth housekeeper comes after 15 seconds
    thread = once(lambda: forks.begun.count("jobs") >= 20 or forks.begun.count("house") > 5, pool.stop)
    assert pool.run() == 0
    thread.join()
    assert forks.begun.count("jobs") >= 20
    assert "(worker) ended by SIGKILL; another is started in" not in caplog.text
