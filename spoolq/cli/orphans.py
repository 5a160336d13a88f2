"""Spools that others left behind: every file of a directory, drained in turn by one `spoolq drain`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from spoolq.cli.faults import BAD_CONFIG, CANT_CREATE, Fault
from spoolq.cli.output import hint
from spoolq.drain import Drainer
from spoolq.errors import ConfigError, NoAccess, NoPlace, StoreUnavailable
from spoolq.places import there
from spoolq.sieve import Drained
from spoolq.store.base import Spool
from spoolq.store.looking import Depth
from spoolq.units import jobs

if TYPE_CHECKING:
    from spoolq.app import SpoolQ

log = logging.getLogger("spoolq.drain")

T = TypeVar("T")

LOOK = 10.0  # seconds between looks for new files
AGAIN = 30.0  # seconds until a file that could not be used is tried again
_COUNTS = [field.name for field in fields(Drained) if field.name not in ("error", "left", "began", "counts")]


def adopt(q: SpoolQ, path: Path, *, to_here: bool) -> Spool:
    """The spool at that path, which must be there. Raises Fault, and ConfigError for one of another destination."""
    if not there(path):
        raise Fault(f"no spool at {path}")
    spool = q.adopt(path, to_here=to_here)
    click.get_current_context().call_on_close(spool.close)
    info = spool.info()
    if info.destination != q.settings.destination and info.rows:
        doubt = f"; {info.in_doubt:,} of them are in doubt and may be there as well" if info.in_doubt else ""
        hint(f"spoolq: {path} holds {jobs(info.rows)} for {info.destination}, now on the way to {q.settings.destination}{doubt}")
    return spool


class Orphans:
    """The spools of a directory (`*.db`, and those one level below), as if they were one spool and one drainer. `beside`: what
    else is to be done for one, turn after turn.

    A file that can't be used is told, and left alone; the others are drained.
    """

    def __init__(
        self,
        directory: Path,
        adopt: Callable[[Path], Spool],
        drainer: Callable[[Spool], Drainer],
        beside: Callable[[Spool], Sequence[Callable[[], float]]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory, self._adopt, self._drainer, self._beside, self._clock = directory, adopt, drainer, beside, clock
        self._found: dict[Path, tuple[Spool, Drainer]] = {}
        self._turns: dict[Path, Sequence[Callable[[], float]]] = {}
        self._due: dict[Path, float] = {}
        self._look_at = float("-inf")
        self._held = self._stopping = False
        self._refused: dict[Path, int] = {}

    def left_alone(self) -> dict[Path, int]:
        """The files that are there and could not be used, each with the exit code that is due."""
        return {path: code for path, code in self._refused.items() if path.exists()}

    @property
    def progress(self) -> Drained:
        """Of all together; `error` is that of any."""
        each = [drainer.progress for _, drainer in self._found.values()]
        done = Drained(**{name: sum(getattr(one, name) for one in each) for name in _COUNTS})
        done.error = next((one.error for one in each if one.error is not None), None)
        return done

    def waiting(self, limit: int | None = None) -> int:
        """Rows of all that can be asked."""
        return sum(self._each(lambda spool: spool.waiting(limit)))

    def depths(self) -> Sequence[Depth]:
        """Of all that can be asked, file after file."""
        return [depth for depths in self._each(lambda spool: spool.depths()) for depth in depths]

    def kept_count(self) -> int:
        """Rows of all that are kept although the primary has them."""
        return sum(self._each(lambda spool: spool.info().kept))

    def _each(self, ask: Callable[[Spool], T]) -> Iterator[T]:
        for path, (spool, _) in list(self._found.items()):
            try:
                yield ask(spool)
            except (ConfigError, StoreUnavailable) as error:
                self._refuse(path, error, CANT_CREATE)

    def beside(self) -> float:
        """A turn of what else is done for each of them. For a thread of its own."""
        delays = [LOOK]
        for turn in [turn for turns in list(self._turns.values()) for turn in turns]:
            with suppress(ConfigError, StoreUnavailable):  # one file that fails is no reason to leave the others
                delays.append(turn())
        return min(delays)

    def look(self) -> None:
        """Open what is new."""
        now = self._clock()
        if now < self._look_at:
            return
        self._look_at = now + LOOK
        for path in sorted({*self._directory.glob("*.db"), *self._directory.glob("*/*.db")}):
            if path in self._found or now < self._due.get(path, now):
                continue
            try:
                if not path.stat().st_size:
                    continue  # nothing was ever spooled there, and opening would make a spool of it
                spool = self._adopt(path)
                self._found[path] = spool, self._drainer(spool)
                self._found[path][1].hold(self._held)
                self._turns[path] = self._beside(spool)
            except (Fault, NoAccess, NoPlace, StoreUnavailable, OSError) as error:
                self._refuse(path, error, CANT_CREATE)
            except ConfigError as error:
                self._refuse(path, error, BAD_CONFIG)

    def _refuse(self, path: Path, error: Exception, code: int) -> None:
        if path not in self._refused:
            log.error("%s is left as it is: %s", path, error)
        self._refused[path] = code
        self._due[path] = self._clock() + AGAIN

    def turn(self) -> float:
        """One turn of each drainer whose time has come. Returns the seconds until the next."""
        self.look()
        for path, (_, drainer) in self._found.items():
            if not self._stopping and self._due.get(path, 0.0) <= self._clock():
                self._turn(path, drainer)
        due = [self._look_at, *(self._due.get(path, 0.0) for path in self._found)]
        return max(0.0, min(due) - self._clock())

    def _turn(self, path: Path, drainer: Drainer) -> None:
        try:
            self._due[path] = self._clock() + min(drainer.turn(), AGAIN)
        except (ConfigError, StoreUnavailable) as error:
            self._refuse(path, error, CANT_CREATE)
        else:
            self._refused.pop(path, None)

    def run_once(self, timeout: float, *, wait: Callable[[float], object], report: Callable[[Drained], None]) -> Drained:
        """Each until it is empty, one after the other; then those that came meanwhile aren't looked for."""
        self.look()
        for path, (_, drainer) in self._found.items():
            if self._stopping:
                break
            try:
                drainer.run_once(timeout, wait=wait, report=lambda _: report(self.progress))
            except (ConfigError, StoreUnavailable) as error:
                self._refuse(path, error, CANT_CREATE)
        return self.progress

    def hold(self, held: bool = True) -> None:
        """As `Drainer.hold`, all of them."""
        self._held = held
        for _, drainer in list(self._found.values()):
            drainer.hold(held)
        self._due.clear()

    def stop(self) -> None:
        """As `Drainer.stop`."""
        self._stopping = True
        for _, drainer in list(self._found.values()):
            drainer.stop()

    def close(self) -> None:
        """As `Drainer.close`. One wait for ids that may be forgotten is enough."""
        drainers = [drainer for _, drainer in self._found.values()]
        for drainer in drainers[:-1]:
            drainer.stop()
        for drainer in drainers:
            with suppress(ConfigError):  # of one file: the others' rows are to be let go of all the same
                drainer.close()
