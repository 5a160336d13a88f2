"""A spool that another drains: `--spool FILE`, while its owner may be alive; `--to-here`, into another Redis; a copy of the file.

One row, spooled for Redis here. The owner's drainer and its local worker, and the one who adopts the file, whose Redis may be
another one. What must never be: a job queued twice in one Redis, or queued and run by the owner; one that is nowhere; one sent to
another Redis that nobody asked for; or one in both that was in doubt for neither.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.model.explore import On, Steps, Story

LIFE, END, CLAIMS, REQUESTS = 1, 3, 3, 2

RULES = {
    "own_redis": "a spool is drained into the Redis that it was made for; into another one only when the operator says so",
    "claims_in_file": "who adopts keeps its claims where the owner keeps its own: in the file",
    "fence": "a row is deleted under its claim's own token, and only who deleted it frees its marker",
    "attempt_in_row": "the not-after of each one's attempt is in the row, the latest of all",
    "doubt_stays": "an attempt that timed out leaves the row in doubt, whoever takes it next, and for whichever Redis",
    "keeps_none": "who drains it into another Redis keeps no row back: who watches for its own would send it there as well",
    "one_file": "a spool is drained where it lies; a copy of the file knows nothing of what its original did",
}


class Row(NamedTuple):
    state: str = ""  # "", ready, local, or who holds it
    doubt: bool = False
    token: int = 0
    known: int = -1


class Drainer(NamedTuple):
    does: str = ""  # "", claimed, sent
    token: int = 0
    not_after: int = 0
    was: bool = False  # the row's doubt before
    known: int = -1


class Request(NamedTuple):
    who: str
    not_after: int
    token: int


class Redis(NamedTuple):
    pushed: int = 0
    marker: bool = False
    frees: tuple[int, ...] = ()  # the marker may go past that time


class S(NamedTuple):
    t: int = 0
    for_: str = ""  # whose Redis the adopter has: here, there; "" before it comes
    told: bool = False  # it was said that jobs for here go there
    here: Redis = Redis()
    there: Redis = Redis()
    file: Row = Row("ready")
    copy: Row = Row()
    owner: Drainer = Drainer()
    adopter: Drainer = Drainer()
    copier: Drainer = Drainer()  # the adopter, of the copy
    local: int = 0  # the token under which the owner's worker runs it
    ran: bool = False
    net: tuple[Request, ...] = ()
    moved: str = ""  # the Redis of the last claim
    again: bool = False  # a row was sent again of which a Redis had said that it has it
    doubted: bool = False  # a claim for the other Redis found it in doubt


def steps(s: S, on: On) -> Steps:
    if s.t < END:
        yield "a tick", s._replace(t=s.t + 1)
    if not s.for_:
        yield "the file is adopted", s._replace(for_="here")
        if not on("own_redis"):
            yield "the file is adopted by another Redis's drainer", s._replace(for_="there")
        yield "the file is adopted --to-here", s._replace(for_="there", told=True)
    if not on("one_file") and not s.copy.token and s.file.state:
        copy = s.file._replace(state="ready", token=s.file.token + 1)  # claims end with their leases
        yield "the volume is copied", s._replace(copy=copy)
    yield from _drainer(s, "owner", "file", on)
    if s.for_:
        yield from _drainer(s, "adopter", "file", on)
    yield from _drainer(s, "copier", "copy", on)
    yield from _local(s)
    if s.file.state == "kept":
        row = s.file._replace(state="ready", token=s.file.token + 1)
        yield "the owner's watcher sends the kept row again", s._replace(file=row, again=True)
    for i, request in enumerate(s.net):
        rest = s._replace(net=s.net[:i] + s.net[i + 1 :])
        late = s.t > request.not_after
        where = _redis(s, request.who)
        redis = getattr(s, where)
        there = redis if late or redis.marker else redis._replace(pushed=redis.pushed + 1, marker=True)
        applied = rest._replace(**{where: there})
        yield f"the {request.who}'s put is dropped", rest
        yield f"the {request.who}'s put arrives {where}, its answer is lost", applied
        drainer = getattr(s, request.who)
        if drainer.does == "sent" and drainer.token == request.token:
            yield f"the {request.who}'s put is answered", _answered(applied, request.who, on, there=not late)
    for where in ("here", "there"):
        redis = getattr(s, where)
        for known in redis.frees:
            if s.t > known:
                left = tuple(other for other in redis.frees if other != known)
                yield f"the marker {where} is freed", s._replace(**{where: redis._replace(marker=False, frees=left)})


def _redis(s: S, who: str) -> str:
    return s.for_ if who == "adopter" else "here"


def _file(who: str) -> str:
    return "copy" if who == "copier" else "file"


def _drainer(s: S, who: str, name: str, on: On) -> Steps:
    row: Row = getattr(s, name)
    drainer: Drainer = getattr(s, who)
    own = who == "adopter" and not on("claims_in_file")
    if not drainer.does and (row.state == "ready" or (own and row.state)):
        limit, token = s.t + LIFE, row.token + 1
        where = _redis(s, who)
        known = max(row.known, limit) if on("attempt_in_row") else row.known
        claimed = row if own else Row(who, True, token, known)
        doubted = s.doubted or (s.moved not in ("", where) and row.doubt)
        taken = s._replace(**{name: claimed, who: Drainer("claimed", token, limit, row.doubt, known)})
        yield f"the {who} claims", taken._replace(moved=where, doubted=doubted)
    if drainer.does == "claimed":
        request = Request(who, drainer.not_after, drainer.token)
        yield f"the {who} sends", s._replace(**{who: drainer._replace(does="sent")}, net=(*s.net, request))
    if drainer.does:
        back = {}
        if row.state == who and row.token == drainer.token:
            doubt = on("doubt_stays") or drainer.was
            back = {name: row._replace(state="ready", doubt=doubt)}
        yield f"the {who} times out, or dies and is taken over", s._replace(**{who: Drainer()}, **back)
        if back:
            yield f"the {who}'s lease ends", s._replace(**back)


def _answered(s: S, who: str, on: On, *, there: bool) -> S:
    name, drainer = _file(who), getattr(s, who)
    row: Row = getattr(s, name)
    after = s._replace(**{who: Drainer()})
    mine = row.token == drainer.token and row.state == who
    if not there:
        back = row._replace(state="ready", doubt=drainer.was)
        return after._replace(**{name: back}) if mine else after
    if not mine and on("fence") and (who != "adopter" or on("claims_in_file")):
        return after
    where = _redis(s, who)
    if where == "there" and not on("keeps_none"):  # it was written ahead
        return after._replace(file=row._replace(state="kept"))
    redis: Redis = getattr(after, where)
    frees = tuple(sorted({*redis.frees, drainer.known}))
    return after._replace(**{where: redis._replace(frees=frees), name: row._replace(state="")})


def _local(s: S) -> Steps:
    row = s.file
    if row.state == "ready" and not row.doubt and not s.local:
        taken = row._replace(state="local", token=row.token + 1)
        yield "the owner's worker claims", s._replace(local=row.token + 1, file=taken)
    if s.local:
        held = row.state == "local" and row.token == s.local
        yield "the owner's worker is done", s._replace(local=0, ran=True, file=row._replace(state="") if held else row)
        yield "the owner's worker dies", s._replace(local=0, file=row._replace(state="ready") if held else row)


def broken(s: S, on: On) -> str | None:
    if max(s.here.pushed, s.there.pushed) > 1:
        return "queued twice"
    if (s.here.pushed or s.there.pushed) and s.ran:
        return "queued, and run by its owner"
    if not (s.file.state or s.here.pushed or s.there.pushed or s.ran):
        return "gone"
    if s.there.pushed and not s.told:
        return "in another Redis, which nobody asked for"
    if s.here.pushed and s.there.pushed and (s.again or not s.doubted):
        return "in both, and never in doubt" if not s.again else "in both, although the one had said that it has it"
    return None


STORY = Story("adopt", S(), RULES, steps, broken, lambda s: max(s.file.token, s.copy.token) <= CLAIMS and len(s.net) <= REQUESTS)
