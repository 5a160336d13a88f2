"""The rows that a drainer has in hand: what they say of themselves."""

from __future__ import annotations

from collections.abc import Sequence

from spoolq import wire
from spoolq.errors import PayloadError
from spoolq.failed import UNREADABLE
from spoolq.job import RERUN, Handoff, Job, Message
from spoolq.store.effects import NONE, RELAY, Effects, decode


def relayed(handoff: Handoff) -> bool:
    """Whether it is no job, but effects: harmless where they happened already."""
    return handoff.message.queue == RELAY


def effects_of(handoff: Handoff) -> Effects:
    try:
        return decode(handoff.message.payload)
    except ValueError as error:
        raise PayloadError(f"effects that can't be read: {error}") from error


def shown(message: Message) -> Job:
    """For people and their hooks."""
    try:
        return wire.decode(message.payload, message.queue)
    except PayloadError:
        return Job(message.id, UNREADABLE, message.queue)


def said(handoffs: Sequence[Handoff]) -> bytes:
    """All their payloads: what isn't in there need not be looked for in each, and most jobs have none of it."""
    return b"\n".join([handoff.message.payload for handoff in handoffs])


def read(handoff: Handoff) -> Handoff:
    """With what its payload says of its being unique."""
    unique = wire.unique_of(handoff.message.payload, handoff.message.queue)
    return handoff if unique is None else handoff._replace(message=handoff.message._replace(unique=unique))


def released(handoffs: Sequence[Handoff]) -> Effects:
    """What lets the next ones into the spool: these are no longer there. A unique row is a part of its own."""
    unique = handoffs[0].message.unique if handoffs else None
    return NONE if unique is None else Effects(release=((unique.key, handoffs[0].message.id.partition(RERUN)[0]),))
