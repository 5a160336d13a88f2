"""The signals that a worker process obeys."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType

from spoolq import stacks
from spoolq.mailbox import Mailbox

NOW = signal.SIGUSR1
"""What a pool sends to its processes so that they stop at once. Not a second TERM: a TERM to a whole group would be one."""


OBEYED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTSTP,
    signal.SIGCONT,
    signal.SIGHUP,
    signal.SIGTTIN,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


class Obeys:
    """Whoever has a loop that does what it is told. Telling is safe in a signal handler: it only notes the order."""

    def __init__(self) -> None:
        self._orders = Mailbox[str]()

    def stop(self, *, now: bool = False, grace: bool = True) -> None:
        """Take no more jobs, finish what runs within the grace, and end: `now` at once, not `grace` without a limit."""
        self._orders.put("now" if now else "stop" if grace else "quit")

    def pause(self, paused: bool = True) -> None:
        """Take no more jobs until resumed; running ones go on."""
        self._orders.put("pause" if paused else "resume")

    def reopen(self) -> None:
        """Open log files anew, which may have been moved."""
        self._orders.put("reopen")

    def say(self) -> None:
        """Say in a line how it is."""
        self._orders.put("say")

    def _next_order(self, timeout: float) -> str | None:
        """What is to be done next; None when nothing was said for `timeout` seconds."""
        return self._orders.take(timeout)


def install(who: Obeys, title: str, *, pooled: bool = False) -> None:
    """TERM, INT: stop, the second one at once. QUIT: stop, without a limit. TSTP, USR2: pause, CONT: resume. HUP: open log files
    anew. TTIN: stacks to standard error, and a line of status. And a title for the process. Only from the main thread.

    `pooled`: the pool's process decides: INT, which a terminal sends to all, is its own, and only it says "at once".
    """
    told = pooled
    _taken.update(OBEYED)

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal told
        who.stop(now=told and not pooled)
        told = True

    def quit(number: int, frame: FrameType | None) -> None:
        nonlocal told
        told = True
        who.stop(grace=False)

    signal.signal(signal.SIGTERM, end)
    # not SIG_IGN, which the programs that tasks start would inherit
    signal.signal(signal.SIGINT, (lambda number, frame: None) if pooled else end)
    signal.signal(signal.SIGQUIT, quit)
    if pooled:
        signal.signal(NOW, lambda number, frame: who.stop(now=True))
    for each in (signal.SIGTSTP, signal.SIGUSR2):
        signal.signal(each, lambda number, frame: who.pause())
    signal.signal(signal.SIGCONT, lambda number, frame: who.pause(False))
    signal.signal(signal.SIGHUP, lambda number, frame: who.reopen())
    signal.signal(signal.SIGTTIN, lambda number, frame: who.say())
    stacks.listen(signal.SIGTTIN)
    with suppress(ImportError):
        from setproctitle import setproctitle

        setproctitle(title)


_taken: set[signal.Signals] = set()


def _after_fork() -> None:
    """A process that a task forks, as `multiprocessing` does, is no worker: it ends by TERM as others do."""
    if _taken:
        stacks.end()
    while _taken:
        signal.signal(_taken.pop(), signal.SIG_DFL)


os.register_at_fork(after_in_child=_after_fork)
