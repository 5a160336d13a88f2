"""The worker processes of all hosts, what they run, and the pools that size themselves."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from spoolq import wire, wishes
from spoolq.autoscale import board
from spoolq.dashboard import picking
from spoolq.dashboard.asking import Action, Answer, Ask, Confirm, Done, NotThere, View
from spoolq.dashboard.hosts import Process, processes
from spoolq.errors import SpoolqError
from spoolq.failed import UNREADABLE
from spoolq.store.base import Store, WorkerView, Working
from spoolq.units import when
from spoolq.whereabouts import decoded
from spoolq.wishes import Wish, Word

SHOWN = 300
"""Workers of one page."""


@dataclass(frozen=True, slots=True)
class Doing:
    """What a thread works on. `known` leads to the job's page."""

    id: str
    task: str
    queue: str
    since: float
    known: dict[str, str]


@dataclass(frozen=True, slots=True)
class Line:
    """A worker, as the store `where` knows it. `process`: what is known of it where it is one of this host's."""

    where: picking.Where
    view: WorkerView
    wish: Wish | None
    process: Process | None
    doing: tuple[Doing, ...]

    @property
    def state(self) -> tuple[str, str]:
        """A word, and how it is to look."""
        if self.view.lease_left < 0:
            return "gone", "bad"
        if self.wish is None or (self.wish.word == "resume" and self.wish.obeyed):
            return "works" if self.doing else "idle", "ok"
        word = {"quiet": "quiet", "stop": "ends", "resume": "goes on"}[self.wish.word]
        return word if self.wish.obeyed else f"{word}: not heard yet", "warn"

    @property
    def quiet(self) -> bool:
        """Whether it was told to take no more jobs."""
        return self.wish is not None and self.wish.word == "quiet"

    @property
    def named(self) -> str:
        """`host:pid`."""
        return f"{self.view.info.host}:{self.view.info.pid}"


def show(ask: Ask) -> Answer:
    """The workers, those that run the longest job first."""
    found = lines(ask)
    load = os.getloadavg()
    shows = {
        "lines": found[:SHOWN],
        "more": max(0, len(found) - SHOWN),
        "pools": ask.facts.pools,
        "host": socket.gethostname(),
        "load": load,
        "cpus": os.cpu_count() or 1,
        "away": ask.facts.primary.error if ask.facts.primary.state not in ("up", "refusing") else "",
    }
    document = {
        "at": when(ask.facts.at),
        "host": {"name": shows["host"], "load": load, "cpus": shows["cpus"]},
        "workers": [_document(line) for line in found[:SHOWN]],
        "pools": [board.document(state, heard) for state, heard in ask.facts.pools],
    }
    return Answer("workers.html", "Workers", shows, document)


def lines(ask: Ask) -> list[Line]:
    """Every worker, in the primary and in this host's spool."""
    here = processes(ask.q)
    sides: list[tuple[picking.Where, Any]] = [("primary", ask.facts.primary), ("spool", ask.facts.spool)]
    found: list[Line] = []
    for where, side in sides:
        views = side.workers if side is not None else ()
        said = _said(ask, where, views)
        found += [
            Line(where, view, said.get(view.info.key), here.get(view.info.key), tuple(_doing(one, where) for one in view.working))
            for view in views
        ]
    return sorted(found, key=lambda line: (min((one.since for one in line.doing), default=float("inf")), line.named))


def _said(ask: Ask, where: picking.Where, views: tuple[WorkerView, ...]) -> dict[str, Wish]:
    try:
        return wishes.said(picking.store(ask, where), [view.info.key for view in views]) if views else {}
    except SpoolqError:
        return {}


def _doing(working: Working, where: picking.Where) -> Doing:
    payload, queue = working.claim.payload, working.claim.queue
    job = decoded(payload, queue)
    id = job.id if job is not None and wire.has_id(payload) else ""
    return Doing(id, job.task if job else UNREADABLE, queue, working.since, {"id": id, "in": where})


def _document(line: Line) -> dict[str, Any]:
    info, now = line.view.info, time.time()
    return {
        "key": info.key,
        "in": line.where,
        "host": info.host,
        "pid": info.pid,
        "kind": info.role,
        "queues": list(info.queues),
        "threads": info.threads,
        "state": line.state[0],
        "said": line.wish and line.wish.word,
        "lease_left": line.view.lease_left,
        "claims": line.view.claims,
        "started_at": when(info.started_at or None),
        "memory": line.process and line.process.memory,
        "late": line.process and line.process.late,
        "ran": line.process and line.process.ran,
        "working": [
            {"id": one.id or None, "task": one.task, "queue": one.queue, "since": when(one.since), "age": now - one.since}
            for one in line.doing
        ],
    }


# quiet, resume, stop


def _meant(ask: Ask) -> tuple[Store, Line]:
    key = ask.form.get("key", "")
    for line in lines(ask):
        if line.view.info.key == key and line.where == picking.where(ask) and line.view.info.role == "worker":
            return picking.store(ask, line.where), line
    raise NotThere("That worker is not there any more. Nothing was changed.")


def _say(ask: Ask, word: Word) -> Done:
    store, line = _meant(ask)
    wishes.say(store, line.view.info.key, word)
    told = {"quiet": "take no more jobs", "resume": "go on", "stop": "finish what it runs and end"}[word]
    text = f"{line.named} is told to {told}. It looks every {wishes.EVERY:g} s."
    return Done(text, "/workers", {"worker": line.named, "key": line.view.info.key})


def _sure(ask: Ask) -> Confirm:
    _, line = _meant(ask)
    return Confirm(
        f"Have worker {line.named} finish what it runs, within its grace, and end? A pool, or systemd, may start another.",
        "Stop it",
    )


VIEWS = (View("workers", "/workers", show, "Workers"),)
ACTIONS = (
    Action("worker.quiet", "/workers/quiet", partial(_say, word="quiet")),
    Action("worker.resume", "/workers/resume", partial(_say, word="resume")),
    Action("worker.stop", "/workers/stop", partial(_say, word="stop"), _sure),
)
