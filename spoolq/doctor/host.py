"""This host: its settings, its limits, and how its services are set up."""

from __future__ import annotations

import re
import resource
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from spoolq.autoscale.host import Probe
from spoolq.doctor.case import Room, note, problem, some, warning
from spoolq.doctor.look import Look
from spoolq.store.upkeep import Finding
from spoolq.units import duration, say_duration, say_size

ROOM = Room("host")

SHORT_LEASE = 10.0
"""Seconds. Another's claims are taken over when its lease is over; a call to a store may take half of this (its time-out)."""

FILES = 256
USED = 0.9


@ROOM.check("settings", "every setting has a known name", "one that is misspelt has no effect, and nothing says so later")
def settings(look: Look) -> Iterator[Finding]:
    """SPOOLQ_… and spoolq.toml."""
    for text in look.q.origins.warnings:
        yield warning(text, "`spoolq config show` lists the names, and where each value came from")


@ROOM.check("lease", "a lease outlives a slow moment", "jobs of a worker that lives run a second time")
def lease(look: Look) -> Iterator[Finding]:
    """Against the time-out of a call."""
    if look.settings.lease < SHORT_LEASE:
        yield warning(
            f"lease is {say_duration(look.settings.lease)}: after a pause that long others run its jobs too",
            "SPOOLQ_LEASE=30s",
        )


@ROOM.check("grace", "workers have the time to finish that they think they have", "systemd kills them first, and jobs run again")
def grace(look: Look) -> Iterator[Finding]:
    """TimeoutStopSec of the units that start a worker, and the tasks' own limits."""
    for name, unit in _units(look.root).items():
        given = re.search(r"--grace[= ]\s*(\S+)", unit.start)
        seconds = look.settings.grace
        if given is not None:
            with suppress(ValueError):
                seconds = duration(given[1])
        if unit.stop is not None and unit.stop <= seconds:
            yield warning(
                f"{name} is killed {say_duration(unit.stop)} after it was asked to end (TimeoutStopSec), and its grace is "
                f"{say_duration(seconds)}",
                f"TimeoutStopSec={int(seconds) + 10} in {name}, and systemctl daemon-reload",
            )
    longer = [name for name in look.q.tasks.names() if (look.q.tasks.get(name).timeout or 0.0) > look.settings.grace]
    if longer:
        yield note(
            f"these tasks may run longer than the grace ({say_duration(look.settings.grace)}), and at a restart they run "
            f"again: {some(longer)}",
            "let them bear it, or raise grace (and TimeoutStopSec)",
        )


@ROOM.check(
    "memory-limit", "this host, or its cgroup, has memory left", "the kernel kills the largest process, in the middle of a job"
)
def memory_limit(look: Look) -> Iterator[Finding]:
    """By what is nearest to its limit."""
    host = Probe(look.root).look(0.0)
    if host.free is not None and host.total and host.free < (1 - USED) * host.total:
        yield warning(
            f"{say_size(host.free)} of {say_size(host.total)} of memory are free here",
            "fewer threads or processes, --max-memory of `spoolq worker`, or a larger limit (MemoryMax, memory.max)",
        )


@ROOM.check("open-files", "processes may open files enough", "without a descriptor neither Redis nor the spool can be reached")
def open_files(look: Look) -> Iterator[Finding]:
    """Of this shell, and of the processes that have the spool open."""
    own = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if own != resource.RLIM_INFINITY and own < FILES:
        yield warning(f"a process started here may open {own} files", "ulimit -n 1024; LimitNOFILE=65536 in the unit")
    near = [
        f"{one.pid} ({one.name}): {one.files} of {one.most_files}" for one in look.holders if _near(one.files, one.most_files)
    ]
    if near:
        yield problem(
            f"these processes have nearly all the files open that they may: {some(near)}", "LimitNOFILE=65536, and restart"
        )


def _near(used: int, most: int | None) -> bool:
    return most is not None and used >= 0.8 * most


@ROOM.check("file-size", "a file may become as large as the spool", "a write past the limit fails, as on a full disk")
def file_size(look: Look) -> Iterator[Finding]:
    """The limit of this shell."""
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if most != resource.RLIM_INFINITY and most < look.settings.spool_max_bytes:
        yield warning(
            f"a process started here may write files of {say_size(most)}, and spool_max_bytes is "
            f"{say_size(look.settings.spool_max_bytes)}",
            "ulimit -f unlimited; LimitFSIZE=infinity in the unit",
        )


class Unit:
    """Of a service: what it starts, and how long systemd waits for its end, None for ever."""

    def __init__(self, text: str) -> None:
        self.start = " ".join(re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE))
        said = re.findall(r"^Timeout(?:Stop)?Sec=(.*)$", text, re.MULTILINE)
        self.stop = _span(said[-1]) if said else 90.0  # systemd's DefaultTimeoutStopSec

    @property
    def works(self) -> bool:
        """Whether it is a worker of spoolq's."""
        return "spoolq" in self.start and " worker" in self.start


_PLACES = (
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
)
_MOST = 2000


def _units(root: str) -> Mapping[str, Unit]:
    """The services of this host that start a worker, each from the first place that has it, with its drop-ins."""
    found: dict[str, Unit] = {}
    for place in _PLACES:
        for path in sorted(Path(root, place).glob("*.service"))[:_MOST]:
            if path.name in found:
                continue
            with suppress(OSError):
                parts = [path, *sorted(Path(f"{path}.d").glob("*.conf"))]
                text = "\n".join(part.read_text("utf-8", "replace")[:65_536] for part in parts).replace("\\\n", " ")
                found[path.name] = Unit(text)
    return {name: unit for name, unit in found.items() if unit.works}


_SPANS = {"": 1.0, "s": 1.0, "sec": 1.0, "ms": 0.001, "m": 60.0, "min": 60.0, "h": 3600.0, "hr": 3600.0}


def _span(text: str) -> float | None:
    """Seconds of systemd.time(7), None for ever and for what isn't understood."""
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if not parts or any(unit not in _SPANS for _, unit in parts):
        return None
    return sum(float(number) * _SPANS[unit] for number, unit in parts) or None
