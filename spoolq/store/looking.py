"""What a store tells of itself and of what is in it. The docstrings are the specification.

Times are epoch seconds. Nothing here changes anything; each verb raises `StoreUnavailable` when the store can't be reached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from spoolq.store.tally import Ledger, Sample, Span

_LATELY = 15.0  # seconds; a drainer that moves rows says so every five


class Depth(NamedTuple):
    """How much there is of one queue. `oldest` is the age in seconds of the oldest ready job, None where it can't be told."""

    queue: str
    ready: int
    scheduled: int
    claimed: int
    oldest: float | None


class Guard(NamedTuple):
    """A guard that is held: its key, by whom, and for how many seconds yet; infinite where it has no end."""

    key: str
    holder: str
    left: float


class Load(NamedTuple):
    """How busy a store is: `wait` is what a small request just took, in seconds. How full: bytes `used` of `limit`, None where
    that wasn't asked, isn't known, or there is no limit."""

    wait: float
    used: int | None = None
    limit: int | None = None


class ServerFacts(NamedTuple):
    """What a server says of itself; None where it didn't. Sizes in bytes, `limit` 0 for none. `unasked`: why some are missing.

    `product` is `redis` or `valkey`. `replicas` are connected to it, and it takes no write with fewer than `min_replicas`. Of a
    replica: `linked` to its master. `failing`: what of its persisting failed the last time, in INFO's names. `evicted`: keys that
    it has thrown away since it started. `host_memory`: of the whole machine.
    """

    policy: str | None = None
    used: int | None = None
    limit: int | None = None
    appendonly: bool | None = None
    appendfsync: str | None = None
    save: str | None = None
    role: str | None = None
    unasked: str = ""
    product: str = "redis"
    version: str | None = None
    cluster: bool | None = None
    replicas: int | None = None
    min_replicas: int | None = None
    linked: bool | None = None
    failing: tuple[str, ...] = ()
    clients: int | None = None
    max_clients: int | None = None
    evicted: int | None = None
    host_memory: int | None = None


class Denied(NamedTuple):
    """What this user may not do: commands that every job needs, those that only tell more or confirm a put, and patterns of keys.
    `user` is empty where the server won't say it."""

    user: str = ""
    commands: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


class Stranger(NamedTuple):
    """A worker in Resque's own list that isn't spoolq's. `heard`: its last sign of life in epoch seconds, None where it gives
    none."""

    id: str
    heard: float | None


@dataclass(frozen=True, slots=True)
class SpoolInfo:
    """The state of a spool file. Sizes in bytes; `oldest` is the age in seconds of the oldest row that waits, `drain_paused_at`
    epoch seconds.

    `rows` wait to be handed over; `kept` are in the primary, and here until it is sure not to lose them.
    `share` is how full it is by the nearest of its bounds, whose setting is `bound`: 1.0 where jobs are refused (by `horizon`:
    where rows in doubt are set aside). `reserve` is what is there of the file that is given up to a full disk.
    `settlements` are outcomes of claims in the primary that it could not be told. `damaged`: files that were set aside whole, and
    whose jobs wait to be recovered; `incomplete`: those of which a recovery could not read all, until somebody moves them away.
    `drained` is how many seconds ago a drainer last handed rows over, within some five; None: never.
    """

    path: str
    destination: str
    schema: int
    sqlite: str
    rows: int
    in_doubt: int
    claimed: int
    kept: int
    quarantined: int
    failures: int
    bytes: int
    limit_bytes: int
    disk_free: int
    min_free: int
    oldest: float | None
    share: float = 0.0
    bound: str = ""
    reserve: int = 0
    settlements: int = 0
    drain_paused_at: float | None = None
    damaged: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()
    drained: float | None = None

    @property
    def empties(self) -> bool:
        """Whether rows have left it for the primary within the last seconds."""
        return self.drained is not None and self.drained < _LATELY


class Looking(Protocol):
    """What there is to see in every store."""

    def queues(self) -> list[str]:
        """The names of the queues that there are, in no order: of each with a job that is ready or scheduled, perhaps of others.
        Names that no claim can carry are left out."""

    def depths(self, most: int | None = None) -> list[Depth]:
        """Every queue that there is, by name. With `most`, a store that would have to count jobs counts each number up to that
        only, so that it costs the same however many there are."""

    def tally(self, most: int | None = None) -> Ledger:
        """What has come and gone, and what is there, of every queue: each at one moment, so that of each it balances. Where a
        store has to count its rows, it counts `most` in all, and concludes the others from what came and went (those queues are
        not `counted`): only with None, for all, is each seen that was lost."""

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """What has come and gone, by queue and word: the tally without what is there, which costs the same however much that
        is."""

    def history(self, span: Span, since: float) -> list[Sample]:
        """The samples since that time (epoch seconds), the oldest first."""

    def counters(self) -> Mapping[str, int]:
        """All counters."""

    def series(self, *, timeout: float | None = None) -> Mapping[str, int]:
        """What was added up under each name since the store was made."""

    def value(self, key: str) -> bytes | None:
        """A value set by an effect, None when there is none or its time has passed."""

    def values(self, keys: Sequence[str], *, timeout: float | None = None) -> list[bytes | None]:
        """Several of them, as they are at one moment, within `timeout` seconds (None: the store's own default)."""

    def guards(self) -> list[Guard]:
        """All guards that are held, by key; in Redis also the locks that node-resque has written."""

    def paused(self) -> Mapping[str, float]:
        """The queues from which no claim takes anything, by name, and since when (0.0: not known). `"*"` stands for all."""

    def meta(self, key: str) -> str | None:
        """A small lasting setting (a pause, a cap)."""

    # of the server

    def load(self, timeout: float, *, memory: bool = False) -> Load:
        """How long others have to wait now, measured; with `memory` also how full the store is, where it says so. Raises
        `StoreUnavailable`."""

    def server_facts(self, timeout: float) -> ServerFacts | None:
        """How the server is set up, None for a store that has none. What it won't say is left out. Raises `StoreUnavailable`
        when it doesn't answer."""

    def denied(self, timeout: float) -> Denied | None:
        """What this user's permissions forbid of all that spoolq asks of the server, None for a store that has none. Nothing is
        changed by asking. Raises `StoreUnavailable` when it doesn't answer."""

    def strangers(self, limit: int) -> list[Stranger]:
        """Up to `limit` workers in Resque's own list that aren't spoolq's; none in a store that has no such list."""
