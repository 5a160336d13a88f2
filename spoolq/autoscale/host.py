"""How loaded this host is, from what Linux says of it in files. What isn't there isn't known, and never an error."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from spoolq.autoscale.sample import Host

_WINDOW = 2.0  # seconds over which the use of the processor is counted
_PAGE = os.sysconf("SC_PAGE_SIZE")


class _Used(NamedTuple):
    """Processor time so far: of all cores that this process may use, in ticks; of its cgroup, in seconds."""

    at: float
    busy: float
    total: float
    group: float | None


class Probe:
    """Looks at the files below `root`. The use of the processor is counted between two looks."""

    def __init__(self, root: str = "/") -> None:
        self._root = root.rstrip("/")
        self._looks: deque[_Used] = deque()

    def look(self, now: float) -> Host:
        """How it is at `now` (of the monotonic clock). `cpu` is known from the second look on."""
        groups = list(self._groups())
        cpus = _allowed()
        quota = min((found for path, version in groups if (found := self._quota(path, version)) is not None), default=None)
        cores = float(len(cpus)) if cpus else None
        if quota is not None:
            cores = min(cores or quota, quota)
        free, total = self._memory(groups)
        load = None
        with suppress(OSError, AttributeError):
            load = os.getloadavg()[0] / (len(cpus) or os.cpu_count() or 1)
        return Host(
            cpu=self._cpu(now, cpus, groups, quota),
            cores=cores,
            stall=self._stall("cpu", "some", groups),
            load=load,
            free=free,
            total=total,
            memory_stall=self._stall("memory", "full", groups),
        )

    # the processor

    def _cpu(self, now: float, cpus: frozenset[int], groups: list[tuple[str, int]], quota: float | None) -> float | None:
        if (ticks := self._ticks(cpus)) is None:
            return _by_psutil()
        looks = self._looks
        looks.append(_Used(now, *ticks, next((used for group in groups if (used := self._used(*group)) is not None), None)))
        while len(looks) > 2 and looks[1].at <= now - _WINDOW:
            looks.popleft()
        first, last = looks[0], looks[-1]
        if last.total <= first.total:
            return None
        shares = [(last.busy - first.busy) / (last.total - first.total)]
        if quota and first.group is not None and last.group is not None and last.at > first.at:
            shares.append((last.group - first.group) / (quota * (last.at - first.at)))
        return min(1.0, max(0.0, *shares))

    def _ticks(self, cpus: frozenset[int]) -> tuple[float, float] | None:
        """Busy and all (proc_stat(5): user nice system idle iowait irq softirq steal; guests are counted in user)."""
        busy = total = 0.0
        for line in self._text("proc/stat").splitlines():
            name, *fields = line.split()
            if name.startswith("cpu") and name[3:].isdecimal() and (not cpus or int(name[3:]) in cpus):
                with suppress(ValueError):
                    numbers = [float(field) for field in fields[:8]]
                    total += sum(numbers)
                    busy += sum(numbers) - sum(numbers[3:5])
        return (busy, total) if total else None

    def _quota(self, path: str, version: int) -> float | None:
        """Cores, None for no limit."""
        if version == 2:
            most, _, period = self._text(f"{path}/cpu.max").partition(" ")
        else:
            most, period = self._text(f"{path}/cpu.cfs_quota_us"), self._text(f"{path}/cpu.cfs_period_us")
        with suppress(ValueError, ZeroDivisionError):
            return cores if (cores := float(most) / float(period)) > 0 else None
        return None

    def _used(self, path: str, version: int) -> float | None:
        if version == 1:
            with suppress(ValueError):
                return float(self._text(f"{path}/cpuacct.usage")) / 1e9
            return None
        used = _keyed(self._text(f"{path}/cpu.stat")).get("usage_usec")
        return None if used is None else used / 1e6

    def _stall(self, what: str, who: str, groups: list[tuple[str, int]]) -> float | None:
        """The share of the last 10 s (kernel's Documentation/accounting/psi), the largest that is told."""
        files = [f"proc/pressure/{what}", *(f"{path}/{what}.pressure" for path, version in groups if version == 2)]
        found = []
        for file in files:
            for line in self._text(file).splitlines():
                if line.startswith(f"{who} avg10="):
                    with suppress(ValueError):
                        found.append(float(line.split()[1].partition("=")[2]) / 100)
        return max(found, default=None)

    # memory

    def _memory(self, groups: list[tuple[str, int]]) -> tuple[int | None, int | None]:
        """Bytes free and in all, by what is nearest to its limit."""
        about = _keyed(self._text("proc/meminfo").replace(":", "").replace(" kB", ""))
        found = []
        if "MemAvailable" in about and "MemTotal" in about:
            found.append((about["MemAvailable"] * 1024, about["MemTotal"] * 1024))
        for path, version in groups:
            limit, usage, cache = (
                ("memory.max", "memory.current", "inactive_file")
                if version == 2
                else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            )
            with suppress(ValueError):  # "max"
                most = int(self._text(f"{path}/{limit}"))
                used = int(self._text(f"{path}/{usage}")) - _keyed(self._text(f"{path}/memory.stat")).get(cache, 0)
                if most < 1 << 60:  # version 1 has such a number for no limit
                    found.append((max(0, most - used), most))
        return min(found, default=(None, None))

    # its cgroups

    def _groups(self) -> Iterator[tuple[str, int]]:
        """The directories of this process's cgroups and those above them, the nearest first, and their version. In a container
        the path may be one of the host's: then only the mount's own is there."""
        for line in self._text("proc/self/cgroup").splitlines():
            _, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if not controllers:
                mounts, version = ["sys/fs/cgroup", "sys/fs/cgroup/unified"], 2
            elif {"cpu", "cpuacct", "memory"} & set(controllers.split(",")):
                mounts, version = [f"sys/fs/cgroup/{controllers}", *(f"sys/fs/cgroup/{one}" for one in controllers.split(","))], 1
            else:
                continue
            parts = [part for part in path.split("/") if part and part != ".."]
            for mount in mounts:
                for length in range(len(parts), -1, -1):
                    directory = "/".join([mount, *parts[:length]])
                    if os.path.isdir(f"{self._root}/{directory}"):
                        yield directory, version

    def _text(self, path: str) -> str:
        try:
            with open(f"{self._root}/{path}", encoding="ascii", errors="replace") as file:
                return file.read(1 << 18).strip()
        except OSError:
            return ""


def own_memory(pid: int, root: str = "/") -> int | None:
    """Bytes that a process has in memory and in no file: what another one like it would take, at most. Pages that a fork shares
    with its parent count. None where that isn't told."""
    try:
        with open(f"{root.rstrip('/')}/proc/{pid}/statm", "rb") as file:
            resident, shared = file.read(200).split()[1:3]  # proc_pid_statm(5)
        return (int(resident) - int(shared)) * _PAGE
    except (OSError, ValueError):
        return None


def _allowed() -> frozenset[int]:
    try:
        return frozenset(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return frozenset()


def _by_psutil() -> float | None:
    """Where there is no /proc."""
    try:
        import psutil
    except ImportError:
        return None
    share: Any = psutil.cpu_percent(None)
    return float(share) / 100


def _keyed(text: str) -> dict[str, int]:
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        with suppress(ValueError):
            found[name] = int(value.split()[0] if value.split() else "")
    return found
