"""Two jobs of one queue under `ordering="fifo"`: x is enqueued, and when that has returned, y, perhaps by another process.

What must never be: y handed off (pushed to Redis, or begun by a local worker) before x.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.model.explore import On, Steps, Story

CLAIMS, REQUESTS = 4, 2

RULES = {
    "asks_spool": "a process asks the spool, not its memory, whether the queue has rows before it goes to Redis",
    "one_at_a_time": "nobody takes a row of a queue while an earlier row of it is claimed",
    "doubt_blocks": "a local worker takes no row behind one in doubt, which Redis may not have yet",
    "oldest_first": "rows are taken in their order, those in doubt among them",
}


class Put(NamedTuple):
    who: str  # a client, d1, d2
    jobs: str
    token: int = 0


class S(NamedTuple):
    client: str = "x"  # what is enqueued next: x, y, then nothing
    waits: bool = False  # for Redis's answer
    rows: str = ""  # in the spool, in order
    doubt: str = ""
    claimed: tuple[tuple[str, str, int], ...] = ()  # (who, jobs, token)
    token: int = 0
    out: str = ""  # handed off, in that order
    net: tuple[Put, ...] = ()


def steps(s: S, on: On) -> Steps:
    yield from _client(s, on)
    free = "".join(job for job in s.rows if not any(job in jobs for _, jobs, _ in s.claimed))
    for who in ("d1", "d2"):
        if any(holder == who for holder, _, _ in s.claimed):
            continue
        for batch in {free[:1], free} - {""}:
            if _may_take(s, batch, on) and (batch == free[: len(batch)] or not on("oldest_first")):
                token = s.token + 1
                taken = s._replace(
                    token=token,
                    claimed=(*s.claimed, (who, batch, token)),
                    doubt=_union(s.doubt, batch),
                    net=(*s.net, Put(who, batch, token)),
                )
                yield f"{who} takes and sends {batch}", taken
    for job in [job for job in free if job not in s.doubt]:
        ahead = s.rows[: s.rows.index(job)]
        if not _may_take(s, job, on) or (on("doubt_blocks") and set(ahead) & set(s.doubt)):
            continue
        if on("oldest_first") and any(other in free and other not in s.doubt for other in ahead):
            continue
        yield f"the local worker begins {job}", s._replace(rows=s.rows.replace(job, ""), out=s.out + job)
    for claim in s.claimed:
        yield f"{claim[0]} times out, or dies and is taken over", s._replace(claimed=tuple(c for c in s.claimed if c != claim))
    for i, put in enumerate(s.net):
        rest = s._replace(net=s.net[:i] + s.net[i + 1 :])
        yield f"the put of {put.jobs} by {put.who} is dropped", rest
        there = rest._replace(out=s.out + "".join(job for job in put.jobs if job not in s.out))  # the marker
        yield f"the put of {put.jobs} by {put.who} is applied, its answer lost", there
        if (put.who, put.jobs, put.token) in s.claimed:
            claimed = tuple(c for c in s.claimed if c != (put.who, put.jobs, put.token))
            rows = "".join(job for job in s.rows if job not in put.jobs)
            yield f"the put of {put.jobs} by {put.who} is answered", there._replace(claimed=claimed, rows=rows)
        if put.who == "client" and s.waits and s.client == put.jobs:
            yield f"the put of {put.jobs} is answered", _enqueued(there)


def _client(s: S, on: On) -> Steps:
    job = s.client
    if not job:
        return
    if s.waits:
        yield f"the put of {job} times out: spooled in doubt", _enqueued(s, row=True, doubt=True)
        return
    if s.rows and on("asks_spool"):
        yield f"{job} is spooled behind others", _enqueued(s, row=True)
        return
    yield f"{job} is sent", s._replace(waits=True, net=(*s.net, Put("client", job)))
    yield f"{job} is refused: spooled", _enqueued(s, row=True)


def _enqueued(s: S, *, row: bool = False, doubt: bool = False) -> S:
    job = s.client
    return s._replace(
        client="y" if job == "x" else "",
        waits=False,
        rows=s.rows + job if row else s.rows,
        doubt=_union(s.doubt, job) if doubt else s.doubt,
    )


def _may_take(s: S, jobs: str, on: On) -> bool:
    ahead = s.rows[: s.rows.index(jobs[0])]
    return not on("one_at_a_time") or not any(job in claimed for job in ahead for _, claimed, _ in s.claimed)


def _union(some: str, more: str) -> str:
    return "".join(sorted({*some, *more}))


def broken(s: S, on: On) -> str | None:
    return "y overtook x" if s.out.startswith("y") else None


STORY = Story("fifo", S(), RULES, steps, broken, lambda s: s.token <= CLAIMS and len(s.net) <= REQUESTS)
