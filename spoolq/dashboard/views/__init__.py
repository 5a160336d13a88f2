"""The views and actions, one file each page. To add a page: a file with `VIEWS` and `ACTIONS`, named here in its place of the
navigation, and its template."""

from __future__ import annotations

from spoolq.dashboard.asking import Action, View
from spoolq.dashboard.views import (
    accounts,
    cron,
    doctor,
    events,
    failures,
    job,
    outages,
    overview,
    queue,
    queues,
    spool,
    waiting,
    workers,
)

_FILES = (
    overview,
    spool,
    outages,
    queues,
    queue,
    waiting,
    cron,
    failures,
    workers,
    job,
    doctor,
    events,
    accounts,
)

VIEWS: tuple[View, ...] = tuple(view for file in _FILES for view in file.VIEWS)
ACTIONS: tuple[Action, ...] = tuple(action for file in _FILES for action in file.ACTIONS)
