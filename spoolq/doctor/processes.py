"""Which processes have a file open, and what they are. From Linux's /proc; what isn't told there isn't known."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_TICK = os.sysconf("SC_CLK_TCK")
_GONE = " (deleted)"
_SITE = re.compile(rb"^[^/\n]*(/[^\n]*)/uuid_utils/[^/\n]*\.so", re.MULTILINE)
_MAPS = 4 << 20


class Holder(NamedTuple):
    """A process that has the file open. `current`: it is the one that is at the path now. `name` is the program's, which may be
    anything. `state` is the kernel's letter, `T` for stopped. `started_at` in epoch seconds. `version`: of the spoolq that it
    runs, as its environment says it. `files` of `most_files` are open."""

    pid: int
    name: str
    current: bool
    state: str
    started_at: float
    version: str | None
    files: int
    most_files: int | None


def holders(path: str, root: str = "/") -> Sequence[Holder]:
    """Those that this user may see, this process left out, by number."""
    proc, path = f"{root.rstrip('/')}/proc", os.path.realpath(path)
    boot = _boot(proc)
    found = []
    for pid in sorted(int(name) for name in os.listdir(proc) if name.isdigit() and int(name) != os.getpid()):
        with suppress(OSError):  # another user's, or it ended meanwhile
            descriptors = os.listdir(f"{proc}/{pid}/fd")
            there = list(_open(f"{proc}/{pid}/fd", descriptors, path))
            if there:
                found.append(_holder(proc, pid, all(there), len(descriptors), boot))
    return found


def _open(folder: str, descriptors: Sequence[str], path: str) -> Iterator[bool]:
    """For each that names the file, whether it is the one that is there now."""
    for number in descriptors:
        with suppress(OSError):
            name = os.readlink(f"{folder}/{number}")
            if name == path + _GONE:
                yield False
            elif name == path or _set_aside(name, path):
                yield name == path and os.path.samestat(os.stat(f"{folder}/{number}"), os.stat(path))


def _set_aside(name: str, path: str) -> bool:
    """Whether that is what became of the file: moved beside itself."""
    return os.path.dirname(name) == os.path.dirname(path) and os.path.basename(name).startswith(
        tuple(f"{os.path.basename(path)}.{what}-" for what in ("damaged", "recovered", "incomplete"))
    )


def state(pid: int, root: str = "/") -> str:
    """The kernel's letter for what the process does, empty where there is no such process."""
    with suppress(OSError, IndexError):
        return _stat(f"{root.rstrip('/')}/proc", pid)[0]
    return ""


def _holder(proc: str, pid: int, current: bool, files: int, boot: float) -> Holder:
    fields = _stat(proc, pid)
    name = Path(f"{proc}/{pid}/comm").read_text(errors="replace").strip()
    return Holder(
        pid, name, current, fields[0], boot + int(fields[19]) / _TICK, _version(proc, pid), files, _most_files(proc, pid)
    )


def _stat(proc: str, pid: int) -> list[str]:
    """From the third field on: the second is a name in brackets, which may hold anything (proc_pid_stat(5))."""
    return Path(f"{proc}/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def _boot(proc: str) -> float:
    with suppress(OSError, ValueError, IndexError):
        text = Path(f"{proc}/stat").read_text()
        return float(next(line for line in text.splitlines() if line.startswith("btime ")).split()[1])
    return 0.0


def _most_files(proc: str, pid: int) -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in Path(f"{proc}/{pid}/limits").read_text().splitlines():
            if line.startswith("Max open files"):
                return int(line.split()[3])
    return None


def _version(proc: str, pid: int) -> str | None:
    """By the place of a library that every process which enqueued has loaded, and what is installed beside it."""
    with suppress(OSError), open(f"{proc}/{pid}/maps", "rb") as file:
        found = _SITE.search(file.read(_MAPS))
        if found is not None:
            installed = sorted(Path(os.fsdecode(found[1])).glob("spoolq-*.dist-info"))
            return installed[-1].name.removeprefix("spoolq-").removesuffix(".dist-info") if installed else None
    return None
