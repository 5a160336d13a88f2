"""Two network namespaces joined by a cable, to break a network for real: nothing of the machine's own network changes.

Needs root, and Debian's iproute2, nftables and util-linux. The server's side is `HOST`, which the client's side knows as `NAME`.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

MISSING = "needs Linux, root, and the commands ip, nft and unshare (Debian: iproute2, nftables, util-linux)"
_number = itertools.count()


def possible() -> bool:
    """Whether this machine lets us have namespaces."""
    return os.geteuid() == 0 and all(shutil.which(name) for name in ("ip", "nft", "unshare"))


class Lab:
    """The two namespaces. `server` and `client` are commands that run a command on that side. Close it in `finally`."""

    NAME = "redis.test"
    HOST = "10.231.7.1"
    DEAD = ("10.231.7.21", "10.231.7.22", "10.231.7.23")  # addresses of the server's side on which nothing is ever answered

    def __init__(self) -> None:
        unique = f"spoolq-{os.getpid()}-{next(_number)}"
        self._s, self._c = f"{unique}-s", f"{unique}-c"
        self._dir = Path(tempfile.mkdtemp(prefix="spoolq-lab-"))
        self._hosts, self._resolver = self._dir / "hosts", self._dir / "resolv.conf"
        try:
            self._build()
            self.heal()
        except BaseException:
            self.close()
            raise

    @property
    def server(self) -> list[str]:
        return ["ip", "netns", "exec", self._s]

    @property
    def client(self) -> list[str]:
        binds = f'mount --bind {self._hosts} /etc/hosts; mount --bind {self._resolver} /etc/resolv.conf; exec "$@"'
        return ["ip", "netns", "exec", self._c, "unshare", "-m", "sh", "-ec", binds, "sh"]

    def rule(self, text: str, hook: str = "input") -> None:
        """Let the server's side do this with what arrives (or, with `output`, with what it sends)."""
        chain = f"chain c {{\ntype filter hook {hook} priority 0;\n{text}\n}}"
        _run([*self.server, "nft", "-f", "-"], f"table inet lab {{\n{chain}\n}}\n")

    def no_route(self) -> None:
        """The client's side has no way to the server."""
        _run(["ip", "-n", self._c, "route", "add", "unreachable", self.HOST])

    def names(self, *addresses: str, server: str = HOST) -> None:
        """What `NAME` stands for, without asking a name server; nothing: one must be asked, at the address `server`."""
        self._resolver.write_text(f"nameserver {server}\n")
        self._hosts.write_text("".join(f"{address} {self.NAME}\n" for address in addresses))  # in place: it is bound elsewhere

    def heal(self) -> None:
        """All packets pass, and the name is known."""
        for command in (
            [*self.server, "nft", "delete", "table", "inet", "lab"],
            ["ip", "-n", self._c, "route", "del", "unreachable", self.HOST],
        ):
            subprocess.run(command, capture_output=True, check=False)  # where it isn't there
        self.names(self.HOST)

    def close(self) -> None:
        for name in (self._s, self._c):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
        shutil.rmtree(self._dir, ignore_errors=True)

    def _build(self) -> None:
        server, client = self._s, self._c
        for name in (server, client):
            _run(["ip", "netns", "add", name])
            _run(["ip", "-n", name, "link", "set", "lo", "up"])
        _run(["ip", "-n", client, "link", "add", "veth0", "type", "veth", "peer", "name", "veth1", "netns", server])
        for name, link, addresses in ((server, "veth1", (self.HOST, *self.DEAD)), (client, "veth0", ("10.231.7.2",))):
            for address in addresses:
                _run(["ip", "-n", name, "addr", "add", f"{address}/24", "dev", link])
            _run(["ip", "-n", name, "link", "set", link, "up"])


def _run(command: Sequence[str], text: str = "") -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=20)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
