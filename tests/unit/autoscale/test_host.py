"""What Linux says of a host, from files laid out as the kernel has them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spoolq.autoscale import host
from spoolq.autoscale.host import Probe, own_memory

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr(os, "getloadavg", lambda: (3.0, 2.0, 1.0))


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def cores(root: Path, busy: int, idle: int, other: int = 0) -> None:
    line = f"{busy} 0 0 {idle} 0 0 0 0 0 0"
    write(root, "proc/stat", f"cpu  {busy} 0 0 {idle}\ncpu0 {line}\ncpu1 {line}\ncpu2 {other} 0 0 0 0 0 0 0\nintr 5\n")


def test_a_host_that_tells_nothing_is_not_known_and_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_by_psutil", lambda: None)
    monkeypatch.delattr(os, "getloadavg")
    seen = Probe(str(tmp_path)).look(1.0)
    assert (seen.cpu, seen.stall, seen.load, seen.free, seen.total, seen.memory_stall) == (None,) * 6


@pytest.mark.parametrize("junk", ["", "garbage", "cpu0\n", "cpu0 x y z a\n", "\x00\xff"])
def test_files_that_cant_be_read_are_not_known(tmp_path: Path, junk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_by_psutil", lambda: None)
    for path in ("stat", "meminfo", "pressure/cpu", "pressure/memory", "self/cgroup"):
        write(tmp_path, f"proc/{path}", junk)
    for _ in range(2):
        seen = Probe(str(tmp_path)).look(1.0)
        assert (seen.cpu, seen.stall, seen.free, seen.memory_stall) == (None,) * 4


def test_the_use_of_the_cores_that_are_ours_is_counted_between_two_looks(tmp_path: Path) -> None:
    probe = Probe(str(tmp_path))
    cores(tmp_path, 100, 900)
    assert probe.look(1.0).cpu is None
    cores(tmp_path, 175, 925, other=10_000)
    seen = probe.look(2.0)
    assert (seen.cpu, seen.cores, seen.load) == (0.75, 2.0, 1.5)


def test_what_was_long_ago_counts_no_more(tmp_path: Path) -> None:
    probe = Probe(str(tmp_path))
    for at, busy, idle in [(0, 0, 0), (1, 100, 0), (2, 200, 0), (3, 200, 100), (4, 200, 200), (5, 200, 300)]:
        cores(tmp_path, busy, idle)
        seen = probe.look(float(at))
    assert seen.cpu == 0.0


def test_pressure_and_memory_as_the_kernel_tells_them(tmp_path: Path) -> None:
    write(
        tmp_path,
        "proc/pressure/cpu",
        "some avg10=12.50 avg60=1.00 avg300=0.00 total=1\nfull avg10=99.00 avg60=0 avg300=0 total=0",
    )
    write(tmp_path, "proc/pressure/memory", "some avg10=70.00 avg60=0 avg300=0 total=1\nfull avg10=3.00 avg60=0 avg300=0 total=0")
    write(tmp_path, "proc/meminfo", "MemTotal:        1000 kB\nMemFree:  10 kB\nMemAvailable:     400 kB\n")
    seen = Probe(str(tmp_path)).look(1.0)
    assert (seen.stall, seen.memory_stall) == (0.125, 0.03)
    assert (seen.free, seen.total) == (400 * 1024, 1000 * 1024)


def test_a_quota_and_a_limit_of_cgroups_version_2_also_those_above(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/shop.slice/worker.service"
    write(tmp_path, "proc/self/cgroup", "0::/shop.slice/worker.service\n")
    write(tmp_path, "proc/meminfo", f"MemTotal: {8 * 1024 * 1024} kB\nMemAvailable: {7 * 1024 * 1024} kB\n")
    write(tmp_path, f"{group}/cpu.max", "max 100000")
    write(tmp_path, "sys/fs/cgroup/shop.slice/cpu.max", "50000 100000")
    write(tmp_path, f"{group}/memory.max", str(512 * MIB))
    write(tmp_path, f"{group}/memory.current", str(400 * MIB))
    write(tmp_path, f"{group}/memory.stat", f"anon 5\ninactive_file {100 * MIB}\n")
    write(tmp_path, f"{group}/cpu.pressure", "some avg10=44.00 avg60=0 avg300=0 total=0")
    cores(tmp_path, 0, 1000)
    write(tmp_path, f"{group}/cpu.stat", "usage_usec 1000000\n")
    probe = Probe(str(tmp_path))
    probe.look(10.0)
    cores(tmp_path, 20, 1080)
    write(tmp_path, f"{group}/cpu.stat", "usage_usec 1450000\n")
    seen = probe.look(11.0)
    assert (seen.cores, seen.stall) == (0.5, 0.44)
    assert seen.cpu == pytest.approx(0.9)  # of half a core, where the host is idle
    assert (seen.free, seen.total) == (212 * MIB, 512 * MIB)


def test_a_quota_and_a_limit_of_cgroups_version_1_also_within_a_container(tmp_path: Path) -> None:
    """There the path is one of the host's, and only the mount's own directory is to be seen."""
    write(tmp_path, "proc/self/cgroup", "4:memory:/docker/0123\n2:cpu,cpuacct:/docker/0123\n0::/\n")
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000")
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000")
    write(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", str(256 * MIB))
    write(tmp_path, "sys/fs/cgroup/memory/memory.usage_in_bytes", str(200 * MIB))
    write(tmp_path, "sys/fs/cgroup/memory/memory.stat", f"total_inactive_file {50 * MIB}")
    seen = Probe(str(tmp_path)).look(1.0)
    assert (seen.cores, seen.free, seen.total) == (1.5, 106 * MIB, 256 * MIB)


@pytest.mark.parametrize(("quota", "limit"), [("-1", "9223372036854771712"), ("max", "max"), ("0", "")])
def test_no_limit_is_none(tmp_path: Path, quota: str, limit: str) -> None:
    write(tmp_path, "proc/self/cgroup", "4:memory:/\n2:cpu:/\n")
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota)
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")
    write(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", limit)
    write(tmp_path, "sys/fs/cgroup/memory/memory.usage_in_bytes", "5")
    seen = Probe(str(tmp_path)).look(1.0)
    assert (seen.cores, seen.total) == (2.0, None)


def test_this_very_host_can_be_looked_at() -> None:
    probe = Probe()
    probe.look(0.0)
    seen = probe.look(1.0)
    if os.path.exists("/proc/meminfo"):
        assert seen.total is not None
        assert seen.free is not None
        assert 0 < seen.free <= seen.total


def test_the_memory_of_a_process_its_own_without_what_is_in_files(tmp_path: Path) -> None:
    write(tmp_path, "proc/7/statm", "5000 1200 200 1 0 900 0")
    assert own_memory(7, str(tmp_path)) == 1000 * os.sysconf("SC_PAGE_SIZE")
    assert own_memory(8, str(tmp_path)) is None
    write(tmp_path, "proc/9/statm", "")
    assert own_memory(9, str(tmp_path)) is None
