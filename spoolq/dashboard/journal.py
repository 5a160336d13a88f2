"""This host's journal, as the pages read and write it: it lies in the spool's file, of a queue in a file in that."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from spoolq.errors import SpoolqError
from spoolq.places import there

if TYPE_CHECKING:
    from spoolq.app import SpoolQ
    from spoolq.dashboard.access import Visitor
    from spoolq.store.events import EventLog

log = logging.getLogger("spoolq.dashboard")


def opened(q: SpoolQ) -> EventLog | None:
    """The journal, None where its file isn't there yet: looking makes none."""
    path = q.settings.sqlite_path or q.settings.spool_path
    return (q.spool or q.primary).events if there(path) else None


def acted(q: SpoolQ, visitor: Visitor, action: str, text: str, detail: dict[str, Any]) -> None:
    """Write down who did what. What can't be written there is in the log, and the action is done all the same."""
    log.info("%s: %s: %s", visitor, action, text)
    try:
        journal = (q.spool or q.primary).events
        if journal is not None:
            who = {"user": visitor.user, "address": visitor.address}
            journal.record("action", f"{text} ({visitor})", **{"action": action, **who, **detail})
    except SpoolqError as error:
        log.warning("the journal could not be written: %s (%s: %s: %s)", error, visitor, action, text)
