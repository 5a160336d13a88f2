"""Looking again and again: `--watch`. On a terminal in its other screen, which is left as it was found."""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator

import click

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _TO_LINE_END, _TO_END = "\x1b[H", "\x1b[K", "\x1b[J"


def plain(look: Callable[[], None], every: float) -> None:
    """One look below the other, until interrupted."""
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            look()
            sys.stdout.flush()
            time.sleep(every)


def live(look: Callable[[], None], every: float) -> None:
    """Each look in the place of the one before, until interrupted; drawn anew at once where the terminal has another size.

    Nothing flickers: what is new is written over what was there, and a look that takes its time leaves the last one standing.
    """
    with contextlib.suppress(KeyboardInterrupt), _screen() as signalled:
        while True:
            text = _captured(look)
            due = time.monotonic() + every
            while (left := due - time.monotonic()) > 0:
                _draw(text)
                if select.select([signalled], [], [], left)[0]:
                    signalled.recv(4096)


@contextlib.contextmanager
def _screen() -> Iterator[socket.socket]:
    """Yields what can be read from once a signal came: one that another thread was given wakes nobody who waits otherwise."""
    read, write = socket.socketpair()
    for end in (read, write):
        end.setblocking(False)
    before = signal.signal(signal.SIGWINCH, lambda number, frame: None)
    woken = signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
    out = sys.stdout
    out.write(_ENTER)
    try:
        yield read
    finally:
        out.write(_LEAVE)
        out.flush()
        signal.set_wakeup_fd(woken)
        signal.signal(signal.SIGWINCH, before)
        read.close()
        write.close()


def _captured(look: Callable[[], None]) -> str:
    """What it prints, in colour where the terminal would have it so, and for its width."""
    context = click.get_current_context()
    before, text = context.color, io.StringIO()
    context.color = context.color is not False
    context.terminal_width = os.get_terminal_size(sys.stdout.fileno()).columns
    try:
        with contextlib.redirect_stdout(text):
            look()
    finally:
        context.color = before
    return text.getvalue()


def _draw(text: str) -> None:
    columns, rows = os.get_terminal_size(sys.stdout.fileno())
    lines = text.rstrip("\n").split("\n")
    if len(lines) > rows:
        hidden = len(lines) - rows + 1
        lines = [*lines[: rows - 1], f"... {hidden} more lines: make the window higher"[:columns]]
    fitted = [line if len(click.unstyle(line)) <= columns else click.unstyle(line)[:columns] for line in lines]
    sys.stdout.write(_HOME + "\n".join(f"{line}{_TO_LINE_END}" for line in fitted) + _TO_END)
    sys.stdout.flush()
