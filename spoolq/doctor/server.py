"""Redis: what its settings, its state and this login mean for the jobs that it takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import unquote, urlsplit

from spoolq import checks
from spoolq.doctor.case import Room, note, problem, some, warning
from spoolq.doctor.look import Look
from spoolq.store.upkeep import Finding
from spoolq.units import say_duration, say_size

ROOM = Room("server")

SKEW = 1.0
"""Seconds between two clocks that are kept by NTP are a hundredth of this."""

FULL = 0.8
CLUSTERED = ("cluster", "clusterdown")
"""Reasons for which a cluster refuses."""

_KEEP = "and ACL SAVE, or CONFIG REWRITE where it has no aclfile"

OLDEST, CONFIRMS, CLIENT = (6, 2), (7, 2), (5, 0)
"""Versions of the server, of one that has WAITAOF, and of redis-py."""


def _given(found: Finding | None) -> Iterable[Finding]:
    return () if found is None else (found,)


@ROOM.check("redis", "Redis takes jobs", "until then jobs wait in the spool of each host, and a spool has an end")
def redis(look: Look) -> Iterable[Finding]:
    """By the very script of a put, on keys of its own."""
    if look.refusal is None:
        return
    found = checks.refusal(look.refusal)
    if found.level == "unknown":
        text, _, advice = str(look.refusal).rpartition("; ")
        found = warning(f"{text or look.refusal}; new jobs go to the spool", advice or "start Redis, or mend the address")
    yield found


@ROOM.check(
    "permissions",
    "this login may run every command of spoolq's scripts, on all its keys",
    "jobs go to the spool, or stay with a worker whose script was refused half-way",
)
def permissions(look: Look) -> Iterable[Finding]:
    """Command by command; nothing is done with any of them."""
    denied, settings = look.denied, look.settings
    user = denied.user or unquote(urlsplit(settings.url).username or "") or "default"
    grant = " ".join(
        [*(f"+{name}" for name in denied.commands), *([f"~{settings.namespace}:*"] if denied.keys else ())],
    )
    if denied.commands or denied.keys:
        what = [f"the commands {some(denied.commands, 12)}"] if denied.commands else []
        what += [f"the keys {some(denied.keys)}"] if denied.keys else []
        yield problem(f"Redis's user {user} is denied {', and '.join(what)}", f"ACL SETUSER {user} {grant}, {_KEEP}")
    needed = {"aof": "waitaof", "replica": "wait"}.get(settings.confirm)
    if needed in denied.optional:
        yield problem(
            f"Redis's user {user} is denied {needed.upper()}, so that no put is ever confirmed (confirm = {settings.confirm})",
            f"ACL SETUSER {user} +{needed}, {_KEEP}",
        )
    if asking := [name for name in denied.optional if name in ("info", "config")]:
        yield note(
            f"Redis's user {user} may not ask {some(name.upper() for name in asking)}, so some checks can't be made",
            f"ACL SETUSER {user} {' '.join('+config|get' if name == 'config' else f'+{name}' for name in asking)}",
        )


@ROOM.check("eviction", "Redis throws no key away when it is full", "a queue is one key: it would be thrown away whole")
def eviction(look: Look) -> Iterable[Finding]:
    """The policy, and whether it has happened."""
    facts = look.server
    found = checks.eviction(facts)
    if found is not None and facts.evicted and found.level != "unknown":
        found = found._replace(what=f"{found.what}; {facts.evicted:,} keys have gone so since it started")
    return _given(found)


@ROOM.check("persistence", "Redis writes what it takes to its disk", "else what it took is lost when it or its host dies")
def persistence(look: Look) -> Iterable[Finding]:
    """Also where a put is to be confirmed by it."""
    yield from _given(checks.persistence(look.server))
    if look.settings.confirm == "aof" and look.server.appendonly is False:
        yield problem(
            "confirm = aof, and Redis has no append-only file: no put is ever confirmed, and each goes to the spool as well",
            "CONFIG SET appendonly yes, and the same in redis.conf",
        )


@ROOM.check("saving", "the last time that Redis saved its data it could", "it refuses writes, or loses them when it restarts")
def saving(look: Look) -> Iterable[Finding]:
    """INFO says how it went."""
    if look.server.failing:
        yield problem(
            f"Redis could not write its data to its disk the last time ({some(look.server.failing)})",
            "look at its log and at its disk (full? read-only?); BGSAVE or BGREWRITEAOF shows whether it is mended",
        )


@ROOM.check("memory", "Redis has room for jobs", "when it is full, jobs go to the spool, and workers can't report results")
def memory(look: Look) -> Iterable[Finding]:
    """By its own limit, else by the machine's memory."""
    facts = look.server
    yield from _given(checks.memory(facts))
    if facts.limit == 0 and facts.used and facts.host_memory and facts.used > FULL * facts.host_memory:
        yield warning(
            f"Redis uses {say_size(facts.used)} of the {say_size(facts.host_memory)} of its machine, and has no maxmemory: the "
            "kernel will kill it",
            "CONFIG SET maxmemory to three quarters of the machine's memory, with noeviction; more workers",
        )


@ROOM.check("role", "the URL points at a master", "a replica takes no jobs, or loses those that it takes")
def role(look: Look) -> Iterable[Finding]:
    """And of a replica, whether it still hears of its master."""
    found = checks.role(look.server)
    if found is not None and look.server.linked is False:
        found = found._replace(what=f"{found.what}, and has lost its master: what it shows is old")
    return _given(found)


@ROOM.check("replicas", "as many replicas are connected as the settings ask for", "Redis refuses writes, or confirms none")
def replicas(look: Look) -> Iterable[Finding]:
    """min-replicas-to-write, and confirm = replica."""
    facts = look.server
    if facts.replicas is None:
        return
    if facts.min_replicas and facts.replicas < facts.min_replicas:
        yield problem(
            f"Redis takes no writes: min-replicas-to-write is {facts.min_replicas}, and {facts.replicas} are connected",
            "start its replicas, or CONFIG SET min-replicas-to-write 0",
        )
    if look.settings.confirm == "replica" and not facts.replicas:
        yield problem(
            "confirm = replica, and Redis has none: no put is ever confirmed, and each goes to the spool as well",
            "start a replica, or set confirm to aof or none",
        )


@ROOM.check("clock", "Redis's clock and this host's agree", "scheduled jobs start too early or too late, and ages are wrong")
def clock(look: Look) -> Iterable[Finding]:
    """Read off the answer to TIME."""
    if abs(look.skew) >= SKEW:
        side = "ahead of" if look.skew > 0 else "behind"
        yield warning(
            f"Redis's clock is {say_duration(abs(round(look.skew, 1)))} {side} this host's",
            "let NTP keep both (timedatectl set-ntp true; chronyc tracking)",
        )


@ROOM.check("latency", "Redis answers in a small part of the deadline", "else enqueue is slow, and goes to the spool for nothing")
def latency(look: Look) -> Iterable[Finding]:
    """The median of seven small questions."""
    deadline = look.settings.deadline
    text = f"Redis takes {1000 * look.wait:.0f} ms for a small question; enqueue waits {1000 * deadline:.0f} ms (deadline)"
    remedy = "redis-cli --latency and SLOWLOG GET on its host; the network; or a longer deadline"
    if look.wait >= deadline / 2:
        yield problem(f"{text}, so that jobs go to the spool", remedy)
    elif look.wait >= deadline / 10:
        yield warning(text, remedy)


@ROOM.check("version", "the server is one that spoolq is tested with", "older ones lack commands that the scripts need")
def version(look: Look) -> Iterable[Finding]:
    """Redis 6.2 or newer, or Valkey; 7.2 for confirm = aof."""
    facts = look.server
    found = _numbers(facts.version or "")
    if not found:
        return
    name = f"{facts.product.capitalize()} {facts.version}"
    if found < OLDEST:
        yield problem(f"this is {name}, and spoolq needs Redis 6.2 or newer, or Valkey", "upgrade the server")
    elif look.settings.confirm == "aof" and found < CONFIRMS:
        yield problem(
            f"confirm = aof needs WAITAOF, which {name} doesn't have: no put is ever confirmed",
            "Redis 7.2 or newer, or Valkey; or set confirm to none",
        )


@ROOM.check("client", "the Redis library here is new enough", "older ones connect in ways that spoolq doesn't know")
def client(look: Look) -> Iterable[Finding]:
    """redis-py connects; what is said then spoolq says itself, so hiredis is no matter."""
    found = look.client.get("redis")
    if found is None:
        yield problem("the package redis isn't installed here", "pip install 'redis>=5'")
    elif _numbers(found) < CLIENT:
        yield problem(f"redis-py {found} is too old, spoolq needs 5.0 or newer", "pip install --upgrade redis")


@ROOM.check("cluster", "all keys of the namespace are on one server", "a script can't touch keys in several hash slots")
def cluster(look: Look) -> Iterable[Finding]:
    """A node of a cluster, with a namespace that is no hash tag, or in another node's slot."""
    refusal = look.refusal
    split = refusal is not None and refusal.reason in CLUSTERED
    if split or look.server.cluster:
        tag = look.settings.namespace
        whole = "{" in tag and "}" in tag.partition("{")[2]
        if split or not whole:
            yield problem(
                "this is a node of a Redis Cluster, and the namespace's keys aren't all its own",
                "use a server that is no cluster; or a hash tag as namespace, such as {resque}, and the node that has its slot",
            )


@ROOM.check("connections", "Redis takes more connections", "new processes can't connect, and their jobs go to the spool")
def connections(look: Look) -> Iterator[Finding]:
    """Against maxclients."""
    facts = look.server
    if facts.clients and facts.max_clients and facts.clients >= FULL * facts.max_clients:
        yield warning(
            f"{facts.clients:,} of {facts.max_clients:,} connections to Redis are in use (maxclients)",
            "CONFIG SET maxclients to more (and its LimitNOFILE); see who holds them: CLIENT LIST",
        )


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split(".")[:2]
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else ()
