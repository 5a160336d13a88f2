"""What the checks look at: each fact is asked for once, in bounded time, whoever needs it."""

from __future__ import annotations

import importlib.metadata
import logging
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from spoolq import stores
from spoolq.doctor import processes
from spoolq.doctor.processes import Holder
from spoolq.errors import SpoolqError, StoreUnavailable
from spoolq.facts import TO_CONNECT, Facts, gather
from spoolq.places import folder, there
from spoolq.store.base import Spool
from spoolq.store.looking import Denied, ServerFacts, SpoolInfo, Stranger
from spoolq.store.upkeep import Finding, Peeked
from spoolq.units import MANY

if TYPE_CHECKING:
    from spoolq.app import SpoolQ

log = logging.getLogger("spoolq")

T = TypeVar("T")

ASKING = 2.0  # seconds for one question to Redis
QUICK = 2.0  # seconds for the rows of a spool, without `deep`
_STRANGERS = 1000
_BESIDE = 50  # other files of a directory


class Unseen(Exception):
    """Something could not be looked at, and why, in words; `remedy` says how it can be."""

    def __init__(self, what: str, remedy: str = "mend what the other findings name, and look again") -> None:
        super().__init__(what)
        self.remedy = remedy


class fact(Generic[T]):  # noqa: N801 (used as a decorator)
    """A property that is asked for once. Raises Unseen, each time, where it could not be had within the look's limit."""

    def __init__(self, ask: Callable[[Look], T]) -> None:
        self._ask, self.name = ask, ask.__name__
        self.__doc__ = ask.__doc__

    @overload
    def __get__(self, look: None, owner: Any) -> fact[T]: ...
    @overload
    def __get__(self, look: Look, owner: Any) -> T: ...

    def __get__(self, look: Look | None, owner: Any) -> T | fact[T]:
        if look is None:
            return self
        known = look.known
        if self.name not in known:
            known[self.name] = look.within(self.name, self._ask, long=self.name == "inside")
        answer = known[self.name]
        if isinstance(answer, Unseen):
            raise answer from answer.__cause__
        return cast(T, answer)


class Look:
    """At one deployment, from this host. `root` is where /proc, /sys and /etc are; `wall` tells epoch seconds; `known`: facts
    that needn't be asked for, by name."""

    def __init__(
        self,
        q: SpoolQ,
        *,
        app: str | None = None,
        deep: bool = False,
        limit: float = 6.0,
        root: str = "/",
        wall: Callable[[], float] = time.time,
        known: Mapping[str, Any] | None = None,
    ) -> None:
        self.q, self.settings, self.app, self.deep, self.root, self.wall = q, q.settings, app, deep, root, wall
        self.limit = limit
        self.known: dict[str, Any] = dict(known or {})

    def within(self, name: str, ask: Callable[[Look], Any], *, long: bool = False) -> Any:
        """The answer, or the Unseen in its place. What hangs (a dead network disk) is left behind in its thread. `long`: it may
        take all the time it needs where `deep` was asked for."""
        said: list[Any] = []

        def answer() -> None:
            try:
                said.append(ask(self))
            except Unseen as unseen:
                said.append(unseen)
            except (SpoolqError, OSError) as error:
                said.append(Unseen(str(error)))
                said[0].__cause__ = error
            except Exception as error:
                log.exception("a look at %s failed", name)
                said.append(Unseen(f"an error of spoolq's own: {type(error).__name__}", "the log has its trace; report it"))

        thread = threading.Thread(target=answer, name=f"spoolq-doctor-{name}", daemon=True)
        thread.start()
        thread.join(None if long and self.deep else self.limit)
        return said[0] if said else Unseen(f"no answer within {self.limit:g} s ({name})", "look what hangs: Redis, or the disk")

    # Redis

    @fact
    def refusal(self) -> StoreUnavailable | None:
        """Why Redis takes no jobs, None where it does."""
        try:
            self.q.primary.ready(TO_CONNECT + 1.0)
        except StoreUnavailable as error:
            return error
        return None

    @property
    def answers(self) -> bool:
        """Whether the primary takes jobs now."""
        return self.refusal is None

    def _reachable(self) -> None:
        if self.refusal is not None and self.refusal.reason not in _SPEAKS:
            raise Unseen("Redis could not be asked")

    @fact
    def server(self) -> ServerFacts:
        """What Redis says of itself."""
        self._reachable()
        return self.q.primary.server_facts(ASKING) or ServerFacts()

    @fact
    def denied(self) -> Denied:
        """What this login may not do."""
        if self.refusal is not None and self.refusal.reason != "noperm":
            self._reachable()
        return self.q.primary.denied(ASKING) or Denied()

    @fact
    def skew(self) -> float:
        """By how many seconds Redis's clock is ahead of this host's."""
        self._reachable()
        self.q.primary.load(ASKING)
        return self.q.primary.now() - self.wall()

    @fact
    def wait(self) -> float:
        """Seconds that Redis takes to answer a small question: the median of some."""
        self._reachable()
        return statistics.median(self.q.primary.load(ASKING).wait for _ in range(7))

    @fact
    def strangers(self) -> list[Stranger]:
        """Resque's own workers."""
        self._reachable()
        return self.q.primary.strangers(_STRANGERS)

    @fact
    def client(self) -> Mapping[str, str]:
        """The versions of what speaks to Redis, by package; those that aren't installed are left out."""
        found = {}
        for name in ("redis", "hiredis"):
            try:
                found[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                continue
        return found

    @fact
    def installed(self) -> tuple[str, float]:
        """The version of this spoolq, and since when it is here."""
        try:
            found = importlib.metadata.distribution("spoolq")
        except importlib.metadata.PackageNotFoundError:
            raise Unseen("spoolq runs from a directory in which it was not installed", "pip install spoolq") from None
        head = next((file for file in found.files or () if file.name == "METADATA"), None)
        return found.version, 0.0 if head is None else Path(str(head.locate())).parent.stat().st_mtime

    # the file

    @property
    def path(self) -> Path:
        """Of the spool, or of the queue where that is an SQLite file."""
        return self.settings.sqlite_path or self.settings.spool_path

    @property
    def what(self) -> str:
        """Which of the two."""
        return "spool" if self.settings.sqlite_path is None else "queue"

    @property
    def folder(self) -> Path:
        """The directory in which the file is, or would be made: the nearest one that is there."""
        return folder(self.path, default=self.what == "spool" and self.q.origins["spool"] == "default")

    @fact
    def there(self) -> bool:
        """Whether the file is there, and may be used."""
        return there(self.path)

    @fact
    def disk(self) -> str:
        """The kind of its file system, where that is a bad one."""
        place = self.path if self.there else self.folder
        return stores.kind_of_disk(place)

    @fact
    def peeked(self) -> Peeked | None:
        """What the file is, before it is opened; None where there is none."""
        return stores.peek(self.path) if self.there else None

    def _file(self) -> Spool:
        """The file, opened. It must be there, and nothing in it would be changed by that."""
        peeked = self.peeked
        if peeked is None:
            raise Unseen(f"there is no {self.what} so far")
        if not peeked.ours or not peeked.usable:
            raise Unseen(f"{self.path} is none that this spoolq can use")
        if peeked.journal != "wal":
            raise Unseen(f"the {self.what} was not opened, since that would change its journal mode ({peeked.journal})")
        return self.q.spool or cast(Spool, self.q.primary)

    @fact
    def info(self) -> SpoolInfo | None:
        """What the file holds; None where there is none."""
        return self._file().info(MANY + 1) if self.peeked is not None else None

    @fact
    def inside(self) -> list[Finding]:
        """What a look into the file finds."""
        if self.peeked is None:
            return []
        return self._file().upkeep.check(whole=self.deep, limit=None if self.deep else QUICK)

    @fact
    def drained(self) -> bool | None:
        """Whether somebody drains the spool now; None where there is none so far."""
        if self.what != "spool" or self.peeked is None:
            return None
        return self._file().attended()

    @fact
    def drainers(self) -> Sequence[Holder]:
        """The processes that hold the lock of those who drain it."""
        return processes.holders(f"{self.path}-drain", self.root)

    @fact
    def facts(self) -> Facts:
        """Both stores, as `status` sees them."""
        if self.peeked is not None:
            self._file()
        return gather(self.q, most=MANY + 1)

    @fact
    def holders(self) -> Sequence[Holder]:
        """The processes that have the file open, or had it when it was another one."""
        return processes.holders(str(self.path), self.root)

    @fact
    def beside(self) -> Mapping[Path, Peeked | str]:
        """The other queue files in the same directory that hold jobs and that no process has open; a text where one can't be
        read."""
        found: dict[Path, Peeked | str] = {}
        for path in sorted(self.path.parent.glob("*.db"))[: _BESIDE + 1]:
            if path == self.path or not path.is_file() or not path.stat().st_size:
                continue
            try:
                peeked = stores.peek(path, 0.5)
            except (SpoolqError, OSError) as error:
                found[path] = str(error)
                continue
            if peeked.rows and not processes.holders(str(path), self.root):
                found[path] = peeked
        return found


_SPEAKS = frozenset({"oom", "readonly", "misconf", "noreplicas", "noperm", "cluster", "clusterdown", "masterdown"})
"""Reasons with which Redis takes no job, and still answers questions."""
