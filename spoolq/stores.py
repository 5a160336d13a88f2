"""The two stores that an application's settings describe. The only file that names a concrete one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from spoolq.importing import importing

if TYPE_CHECKING:
    from spoolq.config import Settings
    from spoolq.store.base import Spool, Store
    from spoolq.store.upkeep import Peeked


def open_primary(settings: Settings, timeout: float = 5.0) -> Store:
    """Where jobs belong: Redis, or an SQLite file. Connects to nothing and opens nothing. `timeout`: seconds that Redis has for
    an answer where a call doesn't say how many."""
    if settings.sqlite_path is not None:
        with importing():
            from spoolq.store.sqlite import SQLiteStore
        return SQLiteStore(settings.sqlite_path, remember=settings.horizon, timeout=settings.disk_limit, **_limits(settings))
    with importing():
        from spoolq.store.redis import RedisStore
    return RedisStore(
        settings.url,
        namespace=settings.namespace,
        deadline=settings.deadline,
        horizon=settings.horizon,
        confirm=settings.confirm,
        delayed=settings.delayed,
        timeout=timeout,
    )


def open_spool(
    settings: Settings, path: str | os.PathLike[str], *, create: bool, destination: str, make_directory: bool = False
) -> Spool:
    """A spool at `path`, made at its first use where `create` says so, its directory too where `make_directory` does. Its use
    raises ConfigError when the file is none, can't be there, or is for another destination than the given one (empty: for any);
    where it isn't to be made, this does so already for one that isn't there."""
    with importing():
        from spoolq.store.sqlite import SQLiteStore

    return SQLiteStore(
        path,
        role="spool",
        destination=destination,
        create=create,
        remember=settings.horizon,
        timeout=settings.disk_limit,
        ordered=settings.ordering == "fifo",
        make_directory=make_directory,
        **_limits(settings),
    )


def peek(path: str | os.PathLike[str], timeout: float = 1.0) -> Peeked:
    """What the file at `path`, which must be there, says of itself, within `timeout` seconds or so: nobody's store is made, and
    nothing is changed. Raises StoreUnavailable for what can't be read."""
    with importing():
        from spoolq.store.sqlite.peeking import peek

    return peek(path, timeout)


def kind_of_disk(directory: str | os.PathLike[str]) -> str:
    """The name of the file system there: `ext4`-like ones that are fine have none, and neither has what can't be told."""
    with importing():
        from spoolq.store.sqlite import filesystem

    return filesystem.name(os.fspath(directory))


def _limits(settings: Settings) -> dict[str, Any]:
    return {"max_bytes": settings.spool_max_bytes, "max_rows": settings.spool_max_rows, "min_free": settings.spool_min_free}


def upgrade(path: str | os.PathLike[str], limit: float | None = None) -> tuple[int, int]:
    """Bring the file at `path`, which must be there, to this version's schema. Returns the versions before and now: the same
    where there was nothing to do. Old processes that use it go on. Producers wait meanwhile, for up to `limit` seconds (a second
    by default); what takes longer is undone.

    Raises ConfigError for a file that isn't ours or too new for this version, StoreUnavailable where it was left as it was."""
    with importing():
        from spoolq.store.sqlite.migrations import LIMIT, migrate
        from spoolq.store.sqlite.session import VERSION

    before = migrate(path, limit=LIMIT if limit is None else limit)
    return before, max(before, VERSION)
