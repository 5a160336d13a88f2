"""From the settings to what sizes a pool: in its first process, and in the one that keeps house."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from spoolq.autoscale import board as boards
from spoolq.autoscale.board import Board, State
from spoolq.autoscale.gauge import Gauge
from spoolq.autoscale.load import Load
from spoolq.autoscale.multiworker import MultiWorker
from spoolq.autoscale.sample import Bounds, Policy
from spoolq.autoscale.sizer import About, Sizer
from spoolq.autoscale.words import Ear, address, named
from spoolq.config import digits, runtime_directories
from spoolq.errors import ConfigError, StoreUnavailable
from spoolq.runtime import Folder
from spoolq.selection import Selection
from spoolq.store.base import WorkerInfo
from spoolq.units import MANY

if TYPE_CHECKING:
    from spoolq.config import Settings
    from spoolq.producer import Producer


def policy(settings: Settings, name: str | None = None) -> Policy:
    """The one of that name, by default the setting's."""
    if (name or settings.scale_policy) == "multiworker":
        return MultiWorker(delay=settings.scale_delay, check=settings.scale_check)
    return Load(target=settings.scale_target, idle=settings.scale_idle, most_cpu=settings.scale_cpu)


def folder(settings: Settings) -> Folder:
    """Where the pools of this host and user show how they are: those of the same application."""
    mark = digits(f"{settings.destination} {'' if settings.sqlite_path else settings.spool_path}")
    return Folder(runtime_directories, f"pools-{mark}")


def merged(settings: Settings, published: Sequence[State]) -> list[tuple[State, float | None]]:
    """The pools of this host and user, and those that the primary was told of (`gauge.published`); with each how many seconds
    ago it was heard of, None where another host tells of it."""
    now = time.monotonic()
    here = {state.key: state for state in boards.states(folder(settings), now)}
    found: list[tuple[State, float | None]] = [(state, now - state.at) for state in here.values()]
    found += [(state, None) for state in published if state.key not in here]
    return sorted(found, key=lambda one: (one[0].address, one[0].started_at))


def sizer(
    settings: Settings, by: Policy | None, bounds: tuple[int, int], threads: int, who: WorkerInfo, pool: str, name: str
) -> Sizer:
    """For a pool's first process, whose identity is `who`. Raises ConfigError for bounds, a policy or a name that are none."""
    if by is not None and not (callable(getattr(by, "decide", None)) and isinstance(getattr(by, "name", None), str)):
        raise ConfigError(f"policy={by!r}: an object with a name and decide(sample, bounds) is needed, or None for the setting's")
    checked, place = Bounds.checked(*bounds), folder(settings)
    about = About(pool, who.host, named(name), os.getpid(), who.queues)
    boards.tidy(place, time.monotonic())
    return Sizer(by or policy(settings), checked, threads, board=Board(place, pool), about=about)


def gauging(
    q: Producer, house: WorkerInfo, selection: Selection, pool: str, name: str
) -> Sequence[tuple[str, Callable[[], float]]]:
    """What goes on in the background of the housekeeper of that pool."""

    def outage() -> str | None:
        note = q.hint.read()
        return note.reason if note is not None and note.open else None

    def spooled() -> int | None:
        spool = q.spool
        if spool is None:
            return None
        try:
            return spool.waiting(MANY + 1)
        except (StoreUnavailable, ConfigError):
            return None

    ear = Ear(address(house.host, name), (lambda: q.primary, lambda: q.spool))
    gauge = Gauge(
        q.primary, house, selection, Board(folder(q.settings), pool), ear, outage=outage, spooled=spooled, counts=q.counts
    )
    return [("gauge", gauge.turn)]
