"""The run book's commands, taken from the page and typed into a host to which it has happened: what is seen is what the page
shows, and in the end no job is lost.

The commands are run as they stand. The host's own service manager is played: it starts and stops the real programs.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from spoolq import SpoolFull
from spoolq.store.base import WorkerInfo
from tests.disks import mounted
from tests.faults.working import ROOT, Place, Worker, at
from tests.servers import Binary, Server
from tests.test_docs import SPOOL_IS
from tests.waiting import eventually

PAGE = (ROOT / "docs" / "run-book.md").read_text("utf-8")
SECTIONS = {part.partition("\n")[0]: part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]}
POISON = """
@q.task(queue="work", retries=5, max_crashes=2, backoff=lambda state: 0)
def poison():
    if not (here / "mended").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    tell("RUN")
"""


def blocks(title: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", SECTIONS[title], re.MULTILINE | re.DOTALL)


class Night:
    """A host, its services, and the person who reads the page. `accepted`: the jobs that were enqueued and must run."""

    def __init__(self, place: Place, server: Server) -> None:
        self.place, self.server = place, server
        self.accepted: set[str] = set()
        self.services: dict[str, Callable[[], Worker]] = {"spoolq-worker": place.worker, "spoolq-drain": self.drain}
        self.running: dict[str, Worker] = {}
        self.stands_for: dict[str, str] = {"/var/lib/spoolq": str(place.spool.parent)}
        self.does: dict[str, Callable[[], object]] = {}
        self.typed: list[str] = []

    def drain(self) -> Worker:
        """The unit's program, as it would be run."""
        made = object.__new__(Worker)
        made.log = self.place.folder / "drain.log"
        with made.log.open("ab") as log:
            command = [sys.executable, "-m", "spoolq", "drain"]
            made.process = subprocess.Popen(
                command, env=self.place.environment, cwd=self.place.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        made.pid = made.process.pid
        self.place.workers.append(made)
        return made

    def staffed(self) -> None:
        """Another host has a worker for these queues: what waits in Redis is in good hands, however slow this test is."""
        self.place.store.register(WorkerInfo("elsewhere", "other-host", 1, (), lease=3600.0))

    def enqueue(self, task: str = "note", count: int = 1) -> None:
        for _ in range(count):
            self.accepted.add(self.place.enqueue(task))

    def sees(self, title: str) -> None:
        """`spoolq status` begins as the page says, but for numbers that time makes."""
        shown = re.escape(" ".join(blocks(title, "text")[0].split()))
        age = "[0-9.,]+ [a-z]+( [0-9.]+ [a-z]+)?"
        pattern = re.sub(r"(oldest|down\\ for)\\ [0-9]+\\ (s|min)(\\ [0-9]+\\ s)?", rf"\1 {age}", shown).replace("…", ".*?")

        def looks() -> bool:
            nonlocal said
            said = " ".join(self.type("spoolq status").stdout.split())
            return re.match(pattern, said) is not None

        said = ""
        with suppress(AssertionError):
            eventually(looks)
        assert re.match(pattern, said), f"the page shows\n{blocks(title, 'text')[0]}\nand what is seen is\n{said[:500]}"

    def acts(self, title: str) -> None:
        """Type each line of the section, in order. The last of them tells that it is over."""
        lines = [line for block in blocks(title, "sh") for line in block.splitlines() if line]
        assert lines[-1] == "spoolq health"
        for line in lines[:-1]:
            self.type(line, well=True)
        eventually(lambda: self.type("spoolq health").returncode == 0, what="the end that the page promises")

    def type(self, line: str, *, well: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a line, or have the host play it. `well`: it must end with 0."""
        self.typed.append(line)
        for word, meant in self.stands_for.items():
            line = re.sub(rf"(?<![\w/]){word}(?!\w)", meant, line)
        words = line.removeprefix("sudo ").split()
        done = subprocess.CompletedProcess(words, 0, "", "")
        if words[0] == "systemctl":
            self.systemctl(*words[1:])
        elif words[0] == "redis-cli":
            with self.server.client() as control:
                control.execute_command(*[{"2gb": "0"}.get(word, word) for word in words[1:]])
        elif words[0] == "journalctl":
            self.does["vacuum"]()
        else:
            environment = {**self.place.environment, "PATH": f"{Path(sys.executable).parent}:{self.place.environment['PATH']}"}
            done = subprocess.run(
                ["bash", "-c", line], env=environment, cwd=self.place.folder, capture_output=True, text=True, timeout=120
            )
        if well:
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done

    def systemctl(self, verb: str, service: str) -> None:
        if service == "redis-server":
            assert verb == "start"
            self.server.start()
            return
        assert verb in ("start", "restart")
        self.stop(service)
        self.does.get(service, lambda: None)()
        self.start(service)

    def start(self, service: str) -> Worker:
        self.running[service] = self.services[service]()
        return self.running[service]

    def stop(self, service: str) -> None:
        """TERM; SIGKILL to who doesn't hear it, as systemd does it in the end."""
        if (old := self.running.pop(service, None)) is not None and old.process.poll() is None:
            old.send(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                old.process.wait(10)
            old.kill()

    def loses_nothing(self) -> None:
        """Each job that was accepted runs, or has run."""
        if "spoolq-worker" not in self.running:
            self.start("spoolq-worker")
        eventually(lambda: self.accepted <= set(self.place.runs()), what="every accepted job run")
        self.place.done()


@pytest.fixture
def server(one_binary: Binary) -> Iterator[Server]:
    """One that keeps what it acknowledged. Which kind it is plays no part."""
    with Server(one_binary, appendonly=True, appendfsync="always") as one:
        yield one


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as one:
        yield one


@pytest.fixture
def night(stack: ExitStack, tmp_path: Path, server: Server) -> Night:
    place = stack.enter_context(at(tmp_path, server.url))
    return Night(place, server)


def test_redis_is_gone(night: Night) -> None:
    night.staffed()
    night.enqueue(count=2)  # Redis has them
    night.server.kill()
    night.enqueue(count=3)
    night.sees("Redis is gone")
    night.acts("Redis is gone")
    night.loses_nothing()
    assert len(night.accepted) == 5


def test_redis_is_full(night: Night) -> None:
    night.staffed()
    night.enqueue(count=2)
    with night.server.client() as control:
        control.config_set("maxmemory-policy", "noeviction")
        control.config_set("maxmemory", "1")
    night.enqueue(count=3)
    night.sees("Redis is full")
    night.acts("Redis is full")
    night.loses_nothing()


@pytest.mark.root
def test_the_disk_is_full(stack: ExitStack, tmp_path: Path, server: Server) -> None:
    disk = stack.enter_context(mounted("ext4-4096", tmp_path, 32 << 20))
    spool = disk.path / "spool.db"
    place = stack.enter_context(at(tmp_path, server.url, spool=spool))
    place.spool, place.environment["SPOOLQ_SPOOL"] = spool, str(spool)
    night = Night(place, server)
    night.staffed()
    night.does["vacuum"] = disk.clear
    server.kill()
    night.enqueue(count=3)
    disk.fill()
    with pytest.raises(SpoolFull):
        night.enqueue(count=100_000)
    night.sees("The disk is full")
    place.q.close()
    night.acts("The disk is full")
    night.enqueue()
    night.loses_nothing()
    assert len(night.accepted) >= 4


def test_the_spool_is_damaged(night: Night) -> None:
    night.staffed()
    night.server.kill()
    night.enqueue(count=3)
    night.place.q.close()
    subprocess.run([sys.executable, "-c", SPOOL_IS["damage"], str(night.place.spool)], check=True, cwd=ROOT)
    made = night.type("spoolq enqueue note --queue work --json", well=True)
    found = re.search(r'"id": "([^"]+)"', made.stdout)
    assert found, made.stdout
    night.accepted.add(found[1])
    night.sees("The spool is damaged")
    night.acts("The spool is damaged")
    night.loses_nothing()
    assert len(night.accepted) == 4


def test_the_drainer_is_dead(night: Night) -> None:
    night.staffed()
    night.server.kill()
    night.place.set_clock(-130)
    for _ in range(3):
        made = night.type("spoolq enqueue note --queue work --json", well=True)
        found = re.search(r'"id": "([^"]+)"', made.stdout)
        assert found, made.stdout
        night.accepted.add(found[1])
    night.place.set_clock(0)
    drainer = night.start("spoolq-drain")
    eventually(lambda: drainer.said("draining"))
    drainer.kill()
    night.server.start()
    night.sees("The drainer is dead")
    night.acts("The drainer is dead")
    assert night.running["spoolq-drain"].process.poll() is None
    night.loses_nothing()


def test_a_worker_is_stuck(night: Night) -> None:
    night.place.environment["SPOOLQ_LEASE"] = "1s"
    night.enqueue("hold")
    worker = night.start("spoolq-worker")
    night.place.begun()
    worker.send(signal.SIGSTOP)
    night.sees("A worker is stuck")
    night.place.open_gate()
    night.acts("A worker is stuck")
    night.loses_nothing()


def test_a_job_kills_its_worker(night: Night) -> None:
    with (night.place.folder / "app_under_test.py").open("a") as module:
        module.write(POISON)
    night.services["spoolq-worker"] = lambda: night.place.worker("--processes", "1")
    night.enqueue("poison")
    night.enqueue(count=3)
    night.start("spoolq-worker")
    eventually(lambda: night.place.store.failures.count() == 1)
    poison = night.place.store.failures.page()[0].id
    eventually(lambda: len(night.place.runs()) == 3, what="the other jobs run")
    night.stands_for |= {"JOB": poison, "QUEUE": "work"}
    night.does["spoolq-worker"] = (night.place.folder / "mended").touch
    night.sees("A job kills its worker")
    night.acts("A job kills its worker")
    assert f"spoolq failed show {poison}" not in night.typed, "what was typed is the page's own line"
    assert night.place.store.failures.count() == 0
    night.loses_nothing()
    assert poison in night.accepted


def test_a_host_is_lost(stack: ExitStack, tmp_path: Path, server: Server) -> None:
    for name in ("lost", "other"):
        (tmp_path / name).mkdir()
    lost = stack.enter_context(at(tmp_path / "lost", server.url))
    other = stack.enter_context(at(tmp_path / "other", server.url))
    lost.environment["SPOOLQ_LEASE"] = other.environment["SPOOLQ_LEASE"] = "1s"
    gone, night = Night(lost, server), Night(other, server)
    gone.enqueue("hold")
    worker = gone.start("spoolq-worker")
    lost.begun()
    server.kill()
    worker.kill()  # with the host; what follows was enqueued in its last moments
    gone.enqueue(count=3)
    lost.q.close()
    server.start()
    night.stands_for["/mnt/rescue/spool.db"] = str(lost.spool)
    night.sees("A host is lost")
    other.open_gate()
    night.acts("A host is lost")
    night.accepted = gone.accepted
    night.loses_nothing()
    assert len(night.accepted) == 4


def test_each_section_of_the_page_has_its_test() -> None:
    names = {title.lower().replace(" ", "_") for title in SECTIONS}
    assert names == {name.removeprefix("test_") for name in globals() if name.startswith("test_") and name[5:] in names}
    assert len(names) == 8
