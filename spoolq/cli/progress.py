"""How far a drain has come: a line that is rewritten on a terminal, JSON lines for a program, a line now and then for a log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from spoolq.cli.output import emit, terminal
from spoolq.errors import ConfigError, StoreUnavailable
from spoolq.units import jobs, say_age, when

if TYPE_CHECKING:
    from spoolq.cli.orphans import Orphans
    from spoolq.drain import Drainer
    from spoolq.sieve import Drained
    from spoolq.store.base import Spool

MEMORY = 5.0  # seconds over which the rate is taken


def facts(event: str, done: Drained, left: int, rate: float, at: float) -> dict[str, Any]:
    """One line of `--json`. `rate` in rows a second, `eta` in seconds (None while nothing moves)."""
    return {
        "event": event,
        "at": when(at),
        "moved": done.moved,
        "already_there": done.already_there,
        "expired": done.expired,
        "unique": done.unique,
        "cancelled": done.cancelled,
        "quarantined": done.quarantined,
        "left": left,
        "rate": round(rate, 1),
        "eta": round(left / rate, 1) if rate > 0 else None,
        "error": None if done.error is None else str(done.error),
    }


class Progress:
    """Says every `every` seconds how far it has come, and at the end what was done.

    On standard error for people, on standard output as JSON lines; counting what is left costs a look into the spool, so it is
    done only when something is said.
    """

    def __init__(
        self,
        spool: Spool | Orphans,
        drainer: Drainer | Orphans,
        as_json: bool,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._spool, self._drainer, self._json = spool, drainer, as_json
        self._clock, self._wall = clock, wall
        self._live = terminal(err=True) and not as_json
        self._every = 0.2 if self._live else 1.0 if as_json else 10.0
        self._said = self._began = clock()
        self._marks = [(self._began, drainer.progress.rows)]
        self._drawn = False
        self._quiet = 0

    def report(self, done: Drained) -> None:
        """Called after each step; speaks when it is time to."""
        now = self._clock()
        if now - self._said < self._every:
            return
        self._said = now
        self._marks = [*[mark for mark in self._marks if now - mark[0] <= MEMORY], (now, done.rows)]
        left = self._spool.waiting()
        if self._json:
            emit(facts("progress", done, left, self._rate(), self._wall()))
        elif self._live:
            self._draw(self._words(done, left))
        elif done.rows != self._quiet:  # a log needs no line a second that says that nothing happens
            self._quiet = done.rows
            click.echo(self._words(done, left), err=True)

    def status(self) -> str:
        """One line for who asks: how far it has come, and what it waits for."""
        try:
            return self._words(self._drainer.progress, self._spool.waiting())
        except (ConfigError, StoreUnavailable) as error:
            return f"{self._drainer.progress.rows:,} moved; the spool can't be asked: {error}"

    def end(self, left: int) -> None:
        """The last word: what was done."""
        done = self._drainer.progress
        spent = max(self._clock() - self._began, 1e-9)
        if self._drawn:
            self._draw("")
        if self._json:
            emit(facts("done", done, left, done.rows / spent, self._wall()))
            return
        parts = [f"Moved {jobs(done.moved)} in {say_age(spent)}"]
        if done.already_there:
            parts.append(f"{done.already_there:,} were in Redis already")
        if done.expired:
            parts.append(f"{done.expired:,} had expired and were dropped")
        if done.unique:
            parts.append(f"{done.unique:,} were unique, had an equal one in Redis, and were dropped")
        if done.cancelled:
            parts.append(f"{done.cancelled:,} had been cancelled")
        if done.quarantined:
            parts.append(f"{done.quarantined:,} were set aside")
        click.echo(f"{'; '.join(parts)}; {left:,} left.")

    def _rate(self) -> float:
        (first, before), (last, after) = self._marks[0], self._marks[-1]
        return (after - before) / (last - first) if last > first else 0.0

    def _words(self, done: Drained, left: int) -> str:
        if done.error is not None and done.error.reason == "paused":
            return f"{jobs(left)} safe in the spool, draining is paused (`spoolq drain resume`)"
        if done.error is not None:
            return f"{jobs(left)} safe in the spool, waiting for Redis ({done.error.reason})"
        rate = self._rate()
        time_left = f", {say_age(left / rate)} left" if rate and left else ""
        return f"{done.rows:,} moved, {left:,} to go, {rate:,.0f} a second{time_left}"

    def _draw(self, text: str) -> None:
        click.echo(f"\r{text:<78.78}" if text else f"\r{'':78}\r", nl=False, err=True)
        self._drawn = bool(text)
