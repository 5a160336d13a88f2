"""Where a fault happens: a real server, what lies before it, an application, and a control connection that no fault touches."""

from __future__ import annotations

import contextlib
import json
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.faults.caller import Caller
from tests.faults.lab import Lab
from tests.proxy import Proxy
from tests.servers import Binary, Server
from tests.tls import TRUSTED, TlsEnd
from tests.waiting import eventually

Way = Literal["direct", "proxy", "tls", "lab"]
NAMESPACE = "{resque}"  # a hash tag, so that a cluster takes it too
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "aof": {"appendonly": True, "appendfsync": "everysec"},
    "kept": {"appendonly": True, "appendfsync": "always"},
    "slow to load": {"rdbcompression": False},
    "cluster": {"cluster_enabled": True, "cluster_require_full_coverage": False},
}


@dataclass
class Scene:
    """One case's surroundings. `url` is what the application is given."""

    server: Server
    caller: Caller
    control: Any
    url: str
    proxy: Proxy | None = None
    tls: TlsEnd | None = None
    lab: Lab | None = None

    @property
    def between(self) -> Proxy:
        assert self.proxy is not None
        return self.proxy

    @property
    def network(self) -> Lab:
        assert self.lab is not None
        return self.lab

    def key(self, name: str) -> str:
        return f"{NAMESPACE}:{name}"

    def reconnect(self) -> None:
        """After a restart of the server."""
        self.control.close()
        self.control = self.server.client(single_connection_client=True, socket_timeout=10.0)

    def cut_others(self) -> None:
        """End every connection to the server but this one of control."""
        self.control.client_kill_filter(_type="normal", skipme=True)

    def config(self, **settings: object) -> None:
        for name, value in settings.items():
            self.control.config_set(name.replace("_", "-"), value)

    def arrived(self) -> Counter[str]:
        """The ids of the jobs in Redis, counted."""
        found: Counter[str] = Counter()
        for key in self.control.scan_iter(self.key("queue:*")):  # not those of `queues`: a fault may keep a name from it
            if self.control.type(key) == b"list":
                found.update(json.loads(item)["id"] for item in self.control.lrange(key, 0, -1))
        return found


@dataclass
class Stage:
    """What is dear to make and is kept from case to case: servers, applications' processes, namespaces."""

    drivers: dict[str, Path | None]
    module: str = "tests.faults.caller"
    _servers: dict[tuple[str, str, bool], Server] = field(default_factory=dict)
    _callers: dict[tuple[str, bool], Caller] = field(default_factory=dict)
    _lab: Lab | None = None

    @contextlib.contextmanager
    def scene(self, binary: Binary, kind: str, way: Way, driver: str, protocol: int, user: bool) -> Iterator[Scene]:
        """A scene of its own, on what is kept. What failed in the middle of a fault is not kept."""
        lab = self.lab() if way == "lab" else None
        server = self._server(binary, kind, lab)
        with contextlib.ExitStack() as stack:
            control = server.client(single_connection_client=True, socket_timeout=10.0)
            control.flushall()
            control.execute_command("ACL", "SETUSER", "app", "reset", "on", ">secret", "~*", "&*", "+@all")
            host, port, scheme, options = server.host, server.port, "redis", f"?protocol={protocol}"
            proxy = tls = None
            if way == "proxy":
                proxy = stack.enter_context(Proxy(server.port))
                port = proxy.port
            elif way == "tls":
                tls = stack.enter_context(contextlib.closing(TlsEnd(server.port)))
                host, port, scheme, options = "localhost", tls.port, "rediss", f"{TRUSTED}&protocol={protocol}"
            elif lab is not None:
                host = lab.NAME
            url = f"{scheme}://{'app:secret@' if user else ''}{host}:{port}/0{options}"
            caller = self.caller(driver, lab)
            scene = Scene(server, caller, control, url, proxy, tls, lab)
            try:
                yield scene
                caller.shut()
            except BaseException:
                self._forget(server, caller)
                raise
            finally:
                scene.control.close()

    def caller(self, driver: str, lab: Lab | None) -> Caller:
        """An application's process with this redis-py, where the network is that of the lab if one is named."""
        place = (driver, lab is not None)
        if place not in self._callers:
            self._callers[place] = Caller(self.drivers[driver], lab.client if lab else (), self.module)
        return self._callers[place]

    def lab(self) -> Lab:
        self._lab = self._lab or Lab()
        return self._lab

    def close(self) -> None:
        for thing in (*self._callers.values(), *self._servers.values()):
            thing.end() if isinstance(thing, Caller) else thing.close()
        if self._lab is not None:
            self._lab.close()

    def _server(self, binary: Binary, kind: str, lab: Lab | None) -> Server:
        place = (binary.id, kind, lab is not None)
        kept = self._servers.get(place)
        if kept is None or not kept.running:
            options = dict(KINDS[kind])
            if (binary.kind, binary.version) >= ("redis", "7"):  # and Valkey
                options["enable_debug_command"] = True  # it was always there before
                options["loading_process_events_interval_bytes"] = 1024
            if lab is not None:
                options |= {"protected_mode": False, "prefix": lab.server, "host": lab.HOST}
            kept = self._servers[place] = Server(binary, **options)
            if kind == "cluster":
                with kept.client() as control:
                    control.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
                    eventually(lambda: control.cluster("info")["cluster_state"] == "ok", what="a cluster that is up")
        return kept

    def _forget(self, server: Server, caller: Caller) -> None:
        for place, kept in list(self._servers.items()):
            if kept is server:
                del self._servers[place]
                server.close()
        for who, process in list(self._callers.items()):
            if process is caller:
                del self._callers[who]
                caller.end()


@contextlib.contextmanager
def full_backlog(port: int) -> Iterator[socket.socket]:
    """A port whose queue of connections is full: the kernel drops who else wants to connect."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(0)
        waiting = []
        while True:
            one = socket.socket()
            waiting.append(one)
            one.settimeout(0.1)
            try:
                one.connect(("127.0.0.1", port))
            except TimeoutError:
                break
        yield listener
        for one in waiting:
            one.close()
