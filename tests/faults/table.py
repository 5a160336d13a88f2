"""What `enqueue` does about each fault: the one table, which docs/faults.md shows and every case of the matrix is held to."""

from __future__ import annotations

from typing import NamedTuple


class Outcome(NamedTuple):
    """What is seen. `reason`: the word of the primary's refusal, none when it took the job. `doubt`: the row is in doubt.
    `applied`: Redis had the job when the call was over. `opens`: the breaker opens, for the same reason."""

    route: str
    reason: str = ""
    doubt: bool = False
    applied: bool = False
    opens: bool = False


def refused(reason: str) -> Outcome:
    """Not applied for sure, and so it is for everybody."""
    return Outcome("spool", reason, opens=True)


def refused_alone(reason: str) -> Outcome:
    """Not applied for sure, but another job may fare better."""
    return Outcome("spool", reason)


def unknown(reason: str, applied: bool) -> Outcome:
    """The request had left, and no answer that can be believed came."""
    return Outcome("spool", reason, doubt=True, applied=applied, opens=True)


TAKEN = Outcome("primary", applied=True)
Either = tuple[Outcome, ...]  # one of these: it depends on the server, or on who is faster
LOST_REQUEST, LOST_REPLY = unknown("cut", applied=False), unknown("cut", applied=True)
NO_REQUEST, NO_REPLY = unknown("timeout", applied=False), unknown("timeout", applied=True)
NO_CONNECTION = refused("connect_timeout")

OUTCOMES: dict[str, Outcome | dict[str, Outcome | Either] | Either] = {
    "refused": refused("refused"),
    "killed": refused("refused"),
    "connect time-out": NO_CONNECTION,
    "accepted, then reset": refused("cut"),
    "accepted, never read": {"cold": NO_CONNECTION, "warm": NO_REQUEST},
    "TLS failure": refused("tls"),
    "TLS never agreed": NO_CONNECTION,
    "handshake dribbled": NO_CONNECTION,
    "cut before": LOST_REQUEST,
    "cut inside": LOST_REQUEST,
    "cut reply": LOST_REPLY,
    "fin reply": LOST_REPLY,
    "part reply": LOST_REPLY,
    "swallow": NO_REPLY,
    "late": NO_REPLY,
    "dribble": NO_REPLY,
    "garbage": unknown("garbage", applied=True),
    "wrong type": unknown("garbage", applied=True),
    "late request": NO_REQUEST,
    "pool exhausted": TAKEN,
    "OOM": refused("oom"),
    "READONLY": refused("readonly"),
    "MASTERDOWN": refused("masterdown"),
    "NOREPLICAS": refused("noreplicas"),
    "MISCONF (RDB)": refused("misconf"),
    "MISCONF (AOF)": refused("misconf"),
    "LOADING": refused("loading"),
    "CLUSTERDOWN": refused("clusterdown"),
    "NOAUTH": refused("auth"),
    "WRONGPASS": refused("auth"),
    "user deleted": refused("auth"),
    "NOPERM (command)": refused("noperm"),
    "NOPERM (key)": refused_alone("noperm"),
    "NOPERM (in the script)": refused("noperm"),
    "NOPERM (in the script, later)": refused("noperm"),
    "NOPERM (to take back)": TAKEN,
    "undo": unknown("undo", applied=True),
    "BUSY": refused("busy"),
    "max clients": (refused("maxclients"), refused("cut")),
    "NOSCRIPT": TAKEN,
    "wrong type (queue)": refused_alone("wrongtype"),
    "wrong type (ids)": refused_alone("wrongtype"),
    "too large": refused_alone("too_large"),
    "stopped": {"cold": NO_CONNECTION, "warm": NO_REQUEST},
    "paused (writes)": {"cold": (NO_REQUEST, NO_CONNECTION), "warm": NO_REQUEST},
    "paused": {"cold": NO_CONNECTION, "warm": NO_REQUEST},
    "slow": {"cold": NO_CONNECTION, "warm": NO_REQUEST},
    "black hole": {"cold": NO_CONNECTION, "warm": NO_REQUEST},
    "answers vanish": {"cold": NO_CONNECTION, "warm": NO_REPLY},
    "connects, then nothing": {"cold": NO_CONNECTION, "warm": NO_REQUEST},
    "rejected": {"cold": refused("refused"), "warm": (LOST_REQUEST, refused("refused"))},
    "port unreachable": {"cold": (refused("refused"), NO_CONNECTION), "warm": NO_REQUEST},
    "no route": {"cold": refused("unreachable"), "warm": NO_REQUEST},
    "no name": refused("dns"),
    "name server never answers": NO_CONNECTION,
    "three dead addresses": NO_CONNECTION,
    "protected mode": (refused("protected"), refused("cut"), TAKEN),  # 6.2 does so only where it wasn't told what to bind to
}

NOT_CAUSED = {
    "cluster": "a namespace without a hash tag on a cluster, or a moved slot",
    "tryagain": "a slot that is being moved",
    "closed": "a store that was closed",
    "local": "this process is out of file descriptors or threads, or can't load the Redis library",
    "pool": "a ready client whose pool is exhausted; spoolq's own connections have no such limit",
    "unconfirmed": "a job that Redis took and that `confirm` waits for in vain: in the tests of write-ahead",
    "unsupported": "a server older than 6.2",
    "config": "a wrong option of the URL",
    "error": "an error of the server that isn't in the table",
    "late": "a request that came after its not-after: nobody waits for that answer any more",
}  # reasons of the code's own table that the matrix doesn't cause; other tests hold what they mean


def expected(fault: str, state: str) -> Either:
    """What is right for this fault on a cold or a warm connection."""
    row = OUTCOMES[fault]
    if isinstance(row, dict):
        row = row[state]
    return (row,) if isinstance(row, Outcome) else row
