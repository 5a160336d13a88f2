"""What a SQLite store was told when it was made, checked at once."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from spoolq import boot
from spoolq.errors import ConfigError, NoPlace

MIB = 1 << 20
SMALLEST = 2 * MIB
LARGEST_RESERVE = 8 * MIB

Role = Literal["primary", "spool"]


@dataclass(frozen=True, slots=True)
class Settings:
    """See `SQLiteStore` for what each one means."""

    path: str
    role: Role
    destination: str
    create: bool
    remember: float
    max_bytes: int
    max_rows: int | None
    min_free: int
    timeout: float
    synchronous: str
    clock: Callable[[], float]
    ordered: bool = False
    make_directory: bool = False
    ticks: Callable[[], tuple[str, float]] = boot.tick

    def __post_init__(self) -> None:
        if self.role not in ("primary", "spool"):
            raise ConfigError(f"role={self.role!r}: 'primary' or 'spool'")
        if self.max_bytes < SMALLEST:
            raise ConfigError(f"max_bytes={self.max_bytes}: a queue file needs at least {SMALLEST} bytes (2 MiB)")
        if self.max_rows is not None and self.max_rows < 1:
            raise ConfigError(f"max_rows={self.max_rows}: at least 1, or None for no limit")
        if self.min_free < 0:
            raise ConfigError(f"min_free={self.min_free}: bytes of the disk to leave free, 0 or more")
        if not (0 < self.timeout < math.inf):
            raise ConfigError(f"timeout={self.timeout}: seconds that the disk may take, more than 0")
        if not (0 <= self.remember < math.inf):
            raise ConfigError(f"remember={self.remember}: seconds that ids are remembered, 0 or more")
        if self.synchronous not in ("FULL", "NORMAL", "EXTRA", "OFF"):
            raise ConfigError(
                f"synchronous={self.synchronous!r}: FULL, or EXTRA, NORMAL, OFF (the last two lose jobs on power loss)"
            )
        if not self.path or "\0" in self.path:
            raise ConfigError(f"{self.path!r} can't be the path of a queue file")

    def prepare_place(self) -> None:
        """Raise ConfigError where the file can't be; make its directory first where that is asked for. It waits for the disk."""
        directory = os.path.dirname(self.path)
        if self.make_directory:
            with suppress(OSError):  # what is missing is said below
                os.makedirs(directory, mode=0o700, exist_ok=True)
        if os.path.isdir(self.path):
            raise NoPlace(f"{self.path} is a directory: name a file in it, for example {os.path.join(self.path, 'spool.db')}")
        if not os.path.isdir(directory):
            raise NoPlace(f"{self.path}: there is no directory {directory}. Make it, owned by the user that runs this")
        if not os.path.exists(self.path):
            if not self.create:
                raise ConfigError(f"no spool at {self.path}")
            if not os.access(directory, os.W_OK | os.X_OK):
                raise NoPlace(f"{self.path}: the directory {directory} is not writable for this user ({os.geteuid()})")

    @property
    def headroom(self) -> int:
        """Bytes below `max_bytes` that puts leave to claims and settling: 5 %, and 1 MiB at least."""
        return max(self.max_bytes // 20, MIB)

    @property
    def reserve(self) -> int:
        """Bytes of the reserve file, beside `max_bytes`."""
        return min(self.headroom, LARGEST_RESERVE)
