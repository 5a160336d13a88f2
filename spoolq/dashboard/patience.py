"""The application as pages see it: its primary over a connection of the dashboard's own, which answers soon or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from spoolq import stores

if TYPE_CHECKING:
    from spoolq.app import SpoolQ
    from spoolq.store.base import Store

READING = 0.75
"""Seconds that Redis has for an answer to a page: one that doesn't answer must not hold up the page for longer."""


class _Impatient:
    """Everything of `q` but its primary."""

    def __init__(self, q: SpoolQ, timeout: float) -> None:
        self._q = q
        self.primary: Store = q.primary if q.settings.sqlite_path is not None else stores.open_primary(q.settings, timeout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._q, name)


def impatient(q: SpoolQ, timeout: float = READING) -> SpoolQ:
    """That application, of whose primary each answer is there in `timeout` seconds, or StoreUnavailable is raised. What it makes
    (a drainer, a worker) is the application's own. Nothing of a page waits behind an enqueue of the same process, nor the other
    way round."""
    return cast("SpoolQ", _Impatient(q, timeout))
