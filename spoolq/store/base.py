"""The contract that every store keeps. The docstrings are its specification; `tests/contract` holds each store to it. What there
is to see in a store is `spoolq.store.looking`.

A store takes and gives bytes and never looks into a payload. Times are epoch seconds; those named `not_after` are on the
store's own clock (`now()`). Every verb raises `StoreUnavailable` when the store can't be reached or refuses, with
`maybe_applied` when it isn't known whether the verb took effect. Nothing above this contract imports a driver.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from spoolq.job import Claim, Failure, Handoff, Message
from spoolq.store.effects import NONE, Effects
from spoolq.store.events import Away, EventLog
from spoolq.store.failures import FailureLog
from spoolq.store.journal import Settlements
from spoolq.store.looking import Looking, SpoolInfo
from spoolq.store.quota import Quota
from spoolq.store.tally import Ledger
from spoolq.store.upkeep import Upkeep
from spoolq.store.waiting import WaitingJobs

DRAIN_PAUSED = "drain-paused"
"""The key in a spool's meta under which an operator's pause is kept: since when, in epoch seconds."""

DRAINED_AT = "drained-at"
"""The key in a spool's meta under which a drainer says when it last handed jobs over, in epoch seconds."""

CANCELS = "cancels"
"""The key in a spool's meta that says until when (epoch seconds) drainers look for rows that are to be called back."""

EVERY_QUEUE = "*"
"""In the place of a queue's name, where pauses are told and set."""

MAX_ROWS, MAX_BYTES = 500, 1 << 20
"""Of one put: a script of more would hold up the server for everybody."""


MOST_SERIES = 10_000
"""Names that a store adds numbers up under: metrics are read as a whole, by one command."""


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """Who claims. `key` is new at each start (a process id may come back); the rest is for people and for Resque's own views.

    `lease` is in seconds: claims of this worker may be taken over when it hasn't been heard of for so long.
    """

    key: str
    host: str
    pid: int
    queues: tuple[str, ...]
    threads: int = 1
    started_at: float = 0.0
    lease: float = 30.0
    kind: Literal["worker", "drainer"] = "worker"

    @property
    def role(self) -> Literal["worker", "housekeeper", "drainer"]:
        """What it does, for people: a pool's housekeeper is a worker that runs no job."""
        return "housekeeper" if self.kind == "worker" and not self.threads else self.kind

    def resque_id(self, slot: int) -> str:
        """Resque's id of one running thread, `host:pid[+slot]:queues` (three parts, none empty: resque-web insists)."""
        return f"{self.host}:{self.pid}{f'+{slot}' if slot else ''}:{','.join(self.queues) or '*'}"


class Working(NamedTuple):
    """What one thread is doing, or the event loop: its slot (the threads' are 0 to threads - 1), the claim, and since when (epoch
    seconds)."""

    slot: int
    claim: Claim
    since: float


class WorkerView(NamedTuple):
    """A worker as `Store.workers` reports it. `lease_left` is in seconds, negative once the lease ran out."""

    info: WorkerInfo
    lease_left: float
    claims: int
    working: tuple[Working, ...]


class Claimed(NamedTuple):
    """What `claim` took, and the tokens among its `ack` that were no longer held. `more`: it took fewer than it was asked for
    because of their size. `paused`: the queues among those asked for from which nothing is taken, `("*",)` where that is all.
    `limited`: (queue, seconds) of those at one of their limits in which more jobs wait, and when it makes sense to ask again."""

    claims: tuple[Claim, ...]
    lost: tuple[str, ...] = ()
    more: bool = False
    paused: tuple[str, ...] = ()
    limited: tuple[tuple[str, float], ...] = ()


class Life(NamedTuple):
    """Which life of a store this is, and how far on in it: a run of its process, a line of its data, and its progress.

    Of a store that can't tell, or can't lose what it answered, all lives are the same.
    """

    run: str = ""
    line: str = ""
    progress: int = 0

    def continues(self, earlier: Life) -> bool:
        """Whether nothing says that what was applied in that earlier moment may have been lost since."""
        return self[:2] == earlier[:2] and self.progress >= earlier.progress


class Store(Looking, Protocol):
    """Where jobs are kept: Redis, or an SQLite file."""

    apart: bool
    """Whether another process does its work, so that this one can do something else meanwhile."""

    @property
    def failures(self) -> FailureLog:
        """The failure log of this store."""

    @property
    def events(self) -> EventLog | None:
        """The journal that lies in this store, None where it has none: a host's own is never in Redis."""

    @property
    def waiting_jobs(self) -> WaitingJobs:
        """The jobs that wait in this store, one by one."""

    # putting

    def put(
        self,
        messages: Sequence[Message],
        effects: Effects = NONE,
        *,
        timeout: float | None = None,
        not_after: float | None = None,
        hold: bool = False,
    ) -> list[bool]:
        """Store the messages: all or nothing, idempotent on the id. Returns, for each, whether it was new (False: that id
        was there). What is ready goes to the end of its queue, with `front` to its front: of several, the last is the first.

        Within `timeout` seconds (None: the store's own default) it has returned or raised, whatever the network or disk does.
        `not_after` is the time on the store's clock from which the attempt must no longer be applied; by default what is
        left of `timeout`.
        `hold` keeps the ids remembered until `forget` names them (a drainer's put: its rows are still there);
        without it the store forgets an answered id by itself, unless it was `given`.

        Raises `StoreFull`; `StoreUnavailable`, with `not_after` when it may have been applied; `GuardHeld`; `PayloadError`
        when the store can never take such a message.
        """

    def forget(self, ids: Sequence[tuple[str, float]]) -> None:
        """Each (id, time): the id need not be remembered once the store's clock is past the time. It is sent along with a later
        put; called with no ids, all that may go by now goes at once (`StoreUnavailable` when it can't)."""

    def ready(self, timeout: float) -> float:
        """Prove within `timeout` that a put would be answered now, and return the store's own time. Raises
        `StoreUnavailable` otherwise."""

    def now(self) -> float:
        """The store's own clock, as near as it is known, without asking it."""

    # what became of it

    def life(self, timeout: float) -> Life:
        """This moment. Another run or line, or less progress than before, and the store may have lost what it had answered."""

    def remembers(self, ids: Sequence[str]) -> list[bool]:
        """For each id, whether it was put, and the store neither forgot it nor lost it."""

    def persisted(self, *, replica: bool, timeout: float) -> bool | None:
        """Whether all that was applied before this call is on the store's disk (with `replica`: in another server), waiting for
        it up to `timeout` seconds. None where the store can't tell."""

    # taking and settling

    def register(self, worker: WorkerInfo) -> None:
        """Make the worker known. `heartbeat` and `claim` do so too, for one that was forgotten."""

    def unregister(self, worker: WorkerInfo) -> None:
        """The worker ends. Claims that it still holds are left for `rescue`, at once."""

    def heartbeat(self, worker: WorkerInfo, working: Sequence[Working] | None = ()) -> int:
        """Every lease of the worker ends `worker.lease` from now; what its threads work on is shown (None: what is shown stays,
        for who keeps another's leases). One command however many claims.

        Returns how many claims the store holds for it: a number that isn't the worker's own leads to `reconcile`.
        """

    def workers(self) -> list[WorkerView]:
        """Every worker that is known, those whose lease ran out included."""

    def claim(
        self,
        worker: WorkerInfo,
        call: int,
        queues: Sequence[str],
        limit: int,
        *,
        ack: Sequence[Claim] = (),
        effects: Effects = NONE,
        timeout: float | None = None,
        quotas: Sequence[Quota] = (),
    ) -> Claimed:
        """Settle `ack` as done (with `effects`) and take up to `limit` due jobs, in one step: queues in the order given,
        oldest first in each, nothing from those that are paused. A store that is reached over a network may take fewer, for their
        size, at least one: `more`. Of queues with a quota it takes no more than that allows.

        `call` is the worker's call number, counted up by one a call. The same number again (after a lost answer) gets the same
        claims and outcome again and changes nothing; a lower one, or one that arrives after `timeout` has passed, raises
        `StaleCall`.
        """

    def reconcile(self, worker: WorkerInfo, call: int, known: Collection[str] = ()) -> tuple[Claim, ...]:
        """In one step: make `call` the worker's last number, so that no earlier call can still take effect, and list the
        claims it holds. Of those whose tokens are `known`, queue and payload may be left empty."""

    def ack(self, claims: Sequence[Claim], effects: Effects = NONE) -> None:
        """These are done, and gone. Raises `LeaseLost` naming those no longer held, after the others were settled."""

    def retry(self, claim: Claim, payload: bytes, at: float, effects: Effects = NONE) -> None:
        """Back into its queue with this payload (one attempt counted in it), not before `at`. Raises `LeaseLost`."""

    def fail(self, claim: Claim, failure: Failure, effects: Effects = NONE) -> None:
        """Out of the queue and into the failure log, in one step. Raises `LeaseLost`."""

    def release(self, claims: Sequence[Claim]) -> None:
        """Back at the front of their queues, at once, in their order, no attempt counted. Raises `LeaseLost` as `ack` does."""

    def rescue(self, worker: WorkerInfo, limit: int) -> list[Claim]:
        """Take over up to `limit` claims whose lease ran out, under new tokens, as `worker`'s own: to be settled by the
        retry policy. Fewer may come for their size; none, when there are none.

        A worker left without claims and lease is unregistered. What a drainer held is no attempt at running: such rows are made
        ready again (in doubt as they are) and not returned.
        """

    def due(self) -> bool:
        """Whether a `promote` makes sense now, by a look that costs less."""

    def promote(self, limit: int) -> int:
        """Make up to `limit` scheduled jobs that have come due claimable. Returns how many; housekeeping of the store rides
        along."""

    def leads(self) -> bool:
        """Whether what one process does for all is this one's to do, now: in Redis it has Resque's scheduler lock, by its own
        `promote`; in a file any may. Asked of the store each time; it may have changed by the time of the answer."""

    def wait(self, worker: WorkerInfo, queues: Sequence[str], timeout: float, *, appear: bool = False) -> bool:
        """Block until one of the queues may have a job, or `timeout` has passed; with `appear` also until a queue appears,
        whatever its name. May wake for nothing. Returns False on the time-out."""

    # counting

    def write_off(self, jobs: Mapping[str, int]) -> None:
        """Count so many jobs of each of these queues as gone: nobody will find them any more."""

    def sample(self) -> Ledger | None:
        """Note the tally in the history, where this minute's or this hour's sample isn't there yet; the history stays as short as
        `spoolq.store.tally.KEPT` says. Returns what was noted, None where nothing was to be. Many may call it; one for all is
        enough."""

    def add_series(self, numbers: Mapping[str, int], *, timeout: float | None = None) -> None:
        """Add these numbers up, each under its name (printable text, of which the store doesn't ask what it means), all in one
        step or in several. Once there are `MOST_SERIES` names, about, new ones are left out, and so is what can't be added to."""

    # an operator's

    def pause(self, queue: str) -> bool:
        """Let no claim that begins from here on take anything from the queue, whether there is such or not; `"*"`: from any.
        What was claimed before goes on. Kept until `resume`. Returns False when it was paused already."""

    def resume(self, queue: str) -> bool:
        """Take a pause back; `"*"` only the one of all queues. Returns False when there was none. Who waits sees it at the next
        look."""

    def set_meta(self, key: str, value: str | None, *, expected: str | Literal[False] | None = False) -> bool:
        """Set it (None: delete). With `expected`, only when it still has that value; returns whether it was set."""

    def purge(self, queue: str) -> int:
        """Delete the ready jobs of a queue. Returns how many there were."""

    def close(self, timeout: float = 1.0) -> None:
        """Answer what is in flight, within `timeout`, and free what is held. Safe to call twice."""


class Spool(Store, Protocol):
    """A store that also keeps jobs for a primary that could not take them: what failing over and draining need beside
    `Store`."""

    @property
    def upkeep(self) -> Upkeep:
        """What an operator does to it."""

    @property
    def events(self) -> EventLog:
        """What befell this host."""

    @property
    def settlements(self) -> Settlements:
        """What workers of this host could not tell the primary yet."""

    def spool(
        self,
        messages: Sequence[Message],
        effects: Effects = NONE,
        *,
        not_after: float | None = None,
        timeout: float | None = None,
        outage: Away | None = None,
    ) -> list[bool]:
        """Store jobs that the primary did not take, with these effects here: as `put`, synced to disk on return.

        `not_after` says that an attempt for them may still be applied by the primary until that time on its clock: the rows are
        in doubt, no local worker takes them. Rows of a given id are in doubt from birth. An id that is there keeps its doubt.
        A guard whose holder's row came into doubt by an attempt refuses nobody: that job may have run.
        `outage`: why they come here; they are counted to it in the same transaction, which begins one where none lasts.
        """

    def holds(self, queues: Collection[str], *, timeout: float | None = None) -> bool:
        """Whether a row of one of these queues is here, claimed ones included and those in quarantine not: what comes after
        it, and is to keep its order, must wait behind it."""

    def recall(self, ids: Sequence[str], *, timeout: float | None = None) -> list[Literal["waiting", "ran"] | None]:
        """For a call with given ids, before anyone asks the primary; an answer for each, in order. `waiting`: a row, which is put
        in doubt; `ran`: it was settled here, within the horizon. All in one transaction, in `timeout` seconds together."""

    def take(self, worker: WorkerInfo, limit: int, max_bytes: int, not_after: float) -> list[Handoff]:
        """Claim up to `limit` rows (and `max_bytes` of payload, at least one row) for the primary: oldest first, whatever
        queue and `run_at`. Where the spool keeps order, none of a queue of which a row is claimed.

        In the same transaction each row is put in doubt and notes `not_after`, the time past which this attempt can't be
        applied any more.
        """

    def exchange(
        self,
        done: Sequence[Handoff],
        worker: WorkerInfo,
        limit: int,
        max_bytes: int,
        not_after: float,
        *,
        known: Collection[str] = (),
    ) -> tuple[list[Handoff], tuple[str, ...]]:
        """`handed_over` of those that are done and `take` of the next, in one transaction. Returns what was taken, and the tokens
        of `done` that were no longer held."""

    def handed_over(self, handoffs: Sequence[Handoff], effects: Effects = NONE, *, known: Collection[str] = ()) -> None:
        """The primary has them: delete the rows. `known`: the tokens of those that it had before they were put, which count as
        duplicates. Effects, and `LeaseLost`, as `ack` has them."""

    def give_back(self, handoffs: Sequence[Handoff], *, applied: Literal["no", "maybe"]) -> None:
        """The primary did not take them. With `no`, each row's doubt is what it was before; with `maybe`, it stays in doubt."""

    def attend(self) -> None:
        """A drainer of this spool runs in this process, until `leave`, `close` or the process's end. Asked each turn; raises
        nothing."""

    def attended(self) -> bool:
        """Whether a drainer of this spool runs anywhere now: `spoolq drain`, or a worker that drains."""

    def leave(self) -> None:
        """None runs in this process any more."""

    def keep(self, handoffs: Sequence[Handoff], life: Life, effects: Effects = NONE, *, known: Collection[str] = ()) -> None:
        """The primary has them, since a moment not before `life`: the rows stay for `message.keep` seconds at least, kept, in
        doubt, out of everybody's way. `known`, effects, and `LeaseLost`, as `handed_over` has them."""

    def watches(self) -> list[Watch]:
        """Every batch of kept rows, whoever handed it over, in the order in which they will be due."""

    def kept(self, watch: Watch, limit: int) -> list[Kept]:
        """Up to `limit` rows of this batch. A batch without rows is gone."""

    def let_go(self, watch: Watch, kept: Sequence[Kept]) -> list[Kept]:
        """The primary will not lose these any more: delete the rows. One that is not kept under this watch is passed over.
        Returns those that were deleted: nobody will send them again."""

    def send_again(self, watch: Watch, kept: Sequence[Kept]) -> None:
        """The primary may have lost these: they wait to be handed over, in doubt, where they were. Passes over as `let_go`."""

    def quarantine(self, handoff: Handoff, reason: str) -> None:
        """Set one row aside, with the reason, out of everybody's way. Nothing is deleted. Raises `LeaseLost`."""

    def waiting(self, limit: int | None = None) -> int:
        """How many rows wait to be handed over, those in claims included, kept ones and those in quarantine not; counted up to
        `limit` only."""

    def info(self, most: int | None = None) -> SpoolInfo:
        """Facts for people. With `most` each number of rows is counted up to that only."""


class Watch(NamedTuple):
    """Rows that are kept: when they were handed over, and whether their time is up."""

    number: int
    life: Life
    due: bool


class Kept(NamedTuple):
    """A row that is kept, by its number in the file. `not_after` is the latest time at which an attempt may still be applied."""

    row: int
    id: str
    given: bool
    not_after: float
