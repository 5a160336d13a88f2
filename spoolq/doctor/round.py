"""A round through the checks."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from spoolq.doctor.case import Check
from spoolq.doctor.catalogue import CHECKS
from spoolq.doctor.look import Look
from spoolq.store.upkeep import Finding

if TYPE_CHECKING:
    from spoolq.app import SpoolQ

ORDER = {"problem": 0, "warning": 1, "unknown": 2, "note": 3, "ok": 4}


def check(
    q: SpoolQ, app: str | None = None, deep: bool = False, *, only: Collection[str] = (), look: Look | None = None
) -> list[Finding]:
    """Everything that spoolq can tell about this deployment, worst first; at least one finding a check, `ok` where all is well.

    app   the APP whose tasks `q` has, for the remedies; without its tasks some checks can't be made
    deep  look at the whole file, however long that takes; otherwise a round takes seconds at most, whatever hangs
    only  names of checks, or subjects (`server`, `spool`, `work`, `host`); by default all that there can be here
    look  through which it is looked

    Changes nothing, and raises nothing for what is away, broken or forbidden: that is what it finds.
    """
    look = look or Look(q, app=app, deep=deep)
    found = [finding for one in chosen(q, only) for finding in one.examine(look)]
    return sorted(found, key=lambda finding: ORDER[finding.level])


def chosen(q: SpoolQ, only: Collection[str] = ()) -> list[Check]:
    """The checks that make sense here: of no server where the queue is an SQLite file."""
    server = q.settings.sqlite_path is None
    fit = [one for one in CHECKS if server or one.subject != "server"]
    return [one for one in fit if not only or one.name in only or one.subject in only]
