"""Is this deployment safe? Pure: from facts to findings, each with its remedy. Where jobs are kept, and what that is worth.

What a look into the spool's file itself finds is `store.upkeep`'s; its findings are of the same form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from spoolq.breaker import LASTING
from spoolq.errors import StoreUnavailable
from spoolq.store.looking import ServerFacts, SpoolInfo
from spoolq.store.upkeep import Finding
from spoolq.units import say_age, say_size

NEARLY_FULL = 0.8
STUCK = 60.0  # seconds: a row that waits for longer while Redis answers isn't being drained, and a job isn't being run
RACE = ((3, 7, 0), (3, 51, 3))
"""Versions of SQLite, the last one not included, in which a commit and a checkpoint of two connections can damage a WAL file
(https://sqlite.org/wal.html#walresetbug)."""


def server(facts: ServerFacts) -> list[Finding]:
    """What Redis's own settings mean for the jobs that it takes."""
    found = [check(facts) for check in SERVER]
    return [one for one in found if one is not None]


def eviction(facts: ServerFacts) -> Finding | None:
    """A policy that throws keys away throws jobs away."""
    policy, remedy = facts.policy, "CONFIG SET maxmemory-policy noeviction, and the same in redis.conf"
    if policy is None:
        return _unasked("eviction", "its maxmemory-policy", facts, "see that it is noeviction")
    if policy.startswith("allkeys"):
        if facts.limit:
            return Finding("eviction", "problem", f"Redis throws whole queues away when it is full ({policy})", remedy)
        text = f"Redis would throw whole queues away when it is full ({policy}); it has no maxmemory now"
        return Finding("eviction", "warning", text, remedy)
    if policy.startswith("volatile"):
        text = f"when Redis is full it throws away keys that have a time to live ({policy}): guards and values, though no jobs"
        return Finding("eviction", "warning", text, remedy)
    return None


def persistence(facts: ServerFacts) -> Finding | None:
    """What an enqueue that Redis answered is worth when Redis, or its host, dies."""
    if facts.appendonly is None:
        return _unasked("persistence", "whether it persists anything", facts, "see that appendonly is yes")
    remedy = "CONFIG SET appendonly yes, and the same in redis.conf"
    if facts.appendonly and facts.appendfsync is None:
        return _unasked("persistence", "its appendfsync", facts, "see that it is everysec or always")
    if facts.appendonly and facts.appendfsync == "always":
        return None
    if facts.appendonly and facts.appendfsync == "everysec":
        text = "when Redis's host dies, about the last second of the jobs that Redis took is lost (appendfsync everysec)"
        return Finding("persistence", "note", text, "appendfsync always, where that is too much")
    if facts.appendonly:
        text = f"when Redis's host dies, half a minute of the jobs that Redis took may be lost (appendfsync {facts.appendfsync})"
        return Finding("persistence", "warning", text, "CONFIG SET appendfsync everysec, and the same in redis.conf")
    if facts.save == "":
        text = 'when Redis stops, all jobs that it took are lost: it persists nothing (appendonly no, save "")'
    else:
        save = facts.save or "unknown"
        text = f"when Redis dies, the jobs that it took since its last snapshot are lost (appendonly no, save {save})"
    return Finding("persistence", "warning", text, remedy)


def memory(facts: ServerFacts) -> Finding | None:
    """Room for jobs."""
    if not facts.limit or facts.used is None or facts.used < NEARLY_FULL * facts.limit:
        return None
    text = f"Redis uses {say_size(facts.used)} of {say_size(facts.limit)} (maxmemory); when it is full, jobs go to the spool"
    return Finding("memory", "warning", text, "more workers, or a larger maxmemory")


def role(facts: ServerFacts) -> Finding | None:
    """A replica takes no jobs, or loses those it takes."""
    if facts.role not in ("slave", "replica"):
        return None
    return Finding("role", "problem", "this Redis is a replica", "point the URL at the master")


SERVER: Sequence[Callable[[ServerFacts], Finding | None]] = (eviction, persistence, memory, role)


def refusal(error: StoreUnavailable) -> Finding:
    """Redis, or its driver, did not answer the probe, which is the very script of a put."""
    text, _, advice = str(error).rpartition("; ")
    if error.reason in LASTING:
        return Finding("permissions", "problem", text or str(error), advice)
    if error.reason in ("oom", "readonly", "misconf", "noreplicas"):
        return Finding("refuses", "warning", text or str(error), advice)
    return Finding("redis", "unknown", f"Redis could not be asked: {text or error}", advice)


def spool(info: SpoolInfo, *, answers: bool) -> list[Finding]:
    """What is known of the spool without reading it. `answers`: Redis does."""
    found = [sqlite(info.sqlite), waiting(info, answers=answers), untold(info)]
    return [one for one in found if one is not None]


def sqlite(version: str) -> Finding | None:
    """The library's known faults."""
    if not RACE[0] <= tuple(int(part) for part in version.split(".")[:3]) < RACE[1]:
        return None
    text = f"SQLite {version} can damage a file that several programs write; spoolq's processes keep each other from it by a lock"
    return Finding("sqlite", "note", text, "let no other program write to the spool; SQLite 3.51.3 or newer mends it")


def waiting(info: SpoolInfo, *, answers: bool) -> Finding | None:
    """Rows that nobody moves."""
    if not answers or info.oldest is None:
        return None
    if info.drain_paused_at is not None:
        return Finding("waiting", "warning", "jobs wait in the spool, and draining is paused", "`spoolq drain resume`")
    if info.oldest <= STUCK or info.empties:
        return None
    text = f"Redis answers, and a job has waited in the spool for {say_age(info.oldest)}"
    return Finding("waiting", "warning", text, "start `spoolq drain` or a worker here")


def untold(info: SpoolInfo) -> Finding | None:
    """Outcomes that the primary could not be told: for as long as the lease of the claim lasts it is worth while."""
    if not info.settlements:
        return None
    text = f"Redis could not be told yet what became of {info.settlements:,} jobs that ran here; untold, they run again"
    return Finding("untold", "note", text, "start a worker or `spoolq drain` here")


def _unasked(name: str, what: str, facts: ServerFacts, remedy: str) -> Finding:
    why = f" ({facts.unasked})" if facts.unasked else ""
    return Finding(
        name, "unknown", f"Redis could not be asked for {what}{why}", f"allow this user INFO and CONFIG GET, or {remedy}"
    )
