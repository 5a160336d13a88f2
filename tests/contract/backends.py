"""Every store that the contract suite runs against, behind one way to open it: in this process, or in another by its spec."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spoolq.store.base import Store

PATIENT = 30.0
"""Seconds for one call: a busy machine is no fault of the store's."""

DISK = 30.0
"""The same for a file: a sync waits behind all that others of this machine write."""


@dataclass
class Backend:
    """`open` gives a new store on the same data each time, `anew` one on data of its own; `spec` opens one in another process
    by `open_spec`."""

    id: str
    open: Callable[[], Store]
    anew: Callable[[int], Store]
    spec: tuple[str, str] | None


def open_spec(kind: str, where: str) -> Store:
    """A store on data that another process made."""
    if kind == "sqlite":
        from spoolq.store.sqlite import SQLiteStore

        return SQLiteStore(where, timeout=DISK)
    from spoolq.store.redis import RedisStore

    return RedisStore(where, deadline=PATIENT, timeout=PATIENT)


def sqlite_backend(folder: Path) -> Backend:
    spec = ("sqlite", str(folder / "jobs.db"))
    return Backend("sqlite", lambda: open_spec(*spec), lambda n: open_spec("sqlite", str(folder / f"jobs-{n}.db")), spec)


def fake_backend() -> Backend:
    import fakeredis

    from spoolq.store.redis import RedisStore

    server = fakeredis.FakeServer()

    def opened() -> Store:
        client: Any = fakeredis.FakeRedis(server=server)
        return RedisStore("redis://fake", client=client, deadline=PATIENT, timeout=PATIENT)

    def anew(n: int) -> Store:
        client: Any = fakeredis.FakeRedis(server=fakeredis.FakeServer())
        return RedisStore("redis://fake", client=client, deadline=PATIENT, timeout=PATIENT)

    return Backend("fakeredis", opened, anew, None)


def redis_backend(id: str, url: str) -> Backend:
    from spoolq.store.redis import RedisStore

    def anew(n: int) -> Store:
        return RedisStore(url, namespace=f"model-{n}", deadline=PATIENT, timeout=PATIENT)

    return Backend(id, lambda: open_spec("redis", url), anew, ("redis", url))
