"""Where a worker process stands among those of its host."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from spoolq import units
from spoolq.errors import ConfigError
from spoolq.runtime import Folder

_OWN = 8 << 20  # bytes that a process of a pool has at least beside what was imported

RECYCLED = 85
"""The exit code of a pool's process that has done or eaten as much as it may, and is to be started anew."""


@dataclass(frozen=True, slots=True)
class Membership:
    """What one process knows of the others.

    folder     where their files are; None for no place
    pool       the key of its pool, empty for none
    house      whether it has the services that keep the queue going; in a pool one process has them for all
    parent     a descriptor that is at its end when the pool's own process has ended; None outside of a pool
    max_jobs   run so many, then end as RECYCLED; max_memory: end so when it has become larger, in bytes
    """

    folder: Folder | None = None
    pool: str = ""
    house: bool = True
    parent: int | None = None
    max_jobs: int | None = None
    max_memory: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_jobs", "max_memory"):
            if (value := getattr(self, name)) is not None:
                counted(name, value)
        if self.max_memory is not None and importlib.util.find_spec("psutil") is None:
            raise ConfigError("max_memory needs: pip install 'spoolq[worker]'")

    def begin(self) -> None:
        """Before a pool's processes are started. Raises ConfigError where each would be too large as it begins, and replaced
        after one job."""
        if self.max_memory is not None and self.max_memory < (least := _memory() + _OWN):
            raise ConfigError(
                f"max_memory={units.say_size(self.max_memory)}: a process with this application needs"
                f" {units.say_size(least)} before it has run anything; give it more"
            )

    def worn(self, ran: int) -> str:
        """Why another process should be started in place of this one, which ran so many jobs; empty when there is no reason.
        Before the first one there is none: the next process would be as large, and nothing would ever be run."""
        if self.max_jobs is not None and ran >= self.max_jobs:
            return f"it ran {ran} jobs, of {self.max_jobs}"
        if ran and self.max_memory is not None and (used := _memory()) > self.max_memory:
            return f"it uses {units.say_size(used)} of memory, more than {units.say_size(self.max_memory)}"
        return ""


ALONE = Membership()


def counted(name: str, value: object, most: int | None = None) -> int:
    """A number of things, 1 at least. Raises ConfigError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1 or (most is not None and value > most):
        raise ConfigError(f"{name}={value!r}: a whole number from 1 {'up' if most is None else f'to {most}'} is needed")
    return value


def _memory() -> int:
    """Bytes of memory that this process has for itself and shares."""
    import psutil  # of the extra `worker`, and only where a limit was set

    used: int = psutil.Process().memory_info().rss
    return used
