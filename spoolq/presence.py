"""That a worker process lives and what it runs, in a small file that others of its host read.

The file is locked for as long as the process lives: whoever can lock it knows that the process is dead, whatever number another
process got since, and settles what it held. What each thread runs stands in shared memory, so that it costs no system call, and
survives a SIGKILL.

    head    "spoolq2\\n", length of the facts, number of slots, times at which the leases were kept (primary, spool); when, by how
            many seconds a thread or the event loop was late, and how many jobs have ended so far,
            and whether its threads have all that they can do
    facts   JSON: the worker, and the pool it belongs to
    slots   state, time after which the process may be killed (0: none), token
    begun   checksums of the tokens that were begun last, round and round: more than a worker holds without having told of them
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import logging
import mmap
import os
import stat
import struct
import time
import weakref
import zlib
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import NamedTuple

from spoolq.runtime import Folder
from spoolq.store.base import WorkerInfo

log = logging.getLogger("spoolq.worker")

_MAGIC = b"spoolq2\n"
_HEAD = struct.Struct("<8sQQddddQQ")
_BEAT = struct.Struct("<d")
_BEATS = 24  # where in the head they begin
_PULSE = struct.Struct("<ddQQ")
_PULSE_AT = 40
_SLOT = struct.Struct("<Bxxxxxxxd80s")
_KILL_AT = struct.Struct("<d")
_SLOT_KILL_AT = 8  # where in a slot it stands
_SUM = struct.Struct("<I")
_LAST = 4096  # places for tokens that were begun
_MOST = 4 << 20  # bytes of a file that could be ours
_IDLE, _RUNS, _STRUCK = 0, 1, 2


class Running(NamedTuple):
    """What one thread runs: its slot, the claim's token, and the time (shared by all processes of the host until the next boot)
    after which its process may be killed, 0 for never. `struck`: it was killed for that."""

    slot: int
    token: str
    kill_at: float
    struck: bool


class Pulse(NamedTuple):
    """How a process went at a time (of the monotonic clock, 0 for never): its latest thread or event loop was `late` by so many
    seconds, `ran` jobs had ended in it, and the store gave it as many jobs as it had room for (`fed`)."""

    at: float
    late: float
    ran: int
    fed: bool


class Presence:
    """This process's own file. `slots`: how many jobs can run at a time. `pool`: the key of its pool, empty for none."""

    def __init__(self, folder: Folder, info: WorkerInfo, slots: int, pool: str = "") -> None:
        self._folder, self._info, self._slots, self._pool = folder, info, slots, pool
        self._map: mmap.mmap | None = None
        self._fd = -1
        self._base = self._begun = 0
        self._numbers = itertools.count()  # threads share it: each takes a place of its own

    def appear(self) -> bool:
        """Make the file, locked. False where there is no place for it: this worker's death is found out by its lease alone."""
        facts = _facts(self._info, self._pool)
        self._base = _HEAD.size + (len(facts) + 7) // 8 * 8
        self._begun = self._base + self._slots * _SLOT.size
        size = self._begun + _LAST * _SUM.size
        mine = f"{self._info.key}.new"
        try:
            with self._folder.opened(make=True) as folder:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                self._fd = os.open(mine, flags, 0o600, dir_fd=folder)
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # room is had now: a write into memory that the disk has none for is a SIGBUS
                if os.pwrite(self._fd, bytes(size), 0) < size:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                self._map = mmap.mmap(self._fd, size)
                self._map[: self._base] = (_HEAD.pack(_MAGIC, len(facts), self._slots, *6 * (0,)) + facts).ljust(
                    self._base, b"\0"
                )
                os.rename(mine, self._info.key, src_dir_fd=folder, dst_dir_fd=folder)  # complete and locked from the first look
        except OSError as error:
            log.warning("no place for a worker's file (%s): should it die, its jobs run again when its lease is over", error)
            self.abandon()
            with suppress(OSError), self._folder.opened() as folder:
                os.unlink(mine, dir_fd=folder)
            return False
        _opened.add(self)
        return True

    def begin(self, slot: int, token: str, kill_after: float | None) -> None:
        """A thread runs that claim from now; after `kill_after` seconds the process may be killed for it, None for never."""
        map = self._map
        if map is None or not 0 <= slot < self._slots:
            return
        at = self._base + slot * _SLOT.size
        kill_at = 0.0 if kill_after is None else time.monotonic() + kill_after
        name = token.encode()
        _SLOT.pack_into(map, at, _IDLE, kill_at, name)
        map[at] = _RUNS  # last: whoever finds it finds the rest
        _SUM.pack_into(map, self._begun + next(self._numbers) % _LAST * _SUM.size, zlib.crc32(name))

    def end(self, slot: int) -> None:
        """The thread is done with it."""
        map = self._map
        if map is not None and 0 <= slot < self._slots:
            map[self._base + slot * _SLOT.size] = _IDLE

    def give_up(self, slot: int) -> bool:
        """What runs there can't be ended. In a pool its process is killed for it."""
        map = self._map
        if map is None or not self._pool or not 0 <= slot < self._slots:
            return False
        _KILL_AT.pack_into(map, self._base + slot * _SLOT.size + _SLOT_KILL_AT, time.monotonic())
        return True

    def beat(self, store: int) -> None:
        """The lease in that store (0: the primary, 1: the spool) was kept now."""
        map = self._map
        if map is not None:
            _BEAT.pack_into(map, _BEATS + 8 * store, time.monotonic())

    def pulse(self, late: float, ran: int, fed: bool) -> None:
        """How this process goes now: see `Pulse`."""
        map = self._map
        if map is not None:
            _PULSE.pack_into(map, _PULSE_AT, time.monotonic(), late, ran, fed)

    def vanish(self) -> None:
        """Take the file away: every store was told that the worker has ended."""
        map = self._map
        if map is not None:
            for slot in range(self._slots):  # who has it open sees that it ended by itself
                map[self._base + slot * _SLOT.size] = _IDLE
            with suppress(OSError), self._folder.opened() as folder:
                os.unlink(self._info.key, dir_fd=folder)
        self.abandon()

    def abandon(self) -> None:
        """Leave the file to others, who settle what is still held. In a forked child: let go of it without unlocking it."""
        self._map, fd, self._fd = None, self._fd, -1  # not closed: a thread may be about to write there
        if fd >= 0:
            os.close(fd)


class Seen:
    """Another worker's file, opened; not `lockable` with one descriptor less, for who never asks whether it is dead. Raises
    OSError where it can't be, ValueError where it is none."""

    def __init__(self, folder: Folder, name: str, *, lockable: bool = True) -> None:
        self._folder, self._name = folder, name
        self._sums: set[int] | None = None
        with folder.opened() as opened:
            self._fd = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=opened)
        _opened.add(self)
        try:
            about = os.fstat(self._fd)
            if not stat.S_ISREG(about.st_mode) or not _HEAD.size < about.st_size <= _MOST:
                raise ValueError(f"{name} is no worker's file")
            self._map = mmap.mmap(self._fd, about.st_size)
            magic, length, self._slots, *_ = _HEAD.unpack_from(self._map)
            self._base = _HEAD.size + (length + 7) // 8 * 8
            self._begun = self._base + self._slots * _SLOT.size
            if magic != _MAGIC or self._begun + _LAST * _SUM.size > about.st_size:
                raise ValueError(f"{name} is no worker's file")
            self.info, self.pool = _read(self._map[_HEAD.size : _HEAD.size + length])
        except BaseException:
            self.close()
            raise
        if not lockable:  # the map has one of its own
            os.close(self._fd)
            self._fd = -1

    @property
    def running(self) -> list[Running]:
        """What its threads run."""
        return list(self._running())

    def _running(self) -> Iterator[Running]:
        states = self._map[self._base : self._base + self._slots * _SLOT.size : _SLOT.size]
        for slot in (slot for slot, state in enumerate(states) if state != _IDLE):
            state, kill_at, token = _SLOT.unpack_from(self._map, self._base + slot * _SLOT.size)
            if state != _IDLE:
                yield Running(slot, token.rstrip(b"\0").decode(errors="replace"), kill_at, state == _STRUCK)

    def began(self, token: str) -> bool:
        """Whether that claim was begun, as far as it is known: one that wasn't is hardly ever taken for it."""
        if self._sums is None:
            self._sums = {sum for (sum,) in _SUM.iter_unpack(self._map[self._begun : self._begun + _LAST * _SUM.size])}
        return zlib.crc32(token.encode()) in self._sums

    def kept(self, store: int) -> float:
        """When its lease in that store was kept last, 0 for never."""
        at: float = _BEAT.unpack_from(self._map, _BEATS + 8 * store)[0]
        return at

    @property
    def slots(self) -> int:
        """How many jobs it can run at a time: in threads, and on its event loop."""
        return int(self._slots)

    @property
    def pulse(self) -> Pulse:
        """What it told of itself last."""
        at, late, ran, fed = _PULSE.unpack_from(self._map, _PULSE_AT)
        return Pulse(at, late, ran, bool(fed))

    def strike(self, slot: int) -> None:
        """Note that its process is killed for what runs there."""
        self._map[self._base + slot * _SLOT.size] = _STRUCK

    def is_dead(self) -> bool:
        """Whether its process has ended. Then it is ours to settle, until it is closed."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        with (
            suppress(OSError),
            self._folder.opened() as folder,
        ):  # somebody else may have settled it between our open and our lock
            about = os.stat(self._name, dir_fd=folder, follow_symlinks=False)
            mine = os.fstat(self._fd)
            return (about.st_dev, about.st_ino) == (mine.st_dev, mine.st_ino)
        return False

    def remove(self) -> None:
        """Everything is settled: take the file away."""
        with suppress(OSError), self._folder.opened() as folder:
            os.unlink(self._name, dir_fd=folder)

    def close(self) -> None:
        """Let go of it."""
        if hasattr(self, "_map"):
            self._map.close()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Seen:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def names(folder: Folder) -> list[str]:
    """The keys of the workers that have a file there."""
    try:
        with folder.opened() as opened:
            return sorted(name for name in os.listdir(opened) if not name.endswith(".new"))
    except OSError:
        return []


def dead(folder: Folder, keys: Collection[str]) -> frozenset[str]:
    """Those of the workers with these keys of which it is known here that their process has ended."""
    found = set()
    for name in set(names(folder)).intersection(keys) if keys else ():
        with suppress(OSError, ValueError), Seen(folder, name) as seen:
            if seen.is_dead():
                found.add(name)
    return frozenset(found)


def _facts(info: WorkerInfo, pool: str) -> bytes:
    values = (info.key, info.host, info.pid, info.queues, info.threads, info.started_at, info.lease, info.kind, pool)
    return json.dumps(values).encode()


def _read(text: bytes) -> tuple[WorkerInfo, str]:
    try:
        key, host, pid, queues, threads, started_at, lease, kind, pool = json.loads(text)
        return WorkerInfo(key, host, pid, tuple(queues), threads, started_at, lease, kind), pool
    except (TypeError, ValueError) as error:
        raise ValueError(f"a worker's file that can't be read: {error}") from None


_opened: weakref.WeakSet[Presence | Seen] = weakref.WeakSet()


def _after_fork() -> None:
    """A forked child keeps no descriptor of them: neither a lock that outlives its holder, nor hundreds of a large pool."""
    for one in list(_opened):
        if isinstance(one, Presence):
            one.abandon()
        else:
            one.close()


os.register_at_fork(after_in_child=_after_fork)
