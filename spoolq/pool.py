"""A pool of worker processes: one that starts the others and does nothing else, one that keeps house for all, and those that run
jobs.

The first has no thread and no connection, so that a fork of it is always safe, and what the application imported is shared. It
starts anew what died, and kills what is past its time limit. What a dead process held is settled by the housekeeper.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, Protocol

from spoolq import logfiles, signals
from spoolq.autoscale.sizer import Member, Sizer
from spoolq.job import new_id
from spoolq.membership import RECYCLED
from spoolq.notifying import SILENT, Notifier
from spoolq.presence import Seen
from spoolq.runtime import Folder

log = logging.getLogger("spoolq.pool")

Role = Literal["jobs", "house"]
_SAYS = {"jobs": "worker", "house": "housekeeper"}  # as `spoolq status` does

_EVERY = 0.25  # seconds between looks at the processes
_TELLS = 1.0  # seconds between two words to systemd
_ENDING = 20.0  # seconds that one may need to end, once its jobs have
_FIRST, _MOST = 0.5, 30.0  # seconds before one that died soon, and of no job, is followed by another
CANT_CREATE, BAD_CONFIGURATION = 73, 78
"""Exit codes of a process that can't work as it is set up: another one in its place would not either."""

_HOPELESS = CANT_CREATE, BAD_CONFIGURATION


class Start(Protocol):
    """How a process of the pool is started."""

    def __call__(self, role: Role, key: str, *, paused: bool) -> int:
        """Start one in that role, under that key (a worker's), and return its process id."""


@dataclass(slots=True)
class _Process:
    """One that runs. `leaving`: it was told to stop, so its end is no crash."""

    pid: int
    role: Role
    key: str
    started: float
    leaving: bool = False
    seen: Seen | None = field(default=None)


class _Places:
    """The places of one role that stay empty for a while, since who had them died soon and of no job."""

    def __init__(self) -> None:
        self._deaths = 0
        self._until: list[float] = []

    def leave(self, now: float, rng: random.Random) -> float:
        """One more. Returns for how many seconds: longer each time, until one has served."""
        self._deaths += 1
        wait = rng.uniform(0.5, 1.0) * min(_MOST, _FIRST * 2.0 ** min(self._deaths, 10))
        self._until.append(now + wait)
        return wait

    def served(self) -> None:
        """One had nothing that would befall the next one."""
        self._deaths = 0

    def empty(self, now: float) -> int:
        """How many there are."""
        self._until = [until for until in self._until if now < until]
        return len(self._until)


class Pool(signals.Obeys):
    """Keeps as many processes that run jobs as its sizer says, and one that keeps house.

    start     starts one process
    folder    where their files are: they say what each runs, and until when it may
    sizer     says how many there should be
    burst     end when each has ended: nothing is left to do; their number stays as it was
    grace     seconds that running jobs get at the end; a process that is still there long after it is killed. None for no limit
    alive     descriptors by which the processes know that this one lives: they are closed at the end
    """

    def __init__(
        self,
        start: Start,
        folder: Folder,
        sizer: Sizer,
        *,
        burst: bool = False,
        grace: float | None = None,
        alive: tuple[int, ...] = (),
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        super().__init__()
        self._start, self._folder, self._burst = start, folder, burst
        self._alive, self._grace = alive, grace
        self._kill_at = float("inf")
        self._notifier, self._ready, self._tell_at = SILENT, False, float("-inf")
        self._clock, self._rng = clock, rng or random.Random()
        self._processes: dict[int, _Process] = {}
        self._sizer = sizer
        self._wanted = sizer.bounds.least
        self._paused = self._stopping = self._worked = False
        self._places: dict[Role, _Places] = {"jobs": _Places(), "house": _Places()}
        self._code = 0

    def install_signals(self) -> None:
        """Obey signals, as `spoolq.signals.install` says, and hand them on."""
        signals.install(self, "spoolq pool")
        signal.signal(signal.SIGCHLD, lambda number, frame: self._orders.put("look"))

    # the loop

    def run(self, notifier: Notifier = SILENT) -> int:
        """Until stopped, or with `burst` until nothing is left to do; `notifier` is told how it goes. Returns the exit code: 0,
        or the first other one with which a process of a burst has ended; 73 or 78 when the processes can't work as they are set
        up."""
        log.info("pool: %s process(es) of %d thread(s)", self._sizer.bounds, self._sizer.threads)
        self._notifier = notifier
        try:
            while not self._over():
                try:
                    self._fill()
                    self._obey(self._next_order(_EVERY))
                    self._tell()
                    self._reap()
                    self._watch()
                except KeyboardInterrupt:  # as TERM, where nobody installed our signals
                    self.stop(now=self._stopping)
            self._leave()
            log.info("pool: has ended")
        finally:
            self._kill_all()
        return self._code

    def _over(self) -> bool:
        return self._stopping and not self._of("jobs")

    def _of(self, role: Role) -> list[_Process]:
        return [one for one in self._processes.values() if one.role == role]

    def _obey(self, order: str | None) -> None:
        match order:
            case "stop" | "quit" | "now":
                self._stopping = True
                grace = {"stop": self._grace, "quit": None, "now": 0.0}[order]
                when = "once their jobs have" if grace is None else f"within {grace:g} s" if grace else "now"
                log.info("pool: its processes end %s", when)
                self._kill_at = float("inf") if grace is None else self._clock() + grace + _ENDING
                number = {"stop": signal.SIGTERM, "quit": signal.SIGQUIT, "now": signals.NOW}[order]
                for one in self._of("jobs"):
                    self._tell_off(one, number)
            case "pause" | "resume":
                self._paused = order == "pause"
                self._send_all(signal.SIGTSTP if self._paused else signal.SIGCONT)
            case "reopen":
                log.info("SIGHUP: %d log file(s) reopened", logfiles.reopen())
                self._notifier.reloaded()
                self._send_all(signal.SIGHUP)
            case "say":
                log.warning("%s", self._status())
                self._send_all(signal.SIGTTIN)

    def _status(self) -> str:
        pids = ", ".join(str(one.pid) for one in self._of("jobs"))
        size = f"{self._wanted} process(es) wanted ({self._sizer.says})"
        return f"pool {os.getpid()}: {self._state}, {size}, there are {pids or 'none'}"

    def _tell(self) -> None:
        """Tell systemd that it goes round, and that it is ready once the first process is: that one has opened the spool."""
        self._notifier.beat()
        if not self._notifier.listens or (now := self._clock()) < self._tell_at:
            return
        self._tell_at = now + _TELLS
        if not self._ready and any(one.seen is not None for one in self._of("jobs")):
            self._ready = True
            self._notifier.ready()
        self._notifier.status(f"pool: {self._state}, {self._sizer.sees}{self._wanted} process(es) wanted ({self._sizer.says})")

    @property
    def _state(self) -> str:
        return "stopping" if self._stopping else "paused" if self._paused else "running"

    def _send_all(self, number: signal.Signals) -> None:
        for one in self._processes.values():
            self._send(one, number)

    def _send(self, one: _Process, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it is ours until it has been reaped, so the number is nobody else's
            os.kill(one.pid, number)

    def _tell_off(self, one: _Process, number: signal.Signals = signal.SIGTERM) -> None:
        one.leaving = True
        self._send(one, number)

    # its processes

    def _fill(self) -> None:
        """Start those that are missing."""
        numbers: tuple[tuple[Role, int], ...] = (("house", 1), ("jobs", self._wanted))
        for role, wanted in () if self._stopping else numbers:
            while self._staying(role) + self._places[role].empty(self._clock()) < wanted:
                self._begin(role)

    def _staying(self, role: Role) -> int:
        return len([one for one in self._of(role) if not one.leaving])

    def _begin(self, role: Role) -> None:
        key = new_id()
        try:
            pid = self._start(role, key, paused=self._paused)
        except OSError as error:  # no memory or no process numbers: others may end
            log.warning("no process can be started now: %s; it is tried again", error)
            self._places[role].leave(self._clock(), self._rng)
        else:
            self._processes[pid] = _Process(pid, role, key, self._clock())

    def _reap(self) -> None:
        """Take note of those that have ended."""
        for one in list(self._processes.values()):
            pid, status = os.waitpid(one.pid, os.WNOHANG)
            if pid:
                del self._processes[pid]
                self._look(one)
                self._ended(one, os.waitstatus_to_exitcode(status))
                if one.seen is not None:
                    one.seen.close()

    def _ended(self, one: _Process, code: int) -> None:
        struck = code < 0 or (one.seen is not None and bool(one.seen.running))  # a job may end its process with any code
        if self._burst and one.role == "jobs" and not struck and code not in (RECYCLED, *_HOPELESS):
            self._code = self._code or code
            self._wanted -= 1
            self._stopping = self._stopping or self._wanted <= 0
        elif code in _HOPELESS and not struck and not self._worked:  # else it may pass, as a bad deploy does
            log.critical("process %d can't work as it is set up; the pool ends", one.pid)
            self._code, self._stopping = code, True
            for other in self._of("jobs"):
                self._tell_off(other)
        elif (code in (0, RECYCLED) and not struck) or one.leaving:
            if _works(one):
                self._places[one.role].served()
            log.info("process %d has ended", one.pid)
        elif not self._stopping:
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with {code}"
            when = "at once"
            if self._served(one):
                self._places[one.role].served()
            else:
                when = f"in {self._places[one.role].leave(self._clock(), self._rng):.1f} s"
            log.error("process %d (%s) ended %s; another is started %s", one.pid, _SAYS[one.role], how, when)

    def _served(self, one: _Process) -> bool:
        """Whether its end says nothing of the next one's: what killed it is one job's affair, and counted there, or it lived for
        a while."""
        return _works(one) and (bool(one.seen and one.seen.running) or self._clock() - one.started >= _MOST)

    # what they run

    def _look(self, one: _Process) -> None:
        if one.seen is None:
            with suppress(OSError, ValueError):  # not there yet
                one.seen = Seen(self._folder, one.key, lockable=False)  # the pool has many of them
        self._worked = self._worked or _works(one)

    def _watch(self) -> None:
        """Kill what is past its time limit, and see how many there should be."""
        now = self._clock()
        jobs = self._of("jobs")
        for one in jobs:
            self._look(one)
            if one.seen is not None and (late := [run for run in one.seen.running if 0 < run.kill_at < now]):
                for run in late:
                    one.seen.strike(run.slot)
                log.error("process %d is killed: %d job(s) in it ran past their time limit", one.pid, len(late))
                self._tell_off(one, signal.SIGKILL)
        if now > self._kill_at:
            for one in jobs:
                log.error(
                    "process %d is killed: it has not ended %g s after the grace; what it holds is put back", one.pid, _ENDING
                )
                self._tell_off(one, signal.SIGKILL)
        if not (self._stopping or self._burst):
            self._fit(now, jobs)

    def _fit(self, now: float, jobs: list[_Process]) -> None:
        """Have as many as there should be: those that are too many end as soon as they have finished what they run."""
        members = [Member(one.pid, one.key, one.seen, one.leaving) for one in jobs]
        self._wanted = self._sizer.turn(now, self._wanted, members, self._state)
        staying = sorted((one for one in jobs if not one.leaving), key=lambda one: (_runs(one), -one.started))
        for one in staying[: max(0, len(staying) - self._wanted)]:  # first those that run nothing, of these the youngest
            self._tell_off(one, signal.SIGQUIT)

    # the end

    def _leave(self) -> None:
        """The housekeeper goes last: until then leases are kept and the spool is drained."""
        self._notifier.stopping()  # not before: its TimeoutStopSec would end a grace without a limit
        for one in self._of("house"):
            self._tell_off(one)
        until = self._clock() + 20.0
        while self._processes and self._clock() < until:
            self._notifier.beat()
            if self._next_order(_EVERY) == "now":
                break
            self._reap()

    def _kill_all(self) -> None:
        for one in self._processes.values():
            self._send(one, signal.SIGKILL)
        for one in self._processes.values():
            with suppress(ChildProcessError):
                os.waitpid(one.pid, 0)
            if one.seen is not None:
                one.seen.close()
        self._processes.clear()
        self._sizer.end()
        for descriptor in self._alive:
            os.close(descriptor)
        self._alive = ()


def _works(one: _Process) -> bool:
    """Whether a store has heard of it."""
    return one.seen is not None and bool(one.seen.kept(0) or one.seen.kept(1))


def _runs(one: _Process) -> bool:
    return one.seen is not None and bool(one.seen.running)
