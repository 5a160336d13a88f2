"""The first page: one sentence, the numbers, and pausing all queues."""

from __future__ import annotations

from spoolq import facts
from spoolq.dashboard.asking import Action, Answer, Ask, Confirm, Done, View, link
from spoolq.dashboard.changing import both
from spoolq.store.base import EVERY_QUEUE


def show(ask: Ask) -> Answer:
    """The overview."""
    return Answer("overview.html", "Overview", {"numbers": numbers(ask.facts)}, facts.document(ask.facts))


def numbers(found: facts.Facts) -> list[tuple[str, int | None, str]]:
    """What is where: a word, a count (None: not known), and the page that tells more."""
    primary, known = found.primary, found.primary.state in ("up", "refusing")
    info = found.spool.info if found.spool is not None else None
    return [
        ("Queued", primary.total("ready") if known else None, "/queues"),
        ("Busy", primary.total("claimed") if known else None, "/workers"),
        ("Scheduled", primary.total("scheduled") if known else None, "/scheduled"),
        ("Dead", primary.failures if known else None, "/failures"),
        ("Spooled", info.rows if info is not None else None, "/spool"),
    ]


def _pause(ask: Ask) -> Done:
    done = both(ask, lambda store: store.pause(EVERY_QUEUE))
    return Done(f"All queues are paused {done}. Jobs are taken in as before.", "/")


def _resume(ask: Ask) -> Done:
    done = both(ask, lambda store: store.resume(EVERY_QUEUE))
    return Done(f"Workers take jobs again {done}.", link("/"))


def _sure(ask: Ask) -> Confirm:
    return Confirm("Let no worker of any host take another job? What runs is finished; new jobs wait.", "Pause all queues")


VIEWS = (View("overview", "/", show, "Overview"),)
ACTIONS = (
    Action("queues.pause_all", "/pause", _pause, _sure),
    Action("queues.resume_all", "/resume", _resume),
)
