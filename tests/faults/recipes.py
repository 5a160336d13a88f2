"""How to cause each fault, and how to heal it: what stands before `yield`, and what after.

Each was tried on Valkey 9 and Redis 6.2 and 8.2. `via` is what lies between application and server; `kind` is the server's, as in
`scene.KINDS`; `user`: the application logs in as the ACL user `app`.
"""

from __future__ import annotations

import resource
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tests.faults.scene import Scene, Way, full_backlog
from tests.proxy import Action
from tests.waiting import eventually

THE_ONE = b"the one"  # the argument of the job that meets the fault; the proxy's rules look for it
STATES = ("cold", "warm")
_AWAY = ("127.0.0.1", 1)  # a master: a free port may become another test's server, to be copied
Steps = Callable[[Scene], Iterator[None]]


@dataclass(frozen=True)
class Fault:
    """A recipe. `options` go to `enqueue`, `settings` to the application; `drained`: a drainer has a turn during the fault;
    `brief`: it ends by itself within seconds, so that who is kept from its core may come too late, or too early, to meet it."""

    name: str
    about: str
    happens: Callable[[Scene], AbstractContextManager[None]]
    via: Way = "direct"
    kind: str = "plain"
    user: bool = False
    states: tuple[str, ...] = STATES
    drained: bool = True
    brief: bool = False
    threads: int = 1
    argument: str = "the one"
    settings: Mapping[str, Any] = field(default_factory=dict)


FAULTS: dict[str, Fault] = {}


def fault(name: str, about: str, **how: Any) -> Callable[[Steps], Steps]:
    """Enter a recipe into `FAULTS`."""

    def enter(steps: Steps) -> Steps:
        FAULTS[name] = Fault(name, about, contextmanager(steps), **how)
        return steps

    return enter


# the way to the server


@fault("refused", "nobody listens on the port", via="proxy")
def refused(s: Scene) -> Iterator[None]:
    s.between.refuse()
    eventually(lambda: s.between.idle, what="closed connections")
    yield
    s.between.heal()


@fault("killed", "the server is killed, and started again later on its data", kind="kept")
def killed(s: Scene) -> Iterator[None]:
    s.server.kill()
    yield
    s.server.start()
    s.reconnect()


@fault("connect time-out", "the port's queue of connections is full: the kernel drops who else wants to connect", via="proxy")
def connect_timeout(s: Scene) -> Iterator[None]:
    s.between.refuse()
    eventually(lambda: s.between.idle, what="closed connections")
    with full_backlog(s.between.port):
        yield
    s.between.heal()


@fault("accepted, then reset", "every connection is reset as soon as it is made", via="proxy")
def reset(s: Scene) -> Iterator[None]:
    s.between.behave("reset")
    s.between.reset_all()
    eventually(lambda: s.between.idle, what="closed connections")
    yield
    s.between.heal()


@fault("accepted, never read", "connections are accepted and nobody reads", via="proxy")
def silent(s: Scene) -> Iterator[None]:
    s.between.behave("silent")
    yield
    s.between.heal()


@fault("TLS failure", "no TLS session can be agreed on", via="tls")
def tls_failure(s: Scene) -> Iterator[None]:
    assert s.tls is not None
    s.tls.spoil()
    yield
    s.tls.spoil(False)


@fault("TLS never agreed", "the handshake of TLS gets no answer", via="tls", states=("cold",))
def tls_silence(s: Scene) -> Iterator[None]:
    assert s.tls is not None
    s.tls.mute.set()
    yield
    s.tls.mute.clear()


@fault("handshake dribbled", "each answer of the handshake comes byte by byte, 50 ms apart", via="proxy", states=("cold",))
def dribbled_handshake(s: Scene) -> Iterator[None]:
    s.between.rule(b"", "dribble", times=-1, delay=0.05)
    yield
    s.between.heal()
    s.between.reset_all()


# the request and its reply


def _request(action: Action, about: str, delay: float = 3.0) -> None:
    @fault(action.replace("_", " "), about, via="proxy")
    def cut(s: Scene) -> Iterator[None]:
        s.between.rule(THE_ONE, action, times=2, delay=delay)  # twice: a drainer's put meets it too
        yield
        s.between.heal()


_request("cut_before", "the request never leaves, the connection is reset")
_request("cut_inside", "10 bytes of the request arrive, then a reset")
_request("cut_reply", "the reply is dropped, the connection reset")
_request("fin_reply", "the reply is dropped, the connection closed")
_request("part_reply", "2 bytes of the reply, then a reset")
_request("swallow", "executed, and never answered")
_request("late", "the reply comes after the deadline")
_request("dribble", "the reply comes byte by byte, 100 ms apart", delay=0.1)
_request("garbage", "`HTTP/1.1 400` for a reply")
_request("wrong_type", "`+OK` for a reply, which the script never says")


@fault("late request", "the request arrives after the caller and a drainer are through with it", via="proxy", drained=False)
def late_request(s: Scene) -> Iterator[None]:
    rule = s.between.rule(THE_ONE, "late_request", delay=30.0)
    yield
    s.caller.drain(forget=True)  # the id is free again: only the not-after keeps the late one out
    rule.release()
    s.between.heal()


@fault(
    "pool exhausted",
    "24 callers at once, each answer 20 ms late: more than the 16 connections that are kept",
    via="proxy",
    threads=24,
)
def exhausted(s: Scene) -> Iterator[None]:
    s.between.rule(THE_ONE, "late", times=-1, delay=0.02)
    yield
    s.between.heal()


# what the server says


@fault("OOM", "over `maxmemory`, `noeviction`")
def oom(s: Scene) -> Iterator[None]:
    s.config(maxmemory_policy="noeviction", maxmemory=1)
    yield
    s.config(maxmemory=0)


@fault("READONLY", "made a replica of a master that is away")
def readonly(s: Scene) -> Iterator[None]:
    s.control.execute_command("REPLICAOF", *_AWAY)
    yield
    s.control.execute_command("REPLICAOF", "NO", "ONE")


@fault("MASTERDOWN", "the same, with `replica-serve-stale-data no`")
def masterdown(s: Scene) -> Iterator[None]:
    s.config(replica_serve_stale_data="no")
    s.control.execute_command("REPLICAOF", *_AWAY)
    yield
    s.control.execute_command("REPLICAOF", "NO", "ONE")
    s.config(replica_serve_stale_data="yes")


@fault("NOREPLICAS", "`min-replicas-to-write 1`, and there is none")
def noreplicas(s: Scene) -> Iterator[None]:
    s.config(min_replicas_to_write=1)
    yield
    s.config(min_replicas_to_write=0)


@fault("MISCONF (RDB)", "a snapshot could not be written")
def misconf_rdb(s: Scene) -> Iterator[None]:
    s.control.set("filler", "x")
    s.config(save="3600 1")
    _disk_full(s, True)
    eventually(lambda: _snapshot(s) == "err", what="a failed snapshot")
    yield
    _disk_full(s, False)
    eventually(lambda: _snapshot(s) == "ok", what="a snapshot")
    s.config(save="")


@fault("MISCONF (AOF)", "the append-only file could not be written", kind="aof")
def misconf_aof(s: Scene) -> Iterator[None]:
    _disk_full(s, True)
    s.control.set("filler", "x")
    eventually(lambda: s.control.info("persistence")["aof_last_write_status"] == "err", what="a failed write")
    yield
    _disk_full(s, False)
    eventually(lambda: s.control.info("persistence")["aof_last_write_status"] == "ok", what="a good write")


@fault("LOADING", "restarted, and reading its data", kind="slow to load", brief=True)
def loading(s: Scene) -> Iterator[None]:
    # It listens after each 2 MiB, newer ones as they are told: few large keys for the one, many small keys for the others. Often
    # enough for a connection to be made within the deadline, whose greeting is answered word by word
    keys, size, delay = (60, 2 << 20, 20_000) if "redis-6" in s.server.binary.id else (3000, 300, 1000)
    s.control.eval(f"for i = 1, {keys} do redis.call('SET', 'filler:' .. i, string.rep('x', {size})) end", 0)
    s.control.save()
    s.server.options["key_load_delay"] = delay  # microseconds a key
    s.server.restart(answering=False)
    del s.server.options["key_load_delay"]
    s.reconnect()
    yield
    with suppress(Exception):  # Redis 6.2 lets nobody set it meanwhile, and is through soon
        s.config(key_load_delay=0)
    eventually(lambda: s.server.ping().startswith(b"+PONG"), what="the end of loading")


@fault("CLUSTERDOWN", "no node serves the queue's slot", kind="cluster")
def clusterdown(s: Scene) -> Iterator[None]:
    slot = s.control.execute_command("CLUSTER", "KEYSLOT", s.key("queues"))
    s.control.execute_command("CLUSTER", "DELSLOTS", slot)
    yield
    s.control.execute_command("CLUSTER", "ADDSLOTS", slot)


@fault("NOAUTH", "a password is asked for and none is given")
def noauth(s: Scene) -> Iterator[None]:
    s.config(requirepass="secret")
    s.cut_others()
    yield
    s.config(requirepass="")


@fault("WRONGPASS", "the user's password was changed", user=True)
def wrongpass(s: Scene) -> Iterator[None]:
    s.control.execute_command("ACL", "SETUSER", "app", "resetpass", ">another")
    s.cut_others()
    yield
    s.control.execute_command("ACL", "SETUSER", "app", "resetpass", ">secret")


@fault("user deleted", "the ACL user is deleted under its connections", user=True)
def deleted(s: Scene) -> Iterator[None]:
    s.control.execute_command("ACL", "DELUSER", "app")
    eventually(lambda: not [c for c in s.control.client_list() if c["user"] != "default"], what="the end of its connections")
    yield
    s.control.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all")


def _forbidden(name: str, about: str, *change: str, drained: bool = True) -> None:
    @fault(name, about, user=True, drained=drained)
    def forbid(s: Scene) -> Iterator[None]:
        s.control.execute_command("ACL", "SETUSER", "app", *change)
        yield
        s.control.execute_command("ACL", "SETUSER", "app", "resetkeys", "~*", "+@all")


_forbidden("NOPERM (command)", "the user may not run scripts", "-evalsha", "-eval")
_forbidden("NOPERM (key)", "the user may not touch the queue", "resetkeys", "~other:*", drained=False)
_forbidden("NOPERM (in the script)", "the user may run scripts, but not `RPUSH`", "-rpush")
_forbidden("NOPERM (in the script, later)", "the same with `SADD`, after the push: it is taken back", "-sadd")
_forbidden(
    "NOPERM (to take back)", "the user may not `RPOP`: no put of a new id needs it, and the probe refuses the user", "-rpop"
)
_forbidden("undo", "neither `SADD`, after the push, nor `RPOP`, which would take it back", "-sadd", "-rpop")


@fault("BUSY", "somebody's script doesn't end")
def busy(s: Scene) -> Iterator[None]:
    s.config(lua_time_limit=50)
    script = _command(s, "EVAL", "while true do end", 0)
    eventually(lambda: s.server.ping().startswith(b"-BUSY"), what="a busy server")
    yield
    s.control.script_kill()
    script.join()
    s.config(lua_time_limit=5000)


@fault("max clients", "`maxclients` connections are open")
def maxclients(s: Scene) -> Iterator[None]:
    s.config(maxclients=1)
    s.cut_others()
    yield
    s.config(maxclients=10000)


@fault("NOSCRIPT", "the server has forgotten the script, and the user may not load it", user=True)
def noscript(s: Scene) -> Iterator[None]:
    s.control.execute_command("ACL", "SETUSER", "app", "-script")
    s.control.script_flush()
    yield
    s.control.execute_command("ACL", "SETUSER", "app", "+script")


@fault("wrong type (queue)", "the queue's key holds a string", drained=False)
def wrong_type(s: Scene) -> Iterator[None]:
    s.control.set(s.key("queue:work"), "x")
    yield
    s.control.delete(s.key("queue:work"))


@fault("wrong type (ids)", "the key of the remembered ids holds a string: the push is taken back", drained=False)
def wrong_type_markers(s: Scene) -> Iterator[None]:
    markers = s.key("spoolq:markers")
    with suppress(Exception):  # there are none yet
        s.control.rename(markers, "aside")
    s.control.set(markers, "x")
    yield
    s.control.delete(markers)
    with suppress(Exception):
        s.control.rename("aside", markers)


@fault(
    "too large",
    "a job of 2 MB, where `proto-max-bulk-len` is 1 MB",
    drained=False,
    argument="the one" + "x" * (2 << 20),
    settings={"max_payload": 4 << 20},
)
def too_large(s: Scene) -> Iterator[None]:
    s.config(proto_max_bulk_len=1 << 20)
    yield
    s.config(proto_max_bulk_len=512 << 20)


# a server that says nothing


@fault("stopped", "SIGSTOP: the kernel accepts, nobody answers")
def stopped(s: Scene) -> Iterator[None]:
    s.server.stop()
    yield
    s.server.cont()
    s.control.ping()


@fault("paused (writes)", "`CLIENT PAUSE … WRITE`")
def paused_writes(s: Scene) -> Iterator[None]:
    s.control.execute_command("CLIENT", "PAUSE", 60000, "WRITE")
    yield
    s.control.execute_command("CLIENT", "UNPAUSE")


@fault("paused", "`CLIENT PAUSE … ALL`", drained=False, brief=True)
def paused(s: Scene) -> Iterator[None]:
    s.control.execute_command("CLIENT", "PAUSE", 2000, "ALL")  # which nobody can end
    yield
    s.control.ping()


@fault("slow", "the server is at one command for 2 s", drained=False, brief=True)
def slow(s: Scene) -> Iterator[None]:
    sleep = _command(s, "DEBUG", "SLEEP", 2)
    eventually(lambda: not s.server.ping(0.02), what="a server that is busy")
    yield
    sleep.join()


# a network that is broken, and names


def _network(name: str, about: str, rule: str, hook: str = "input", **how: Any) -> None:
    @fault(name, about, via="lab", **how)
    def broken(s: Scene) -> Iterator[None]:
        s.network.rule(rule, hook)
        yield
        s.network.heal()


_network("black hole", "packets to the server vanish", "iifname veth1 drop")
_network("answers vanish", "packets from the server vanish", "oifname veth1 drop", "output")
_network("connects, then nothing", "connections are made, no data arrives", "iifname veth1 tcp flags & psh == psh drop")
_network("rejected", "packets are answered with a reset", "iifname veth1 meta l4proto tcp reject with tcp reset")
_network("port unreachable", "packets are answered with `port unreachable`", "iifname veth1 reject")


@fault("no route", "there is no way to the server", via="lab")
def no_route(s: Scene) -> Iterator[None]:
    s.network.no_route()
    yield
    s.network.heal()


@fault("no name", "the server's name isn't known, and no name server listens", via="lab", states=("cold",))
def no_name(s: Scene) -> Iterator[None]:
    s.network.names(server="127.0.0.1")
    yield
    s.network.heal()


@fault("name server never answers", "packets to the name server vanish", via="lab", states=("cold",))
def no_name_server(s: Scene) -> Iterator[None]:
    s.network.names()
    s.network.rule("iifname veth1 udp dport 53 drop")
    yield
    s.network.heal()


@fault("three dead addresses", "the name has three addresses, and packets to each vanish", via="lab", states=("cold",))
def dead_addresses(s: Scene) -> Iterator[None]:
    s.network.names(*s.network.DEAD)
    s.network.rule(f"ip daddr {{ {', '.join(s.network.DEAD)} }} drop")
    yield
    s.network.heal()


@fault("protected mode", "the server takes connections from its own host only", via="lab", states=("cold",))
def protected(s: Scene) -> Iterator[None]:
    s.config(protected_mode="yes")
    yield
    s.config(protected_mode="no")


def _snapshot(s: Scene) -> str:
    """How the last one ended, and a new one is begun."""
    with suppress(Exception):  # one is running
        s.control.bgsave()
    return str(s.control.info("persistence")["rdb_last_bgsave_status"])


def _disk_full(s: Scene, full: bool) -> None:
    """Files of the server can't grow, as on a full disk."""
    resource.prlimit(s.server.pid, resource.RLIMIT_FSIZE, (0 if full else resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _command(s: Scene, *command: object) -> threading.Thread:
    """Send a command that takes its time, on a thread and a connection of its own."""

    def run() -> None:
        with suppress(Exception), s.server.client(socket_timeout=60.0) as client:
            client.execute_command(*command)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread
