"""Each finding on this host, provoked, and cleared by its remedy."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spoolq.app import SpoolQ
from spoolq.doctor.host import Unit
from tests.servers import NOWHERE
from tests.unit.doctor.conftest import Make
from tests.unit.doctor.hands import finding, findings, level
from tests.unit.doctor.test_spool import fill
from tests.waiting import eventually

ROOT = Path(__file__).parents[3]


@pytest.fixture
def q(make: Make) -> SpoolQ:
    return make(NOWHERE)


@contextmanager
def limited(which: int, to: int) -> Iterator[None]:
    """With this limit for what this process does."""
    soft, hard = resource.getrlimit(which)
    resource.setrlimit(which, (to, hard))
    try:
        yield
    finally:
        resource.setrlimit(which, (soft, hard))


def test_a_variable_that_is_misspelt(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    assert level(make(NOWHERE), "settings") == "ok"
    monkeypatch.setenv("SPOOLQ_DEADLIN", "secret value")
    found = finding(make(NOWHERE), "settings")
    assert (found.level, "SPOOLQ_DEADLIN, did you mean SPOOLQ_DEADLINE?" in found.what) == ("warning", True)
    assert "secret value" not in found.what


def test_a_lease_that_is_too_short(make: Make) -> None:
    assert level(make(NOWHERE, lease=5), "lease") == "warning"
    assert level(make(NOWHERE, lease="30s"), "lease") == "ok"


def unit(root: Path, text: str, name: str = "worker.service") -> None:
    path = root / "etc/systemd/system" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"[Service]\nExecStart=/srv/bin/spoolq worker shop:q --queues mail\n{text}\n")


def test_a_service_that_is_killed_within_its_grace(q: SpoolQ, tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert level(q, "grace", root=str(root)) == "ok"
    unit(root, "TimeoutStopSec=20")
    found = finding(q, "grace", root=str(root))
    assert (found.level, "worker.service is killed 20s after it was asked to end" in found.what) == ("warning", True)
    assert found.remedy.startswith("TimeoutStopSec=35 in worker.service")
    unit(root, "TimeoutStopSec=35")
    assert level(q, "grace", root=str(root)) == "ok"
    drop_in = root / "etc/systemd/system/worker.service.d/local.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nTimeoutStopSec=5s\n")
    assert level(q, "grace", root=str(root)) == "warning"
    drop_in.write_text("[Service]\nExecStart=\nExecStart=/srv/bin/spoolq worker shop:q --grace 2s\nTimeoutStopSec=5s\n")
    assert level(q, "grace", root=str(root)) == "ok"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 90.0),
        ("TimeoutStopSec=1min 30s", 90.0),
        ("TimeoutStopSec=2m", 120.0),
        ("TimeoutSec=7", 7.0),
        ("TimeoutStopSec=500ms", 0.5),
        ("TimeoutStopSec=infinity", None),
        ("TimeoutStopSec=0", None),
        ("TimeoutStopSec=3 fortnights", None),
    ],
)
def test_how_long_systemd_waits(text: str, seconds: float | None) -> None:
    assert Unit(f"[Service]\nTimeoutStartSec=1\n{text}\n").stop == seconds


def test_tasks_that_outlast_the_grace_are_a_note(q: SpoolQ, tmp_path: Path) -> None:
    @q.task(timeout=600)
    def film() -> None: ...

    found = finding(q, "grace", root=str(tmp_path))
    assert (found.level, "film" in found.what) == ("note", True)


def test_a_host_that_runs_out_of_memory(q: SpoolQ, tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    about = tmp_path / "proc/meminfo"
    about.write_text("MemTotal: 1000 kB\nMemAvailable: 50 kB\n")
    found = finding(q, "memory-limit", root=str(tmp_path))
    assert (found.level, "50 KiB of 1000 KiB of memory are free here" in found.what) == ("warning", True)
    about.write_text("MemTotal: 1000 kB\nMemAvailable: 500 kB\n")
    assert level(q, "memory-limit", root=str(tmp_path)) == "ok"


FILLS = """
import os, sys
from pathlib import Path
group, limit = Path(sys.argv[1]), int(sys.argv[2])
(group / "cgroup.procs").write_text(str(os.getpid()))
from spoolq import SpoolQ
from spoolq.doctor import check
q = SpoolQ("redis://127.0.0.1:1/0", spool=sys.argv[3])
[before] = check(q, only={"memory-limit"})
usage = next(path for path in (group / "memory.current", group / "memory.usage_in_bytes") if path.exists())
held = []
while int(usage.read_text()) < 0.95 * limit:
    held.append(bytearray(b"x" * (1 << 20)))
[full] = check(q, only={"memory-limit"})
held.clear()
[after] = check(q, only={"memory-limit"})
print(before.level, full.level, after.level, full.what, sep="|")
"""


@contextmanager
def own_group(limit: int) -> Iterator[Path]:
    """A cgroup of the test's own, below that of this process, with so many bytes of memory."""
    found = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    home = Path("/sys/fs/cgroup", *(["memory", found["memory"][1:]] if "memory" in found else [found.get("", "/")[1:]]))
    group = home / f"spoolq-test-{os.getpid()}"
    bound = "memory.limit_in_bytes" if "memory" in found else "memory.max"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    try:
        if not (group / bound).exists():
            pytest.skip("the memory controller isn't given to cgroups below this one")
        (group / bound).write_text(str(limit))
        yield group
    finally:
        eventually(lambda: (group / "cgroup.procs").read_text() == "")
        group.rmdir()


@pytest.mark.root
def test_a_cgroup_that_runs_out_of_memory(tmp_path: Path) -> None:
    """For real: a process fills the memory that its own group may have, all but a twentieth."""
    limit = 256 << 20
    with own_group(limit) as group:
        said = subprocess.run(
            [sys.executable, "-c", FILLS, str(group), str(limit), str(tmp_path / "spool.db")],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    assert said.returncode == 0, said.stderr
    before, full, after, what = said.stdout.strip().split("|")
    assert (before, full, after) == ("ok", "warning", "ok"), what
    assert "of 256 MiB of memory are free here" in what


HOLDS = """
import os, sys
held = [open(sys.argv[1], "rb") for _ in range(58)]
print("open", flush=True)
sys.stdin.read()
"""


def test_processes_that_run_out_of_files(q: SpoolQ) -> None:
    fill(q, 1)
    assert level(q, "open-files") == "ok"
    with limited(resource.RLIMIT_NOFILE, 200):
        assert "may open 200 files" in findings(q, "open-files")[0].what
    path = str(q.settings.spool_path)
    with subprocess.Popen(
        [sys.executable, "-c", f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n{HOLDS}", path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "open\n"
        found = finding(q, "open-files")
        assert (found.level, f"{process.pid} (python" in found.what, "of 64" in found.what) == ("problem", True, True)
        process.stdin.close()
    assert level(q, "open-files") == "ok"


def test_a_limit_of_files_below_the_spools(q: SpoolQ) -> None:
    assert level(q, "file-size") == "ok"
    with limited(resource.RLIMIT_FSIZE, 100 << 20):
        found = finding(q, "file-size")
        assert (found.level, "files of 100 MiB, and spool_max_bytes is 1 GiB" in found.what) == ("warning", True)
    assert os.getpid()
