"""How soon another process sees a commit in an SQLite file, by each way in which it could be told, and what waiting costs it.

    python -m benchmarks.wakeups [COMMITS]

One process commits rows, synced, and tells of each; another waits and then looks. They are pinned to a core each. The table is
that of docs/design/wake-up.md.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import sqlite3
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from benchmarks.stage import pin
from spoolq.store.sqlite.wake import Bell

PATIENCE = 1.0  # seconds of a wait that nobody ends
BETWEEN = 0.01  # seconds of rest before a commit: the waiter is idle
IN_MODIFY = 2  # of inotify(7)
PAIR = struct.Struct("dd")

Wait = Callable[[], None]
Tell = Callable[[], None]


class Way(NamedTuple):
    """`wait` is made in the process that waits, `tell` in the one that commits."""

    name: str
    wait: Callable[[Path], Wait]
    tell: Callable[[Path], Tell]


def _bell(path: Path) -> Tell:
    return Bell(f"{path}-wake").ring


def _hear(path: Path) -> Wait:
    listener = Bell(f"{path}-wake").listener()
    listener.ready()
    return lambda: listener.wait(PATIENCE)


def _bind(path: Path) -> Wait:
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(f"{path}-socket")
    receiver.settimeout(PATIENCE)

    def wait() -> None:
        with suppress(OSError):
            receiver.recv(16)

    return wait


def _send(path: Path) -> Tell:
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def tell() -> None:
        sender.sendto(b".", f"{path}-socket")

    return tell


def _watch(path: Path) -> Wait:
    libc = ctypes.CDLL(None, use_errno=True)
    watcher = libc.inotify_init1(os.O_NONBLOCK)
    if libc.inotify_add_watch(watcher, f"{path}-wal".encode(), IN_MODIFY) < 0:
        raise OSError(ctypes.get_errno(), "inotify_add_watch")
    poll = select.poll()
    poll.register(watcher, select.POLLIN)

    def wait() -> None:
        if poll.poll(PATIENCE * 1000):
            os.read(watcher, 65536)

    return wait


def _ask(every: float) -> Callable[[Path], Wait]:
    def made(path: Path) -> Wait:
        connection = sqlite3.connect(path, isolation_level=None)
        seen = connection.execute("PRAGMA data_version").fetchone()

        def wait() -> None:
            nonlocal seen
            until = time.monotonic() + PATIENCE
            while (found := connection.execute("PRAGMA data_version").fetchone()) == seen and time.monotonic() < until:
                time.sleep(every)
            seen = found

        return wait

    return made


def _nothing(_: Path) -> Tell:
    return lambda: None


WAYS = (
    Way("a FIFO, edge-triggered", _hear, _bell),
    Way("a Unix socket, datagrams", _bind, _send),
    Way("inotify on the WAL", _watch, _nothing),
    Way("data_version, each 50 ms", _ask(0.05), _nothing),
    Way("data_version, each 5 ms", _ask(0.005), _nothing),
    Way("data_version, each 1 ms", _ask(0.001), _nothing),
)


def _waiter(way: Way, path: Path, commits: int, ready: int, seen: int) -> None:
    """Wait and look, again and again; write when each row was seen, then how much of a core an idle wait takes, and the looks."""
    pin(0)
    look = sqlite3.connect(path, isolation_level=None)
    wait, looks, found = way.wait(path), 0, 0
    os.write(ready, b".")
    while found < commits:
        wait()
        looks += 1
        (rows,) = look.execute("SELECT count(*) FROM jobs").fetchone()
        if rows > found:
            found = rows
            os.write(seen, PAIR.pack(time.monotonic(), 0.0))
    used, began = time.process_time(), time.monotonic()
    while time.monotonic() - began < PATIENCE:
        wait()
    os.write(seen, PAIR.pack((time.process_time() - used) / (time.monotonic() - began), looks))


@contextmanager
def _beside(way: Way, path: Path, commits: int) -> Iterator[int]:
    """The waiter in a process of its own; what it writes."""
    (ready, is_ready), (seen, saw) = os.pipe(), os.pipe()
    if not (pid := os.fork()):
        try:
            _waiter(way, path, commits, is_ready, saw)
        finally:
            os._exit(0)
    os.close(is_ready)
    os.close(saw)
    try:
        if not os.read(ready, 1):
            raise SystemExit(f"{way.name}: the process that waits has ended")
        yield seen
    finally:
        os.close(ready)
        os.close(seen)
        os.waitpid(pid, 0)


def measure(way: Way, commits: int) -> str:
    """A line of the table."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "jobs.db")
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.executescript("PRAGMA journal_mode=wal; PRAGMA synchronous=full; CREATE TABLE jobs (payload BLOB)")
            with _beside(way, path, commits) as seen:
                tell, late, cost = way.tell(path), [], []
                for _ in range(commits):
                    time.sleep(BETWEEN)
                    connection.execute("INSERT INTO jobs VALUES (zeroblob(500))")
                    done = time.monotonic()
                    tell()
                    cost.append(time.monotonic() - done)
                    late.append(PAIR.unpack(os.read(seen, PAIR.size))[0] - done)
                idle, looks = PAIR.unpack(os.read(seen, PAIR.size))
    late.sort()
    cost.sort()
    middle, last = commits // 2, commits * 99 // 100
    return (
        f"| {way.name} | {late[middle] * 1e3:,.2f} | {late[last] * 1e3:,.2f} | {cost[middle] * 1e6:.0f} | {idle * 100:.2f} %"
        f" | {looks / commits:.1f} |"
    )


def main() -> None:
    """Print the table."""
    commits = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    pin(1)
    print("| told by | p50, ms | p99, ms | costs who commits, µs | an idle waiter, of a core | looks a row |")
    print("|---|---|---|---|---|---|")
    for way in WAYS:
        print(measure(way, commits), flush=True)


if __name__ == "__main__":
    main()
