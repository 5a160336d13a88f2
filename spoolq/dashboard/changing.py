"""What actions have in common: the stores that a change is for, and what to say where one of them could not take it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from spoolq.dashboard.asking import Ask, Refused
from spoolq.errors import SpoolqError
from spoolq.places import there

if TYPE_CHECKING:
    from spoolq.store.base import Spool, Store


def spool(ask: Ask) -> Spool:
    """This host's spool, where its file is. Raises Refused."""
    found = ask.q.spool
    if found is None or not there(ask.q.settings.spool_path):
        raise Refused("There is no spool on this host.")
    return found


def both(ask: Ask, change: Callable[[Store], object]) -> str:
    """Make a change in the primary and in this host's spool, where there is one. Returns where it was made, in words; raises
    Refused where it was made in neither."""
    stores: list[tuple[str, Store]] = []
    settings = ask.q.settings
    if settings.sqlite_path is not None:
        stores.append(("in the queue", ask.q.primary))
    else:
        stores.append(("in Redis", ask.q.primary))
        if ask.q.spool is not None and there(settings.spool_path):
            stores.append(("in this host's spool", ask.q.spool))
    done, failed = [], []
    for where, store in stores:
        try:
            change(store)
        except SpoolqError as error:
            failed.append(f"{where}: {error}")
        else:
            done.append(where)
    if not done:
        raise Refused(f"Nothing was changed {'; '.join(failed)}")
    return " and ".join(done) + (f" (not {'; '.join(failed)})" if failed else "")
