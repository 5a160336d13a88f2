"""What policies decide on, and what they answer. Values and their times only."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from spoolq.errors import ConfigError

Broker = Literal["well", "slow", "away", "refusing"]
"""How the store is: answers; answers after a while; doesn't; or answers, and takes nothing."""

Cause = Literal["bounds", "backlog", "idle", "memory", "cpu", "broker", "blind", "delay", "enough"]
"""What a decision was about, in a word: for counters."""

MOST_PROCESSES = 1000


class Bounds(NamedTuple):
    """How many processes there may be, and whose word that is: `--processes`, or an operator's."""

    least: int
    most: int
    whose: str = "--processes"

    @classmethod
    def checked(cls, least: int, most: int) -> Bounds:
        """Those of a pool's start. Raises ConfigError for bounds that are none."""
        if not 1 <= least <= most <= MOST_PROCESSES:
            raise ConfigError(f"processes={least}:{most}: MIN:MAX with 1 <= MIN <= MAX <= {MOST_PROCESSES} is needed, as in 2:8")
        return cls(least, most)

    def __str__(self) -> str:
        return f"{self.least}" if self.least == self.most else f"{self.least}:{self.most}"


class Sight(NamedTuple):
    """What was seen of the store at a time (of the monotonic clock).

    backlog   jobs that are ready and that this pool may take
    oldest    age in seconds of the oldest of them, None where it can't be told
    wait      seconds that a small request took
    spooled   jobs that wait in this host's spool, None where that can't be told. Nothing is decided by it
    """

    at: float
    broker: Broker
    backlog: int | None = None
    oldest: float | None = None
    wait: float | None = None
    spooled: int | None = None


class Host(NamedTuple):
    """How loaded this host is; None for what it doesn't tell.

    cpu            share of the processor time that this pool may use (cores, affinity, cgroup quota) which is used, by anybody
    cores          how many cores that is
    stall          share of the last 10 s in which something waited for a core (pressure stall information)
    load           load average of the last minute, by core
    free           bytes of memory that can still be had, within the limit of the cgroup
    total          bytes of all, or that limit
    memory_stall   share of the last 10 s in which everything waited for memory
    """

    cpu: float | None = None
    cores: float | None = None
    stall: float | None = None
    load: float | None = None
    free: int | None = None
    total: int | None = None
    memory_stall: float | None = None


NOTHING_KNOWN = Host()


class Sample(NamedTuple):
    """A pool at a time (of the monotonic clock).

    size       processes that should be there
    ready      those of them that have begun to work
    leaving    those that were told to end, and finish what they run
    busy       share of what `ready` can run that is taken, 0.0 to 1.0
    working    how many of them run a job
    ran        jobs that all have ended so far; never less than before
    threads    of each
    lag        seconds by which the latest thread or event loop of them was late; None where that isn't known
    each       bytes of memory that the largest has for itself
    sight      what was seen of the store last
    """

    at: float
    size: int
    ready: int
    busy: float
    working: int = 0
    leaving: int = 0
    ran: int = 0
    threads: int = 1
    lag: float | None = None
    each: int | None = None
    sight: Sight | None = None
    host: Host = NOTHING_KNOWN


class Decision(NamedTuple):
    """How many there should be from now on, and why, in words: of a change as of none."""

    size: int
    why: str
    cause: Cause = "enough"


class Policy(Protocol):
    """Decides from samples in the order of their times. Pure: it keeps what it learned, and looks at nothing else."""

    name: str

    def decide(self, sample: Sample, bounds: Bounds) -> Decision:
        """How many there should be, within `bounds`."""
