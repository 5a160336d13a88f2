"""This host's journal, as the pages read and write it: it lies in the spool's file, of a queue in a file in that."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from spoolq import events
from spoolq.dashboard.pages import plain
from spoolq.errors import SpoolqError
from spoolq.places import there

if TYPE_CHECKING:
    from spoolq.app import SpoolQ
    from spoolq.dashboard.access import Visitor
    from spoolq.store.events import EventLog

log = logging.getLogger("spoolq.dashboard")


def opened(q: SpoolQ) -> EventLog | None:
    """The journal, None where its file isn't there yet: neither a look nor a note makes one."""
    return q.journal() if there(q.settings.sqlite_path or q.settings.spool_path) else None


def acted(q: SpoolQ, visitor: Visitor, action: str, text: str, detail: dict[str, Any]) -> None:
    """Write down who did what, here and in the log. Where it can't be written the log alone has it, and it is done all the
    same."""
    who = str(visitor)
    text = plain(" ".join(text.splitlines()))  # a name may hold a line of its own, made to be taken for another entry
    log.info("%s: %s: %s", who, action, text)
    about = {"who": who, "what": action, "by": "dashboard", "user": visitor.user, "address": visitor.address, **detail}
    try:
        written = events.record(lambda: opened(q), "action", f"{who}: {text}", **about)
    except SpoolqError:  # a file that this user may not use
        written = False
    if not written:
        log.warning("not in the journal of this host: %s: %s: %s", who, action, text)
