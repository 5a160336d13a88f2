"""Queues that are paused, each verb within the transaction of its caller: a setting of the file's for each."""

from __future__ import annotations

from collections.abc import Sequence

from spoolq import stamps
from spoolq.store.base import EVERY_QUEUE
from spoolq.store.sqlite import effects
from spoolq.store.sqlite.session import Session

_PREFIX = "paused:"


def paused(session: Session) -> dict[str, float]:
    """As `Store.paused`."""
    return {queue: stamps.moment(since) for queue, since in effects.metas(session, _PREFIX).items()}


def among(session: Session, queues: Sequence[str]) -> tuple[str, ...]:
    """As `Claimed.paused`."""
    all_of_them = effects.metas(session, _PREFIX)
    return (EVERY_QUEUE,) if EVERY_QUEUE in all_of_them else tuple(all_of_them.keys() & set(queues)) if all_of_them else ()


def pause(session: Session, queue: str) -> bool:
    """As `Store.pause`."""
    return effects.set_meta(session, _PREFIX + queue, f"{session.now / 1e6:.6f}", None)


def resume(session: Session, queue: str) -> bool:
    """As `Store.resume`."""
    there = effects.meta(session, _PREFIX + queue)
    return there is not None and effects.set_meta(session, _PREFIX + queue, None, there)
