"""An operator's export and import: a row of the spool x goes into a file, as a copy or moved, and from the file into the spool y
of another host, and perhaps again, or back into x. Anybody dies between any two steps; drainers and local workers go on at both.

What must never be: a job queued twice, or queued and run, or run on both hosts; one that is nowhere; one set loose in another
Redis (`--to-here`) that its own may have.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.model.explore import On, Steps, Story

LIFE, HORIZON, MARGIN, END = 1, 2, 1, 3
CLAIMS, REQUESTS, EXPORTS, IMPORTS = 2, 2, 1, 2

RULES = {
    "marked_as_read": "what is exported is marked in the transaction that reads it",
    "as_given": "an exported id counts as one given by the caller: its marker stays for the horizon",
    "in_doubt": "an exported job is in doubt, here and wherever it is imported: only a drainer takes it",
    "not_in_hand": "what a worker or drainer has in hand is left out",
    "written_first": "a row is removed when its line is written and synced",
    "keeps_age": "a job keeps its age: one in doubt for too long is set aside, wherever it is",
    "untouched": "a row that somebody took since it was read is not removed, also when it was given back",
    "removed_alone": "for another Redis, what the export has not removed, or was in doubt there, goes to quarantine",
}


class Row(NamedTuple):
    state: str = ""  # "", ready, local, sent, aside
    doubt: bool = False
    given: bool = False
    created: int = 0
    token: int = 0
    known: int = -1
    ran: bool = False  # its id is remembered: it ran here


class Line(NamedTuple):
    doubt: bool
    created: int
    token: int
    removed: bool = False


class Request(NamedTuple):
    who: str  # x, y
    not_after: int
    token: int


class S(NamedTuple):
    t: int = 0
    x: Row = Row("ready")
    y: Row = Row()
    elsewhere: bool = False  # y is for another Redis, and the import is told --to-here
    move: bool = False
    export: str = ""  # "", read, written
    exports: int = 0
    imports: int = 0
    line: Line | None = None  # in the exporter's memory
    file: Line | None = None
    pushed: int = 0
    marked: int = -1  # since when
    there: int = 0  # pushed to the other Redis
    frees: tuple[int, ...] = ()
    net: tuple[Request, ...] = ()


def steps(s: S, on: On) -> Steps:
    if s.t < END:
        yield "a tick", s._replace(t=s.t + 1)
    if s == S():
        yield "y is for another Redis", s._replace(elsewhere=True)
    yield from _export(s, on)
    if s.file is not None:
        for name in ("y",) if s.elsewhere else ("x", "y"):  # who imports it for two Redises has it in both
            yield from _import(s, name, s.file, on)
    for name in ("x", "y"):
        yield from _local(s, name)
        yield from _drainer(s, name)
    for i, request in enumerate(s.net):
        rest = s._replace(net=s.net[:i] + s.net[i + 1 :])
        late = s.t > request.not_after
        there = rest if late else _push(rest, request.who)
        yield f"the put of {request.who}'s drainer is dropped", rest
        yield f"the put of {request.who}'s drainer arrives, its answer is lost", there
        row: Row = getattr(s, request.who)
        if row.state == "sent" and row.token == request.token and not late:
            done = there._replace(**{request.who: row._replace(state="")})
            if not row.given and not (s.elsewhere and request.who == "y"):
                done = done._replace(frees=tuple(sorted({*s.frees, row.known})))
            yield f"the put of {request.who}'s drainer is answered", done
    for known in s.frees:
        if s.t > known:
            yield "the marker is freed", s._replace(marked=-1, frees=tuple(other for other in s.frees if other != known))
    if s.marked >= 0 and s.t - s.marked > HORIZON:
        yield "the marker ends", s._replace(marked=-1)


def _export(s: S, on: On) -> Steps:
    if s.export:
        yield "the exporter dies", s._replace(export="", line=None)
    if not s.export and (s.x.state == "ready" or (s.x.state in ("local", "sent") and not on("not_in_hand"))):
        for move in (False, True):
            row = _exported(s.x, on) if on("marked_as_read") else s.x
            read = s._replace(
                export="read", exports=s.exports + 1, move=move, line=Line(s.x.doubt, s.x.created, s.x.token), x=row
            )
            yield f"x is exported: {'moved' if move else 'a copy'}, read", read
    if s.export == "read" and s.line is not None:
        written = s._replace(export="written", file=s.line, line=None)
        if not on("marked_as_read") and s.x.state:
            written = written._replace(x=_exported(s.x, on))
        yield "the line is written", written
        if s.move and not on("written_first") and s.x.state == "ready":
            yield "the row is removed, before its line is written", s._replace(x=s.x._replace(state=""))
    if s.export == "written" and s.file is not None:
        if s.move and s.x.state == "ready" and (s.x.token == s.file.token or not on("untouched")):
            gone = s._replace(export="", x=s.x._replace(state=""))
            yield "the row is removed", gone
            yield "the row is removed, and that is written", gone._replace(file=s.file._replace(removed=True))
        else:
            yield "the row stays", s._replace(export="")


def _exported(row: Row, on: On) -> Row:
    return row._replace(given=row.given or on("as_given"), doubt=row.doubt or on("in_doubt"))


def _import(s: S, name: str, file: Line, on: On) -> Steps:
    row: Row = getattr(s, name)
    if row.state or row.ran:
        return  # known here
    aside = name == "y" and s.elsewhere and (file.doubt or not file.removed) and on("removed_alone")
    created = file.created if on("keeps_age") else s.t
    new = Row("aside" if aside else "ready", on("in_doubt"), on("as_given"), created, row.token, row.known)
    yield f"the file is imported into {name}", s._replace(imports=s.imports + 1, **{name: new})


def _local(s: S, name: str) -> Steps:
    row: Row = getattr(s, name)
    if row.state == "ready" and not row.doubt:
        yield f"{name}'s worker claims", s._replace(**{name: row._replace(state="local", token=row.token + 1)})
    if row.state == "local":
        yield f"{name}'s worker is done", s._replace(**{name: row._replace(state="", ran=True)})
        yield f"{name}'s worker dies", s._replace(**{name: row._replace(state="ready")})


def _drainer(s: S, name: str) -> Steps:
    row: Row = getattr(s, name)
    if row.state == "ready" and row.doubt and s.t - row.created > HORIZON - MARGIN:
        yield f"{name}'s drainer sets it aside", s._replace(**{name: row._replace(state="aside")})
    elif row.state == "ready":
        limit, token = s.t + LIFE, row.token + 1
        sent = row._replace(state="sent", doubt=True, token=token, known=max(row.known, limit))
        yield f"{name}'s drainer sends", s._replace(**{name: sent}, net=(*s.net, Request(name, limit, token)))
    if row.state == "sent":
        yield f"{name}'s drainer times out, or dies and is taken over", s._replace(**{name: row._replace(state="ready")})


def _push(s: S, who: str) -> S:
    if who == "y" and s.elsewhere:
        return s._replace(there=1)
    return s if s.marked >= 0 else s._replace(pushed=s.pushed + 1, marked=s.t)


def broken(s: S, on: On) -> str | None:
    ran = s.x.ran + s.y.ran
    if s.pushed > 1:
        return "queued twice"
    if ran and (s.pushed or s.there):
        return "queued, and run from a spool"
    if ran > 1:
        return "run on both hosts"
    if not (s.x.state or s.y.state or s.file or s.pushed or s.there or ran):
        return "gone"
    if s.pushed and s.there:
        return "set loose in another Redis, though its own has it"
    return None


def _bounded(s: S) -> bool:
    few = s.exports <= EXPORTS and s.imports <= IMPORTS
    return few and max(s.x.token, s.y.token) <= CLAIMS and len(s.net) <= REQUESTS


STORY = Story("transfer", S(), RULES, steps, broken, _bounded)
