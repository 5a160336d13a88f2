"""The hand-off of one job: a client, two drainers, a local worker, a network that loses answers and delivers late, processes that
die anywhere, claims taken over at any time, a clock that passes the times after which a request must not be applied.

Three stories: Redis first; Redis first, and the caller told "unknown" enqueues the same id again; write-ahead, where the row is
kept until Redis has persisted the job, and Redis may lose once what it had not persisted.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, NamedTuple

from tests.model.explore import On, Steps, Story

LIFE, END = 1, 4  # an attempt may be applied for so many ticks; the last tick
CLAIMS, REQUESTS = 5, 3

Kind = Literal["primary", "again", "ahead"]

COMMON = {
    "marker": "an attempt for an id whose marker is set pushes nothing, and is answered dup",
    "undo": "a push that fails leaves no marker",
    "not_after": "an attempt that arrives past its not-after, on Redis's own clock, is refused",
    "free_late": "a marker is freed only when the row is gone and the latest not-after that the row knew has passed",
    "note_attempt": "a drainer's claim writes the not-after of its attempt into the row before anything is sent",
    "put_first": "the row is deleted after Redis has answered",
    "claim_doubts": "a drainer's claim keeps local workers off the row; what was surely not applied gives it back as it was",
    "doubt_waits": "a local worker never takes a row in doubt",
}
AHEAD = {
    "keep_row": "the row stays until Redis has persisted what it took",
    "keep_marker": "the marker stays as long as the row",
    "look_for_id": "a row is let go only while Redis has its marker",
}
AGAIN = {
    "ask_spool": "a call with a given id asks the spool before Redis: a row that waits is put in doubt, and is the answer",
    "tombstone": "an id that ran here is remembered, in the transaction that settles its row",
}


class Drainer(NamedTuple):
    does: str = "idle"  # idle, claimed, sent, answered: the row is to be deleted with the next commit
    token: int = 0
    not_after: int = 0
    doubt: bool = False  # of the row, before it was claimed


class Request(NamedTuple):
    who: str
    not_after: int
    token: int = 0


class S(NamedTuple):
    t: int = 0
    pushed: int = 0
    marker: bool = False
    client: str = "new"  # new, waits, acked, unknown, dead
    again: str = ""  # a second call with the id: "", new, waits, done
    late_row: bool = False  # the first call's commit hangs: the row lands whenever it likes
    row: str = ""  # "", ready, d1, d2, local; kept (write-ahead: sent, not yet persisted)
    doubt: bool = False
    token: int = 0
    known: int = -1  # the latest not-after that the row, or who settled it, knows of
    d1: Drainer = Drainer()
    d2: Drainer = Drainer()
    local: int = 0  # the token under which the local worker runs it
    net: tuple[Request, ...] = ()
    ran_here: bool = False
    settled: bool = False
    saved: bool = False  # what Redis has is on its disk
    restarted: bool = False  # it has lost, once, what it had not saved, or everything


def steps(kind: Kind, s: S, on: On) -> Steps:
    if s.t < END:
        yield "a tick", s._replace(t=s.t + 1)
    yield from _client(kind, s)
    yield from _once_more(s, on)
    for i, request in enumerate(s.net):
        rest = s._replace(net=s.net[:i] + s.net[i + 1 :])
        yield f"{request.who}'s request is dropped", rest
        for answer, after in _redis(rest, request, on):
            yield f"{request.who}'s request: {answer}, the answer is lost", after
            yield from _answered(kind, after, request, answer, on)
    for who in ("d1", "d2"):
        yield from _drainer(s, who, on)
    yield from _local(s, on)
    yield from _ends(kind, s, on)


def _client(kind: Kind, s: S) -> Steps:
    if s.client == "new":
        yield "the client dies", s._replace(client="dead")
        if kind == "ahead":
            yield "the client spools first", _spooled(s)
            return
        yield "the client sends", s._replace(client="waits", net=(*s.net, Request("client", s.t + LIFE)))
        yield "the client is refused, and spools", _spooled(s)
        if kind == "again":
            yield "the client is refused, its commit hangs", s._replace(client="unknown", late_row=True, again="new")
    if s.client == "waits":
        yield "the client dies", s._replace(client="dead")
        yield "the client times out, and spools", _spooled(s, doubt=True, known=max(s.known, _limit(s, "client")))
        if kind == "again":
            unknown = s._replace(client="unknown", again="new", known=max(s.known, _limit(s, "client")))
            yield "the client times out, the spool is full", unknown


def _once_more(s: S, on: On) -> Steps:
    if s.late_row:
        row = {} if s.row else {"row": "ready", "token": s.token + 1}
        yield "the hung commit lands", s._replace(late_row=False, **row)
    if s.again == "new":
        if on("ask_spool") and s.late_row:
            return  # the spool can't answer: unknown once more, and nothing is sent
        if on("ask_spool") and s.row:
            yield "again: a row waits", s._replace(again="done", client="acked", doubt=s.doubt or s.row != "local")
        elif on("tombstone") and s.ran_here:
            yield "again: it ran here", s._replace(again="done", client="acked")
        else:
            yield "again: sent", s._replace(again="waits", net=(*s.net, Request("again", s.t + LIFE)))
            if not s.row:
                yield "again: refused, spooled", _spooled(s, doubt=True)._replace(again="done")
    if s.again == "waits":
        known = max(s.known, _limit(s, "again"))
        there = s._replace(client="acked", doubt=True, known=known) if s.row else _spooled(s, doubt=True, known=known)
        yield "again: timed out, spooled", there._replace(again="done")


def _redis(s: S, request: Request, on: On) -> list[tuple[str, S]]:
    """The script."""
    if s.t > request.not_after and on("not_after"):
        return [("late", s)]
    if s.marker and on("marker"):
        return [("dup", s)]
    pushed = s._replace(pushed=s.pushed + 1, marker=True, saved=False)
    return [("ok", pushed), ("error", s if on("undo") else s._replace(marker=True))]


def _answered(kind: Kind, s: S, request: Request, answer: str, on: On) -> Steps:
    there = answer in ("ok", "dup")
    what = f"{request.who}'s request: {answer}"
    if request.who == "client" and s.client == "waits":
        yield what, s._replace(client="acked", settled=True) if there else _spooled(s)
    elif request.who == "again" and s.again == "waits":
        yield what, (s._replace(client="acked") if there or s.row else _spooled(s, doubt=True))._replace(again="done")
    elif request.who in ("d1", "d2"):
        drainer: Drainer = getattr(s, request.who)
        if drainer.does != "sent" or drainer.token != request.token:
            return  # after a time-out the connection is closed: an answer belongs to one attempt
        after = s._replace(**{request.who: Drainer()})
        if there and not (kind == "ahead" and on("keep_row")):
            yield what, s._replace(**{request.who: drainer._replace(does="answered")})
        elif s.row != request.who or s.token != drainer.token:
            yield what, after
        elif not there:
            yield what, after._replace(row="ready", doubt=drainer.doubt)
        else:
            yield what, after._replace(row="kept", doubt=True)


def _drainer(s: S, who: str, on: On) -> Steps:
    drainer: Drainer = getattr(s, who)
    held = drainer.does != "idle" and s.row == who and s.token == drainer.token
    if drainer.does == "idle" and s.row == "ready":
        limit = s.t + LIFE
        yield (
            f"{who} claims",
            s._replace(
                **{who: Drainer("claimed", s.token + 1, limit, s.doubt)},
                row=who,
                token=s.token + 1,
                doubt=s.doubt or on("claim_doubts"),
                known=max(s.known, limit) if on("note_attempt") else s.known,
            ),
        )
    if drainer.does == "claimed":
        sent = s._replace(**{who: drainer._replace(does="sent")}, net=(*s.net, Request(who, drainer.not_after, drainer.token)))
        yield f"{who} sends", sent._replace(row="", settled=True) if held and not on("put_first") else sent
        if held:
            yield f"{who} gives back what it has not sent", s._replace(**{who: Drainer()}, row="ready", doubt=drainer.doubt)
    if drainer.does == "answered":
        yield f"{who} deletes", s._replace(**{who: Drainer()}, **({"row": "", "settled": True} if held else {}))
    if drainer.does == "sent":
        yield f"{who} times out", s._replace(**{who: Drainer()}, row="ready" if held else s.row)
    if drainer.does != "idle":
        yield f"{who} dies", s._replace(**{who: Drainer()})


def _local(s: S, on: On) -> Steps:
    if s.row in ("d1", "d2", "local"):
        yield f"the claim of {s.row} is taken over", s._replace(row="ready", token=s.token + 1)
    if not s.local and s.row == "ready" and not (s.doubt and on("doubt_waits")):
        yield "the local worker claims", s._replace(local=s.token + 1, row="local", token=s.token + 1)
    if s.local:
        held = s.row == "local" and s.token == s.local
        done = s._replace(local=0, row="", settled=True, ran_here=True) if held else s._replace(local=0)
        yield "the local worker is done", done
        yield "the local worker dies", s._replace(local=0)


def _ends(kind: Kind, s: S, on: On) -> Steps:
    gone = not s.row or (s.row == "kept" and not (kind == "ahead" and on("keep_marker")))
    over = (s.settled or s.row) and not s.again and not s.late_row
    if s.marker and gone and over and (s.t > s.known or not on("free_late")):
        yield "the marker is freed", s._replace(marker=False)
    if kind != "ahead":
        return
    if s.pushed and not s.saved:
        yield "Redis persists", s._replace(saved=True)
        if not s.restarted:
            yield "Redis restarts empty", s._replace(pushed=0, marker=False, restarted=True, net=())
    if s.row == "kept":
        if s.pushed and not s.restarted:
            yield "Redis is emptied, and goes on", s._replace(pushed=0, marker=False, restarted=True, saved=True)
        if s.saved and (s.marker or not on("look_for_id")):
            yield "the row is let go", s._replace(row="", settled=True)
        yield "Redis was restarted: the kept row is sent again", s._replace(row="ready", doubt=True, token=s.token + 1)


def _spooled(s: S, *, doubt: bool = False, known: int = -1) -> S:
    return s._replace(client="acked", row="ready", token=s.token + 1, doubt=doubt, known=max(s.known, known))


def _limit(s: S, who: str) -> int:
    return next((request.not_after for request in s.net if request.who == who), s.t + LIFE)


def broken(s: S, on: On) -> str | None:
    if s.pushed > 1:
        return "queued twice"
    if s.pushed and s.ran_here:
        return "queued, and run here"
    if s.client == "acked" and not (s.row or s.pushed or s.ran_here or s.late_row):
        return "accepted, and gone"
    return None


def _story(kind: Kind, rules: dict[str, str]) -> Story:
    def bounded(s: Any) -> bool:
        return bool(s.token <= CLAIMS and len(s.net) <= REQUESTS)

    return Story(f"hand_off_{kind}", S(), rules, partial(steps, kind), broken, bounded)


STORIES = (
    _story("primary", COMMON),
    _story("again", COMMON | AGAIN),
    _story("ahead", {rule: what for rule, what in COMMON.items() if rule != "undo"} | AHEAD),
)
