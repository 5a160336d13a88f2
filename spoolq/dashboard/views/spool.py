"""The spool of this host: what it holds, how full it is, whether it empties, and what an operator does about it."""

from __future__ import annotations

import os
import shlex
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any, NamedTuple

from spoolq import transfer
from spoolq.dashboard import changing
from spoolq.dashboard.asking import Action, Answer, Ask, Confirm, Done, Download, Refused, View
from spoolq.errors import SpoolqError
from spoolq.facts import Facts, document
from spoolq.hosts import SILENT, HostSpool
from spoolq.job import new_id
from spoolq.probing import probe_now
from spoolq.store.base import DRAIN_PAUSED
from spoolq.store.looking import Depth
from spoolq.units import jobs, say_age

_CHUNK = 1 << 16


class Host(NamedTuple):
    """A host's spool as it told the primary of it, how long ago in seconds, and in a word and a colour whether it empties."""

    state: HostSpool
    silent: float
    empties: str
    kind: str


def show(ask: Ask) -> Answer:
    """The spool."""
    found, side = ask.facts, ask.facts.spool
    info = None if side is None else side.info
    shows = {
        "side": side,
        "info": info,
        "queues": _queues(() if side is None else side.depths),
        "draining": draining(ask),
        "drain_command": f"spoolq drain --spool {shlex.quote(str(ask.q.settings.spool_path))}",
        "probed": ask.desk.drainer.error,
        "hosts": [Host(state, silent, *_empties(state, silent)) for state, silent in found.hosts],
    }
    return Answer("spool.html", "Spool", shows, {"draining": draining(ask), **_document(found)})


def draining(ask: Ask) -> dict[str, Any]:
    """Whether the spool empties: a state, a sentence, and where both are known how fast (rows a second) and how long it will take
    (seconds)."""
    found, side = ask.facts, ask.facts.spool
    info = None if side is None else side.info
    rate = ask.desk.rate()
    if info is None or not info.rows:
        return _says("ok", "Nothing waits to be moved.", None, None)
    if info.drain_paused_at is not None:
        return _says("paused", "Not draining: an operator has paused it.", None, None)
    nobody = side is not None and not side.attended and not ask.desk.drainer.busy
    if found.primary.state != "up" or found.outage is not None:
        why = found.primary.reason or (found.outage.reason if found.outage is not None else "no answer")
        if nobody:
            later = f"No drainer running: breaker open ({why}), and nobody moves these jobs once Redis answers."
            return _says("nobody", later, None, None)
        return _says("away", f"Not draining: breaker open ({why}). It goes on by itself when Redis answers.", None, None)
    if nobody:
        return _says("nobody", "No drainer running: nobody moves these jobs into Redis.", None, None)
    if not rate:
        return _says("drains", "Draining; how fast is not known yet.", None, None)
    return _says("drains", f"Draining, {rate:,.0f} a second: empty in about {say_age(info.rows / rate)}.", rate, info.rows / rate)


def _empties(state: HostSpool, silent: float) -> tuple[str, str]:
    if silent > SILENT:
        return f"silent for {say_age(silent)}", "bad" if state.rows else "off"
    if not state.rows:
        return "empty", "ok"
    if state.paused:
        return "paused", "warn"
    if state.away_since is not None:
        return f"not draining: breaker open ({state.cause})", "warn"
    if not state.rate:
        return f"not draining: {state.error}" if state.error else "draining", "warn" if state.error else "ok"
    return f"{state.rate:,.0f} a second, empty in {say_age(state.rows / state.rate)}", "ok"


def _says(state: str, sentence: str, rate: float | None, left: float | None) -> dict[str, Any]:
    return {"state": state, "sentence": sentence, "rate": rate, "time_to_empty": left}


def _queues(depths: tuple[Depth, ...]) -> list[Depth]:
    return sorted((d for d in depths if d.ready or d.scheduled or d.claimed), key=lambda d: -(d.ready + d.scheduled + d.claimed))


def _document(found: Facts) -> dict[str, Any]:
    whole = document(found)
    return {name: whole[name] for name in ("at", "spool", "breaker", "outage", "hosts", "uploads")}


def _drain(ask: Ask) -> Done:
    changing.spool(ask)
    if ask.desk.drainer.start():
        return Done("Draining has begun here. It ends when the spool is empty or Redis doesn't answer.", "/spool")
    return Done("It is being drained here already.", "/spool", changed=False)


def _pause(ask: Ask) -> Done:
    changed = changing.spool(ask).set_meta(DRAIN_PAUSED, str(int(time.time())), expected=None)
    return Done(f"Draining {'is' if changed else 'was'} paused{'' if changed else ' already'}.", "/spool", changed=changed)


def _resume(ask: Ask) -> Done:
    changing.spool(ask).set_meta(DRAIN_PAUSED, None)
    return Done("Draining goes on.", "/spool")


def _probe(ask: Ask) -> Done:
    if ask.q.settings.sqlite_path is not None:
        raise Refused("This queue is an SQLite file: there is no Redis to ask.")
    found = probe_now(ask.q)
    return Done(found.text, "/spool", {"answers": found.answers})


def _export(ask: Ask) -> Download:
    spool = changing.spool(ask)
    info = spool.info()
    name = f"spool-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.jsonl"

    def write(out: IO[bytes]) -> None:
        transfer.export(spool.upkeep, info, out, id=new_id(), at=time.time(), sync=None)

    return Download(name, "application/x-ndjson", piped(write))


def _sure(ask: Ask) -> Confirm:
    info = changing.spool(ask).info()
    return Confirm(
        f"Download {jobs(info.rows - info.claimed + info.quarantined)} with their arguments? They stay in the spool; from then "
        "on only a drainer takes them, no local worker.",
        "Download them",
    )


def piped(write: Any) -> Iterator[bytes]:
    """What `write` writes into a file, as it comes. Where it fails the file ends early, which an import notices."""
    read_end, write_end = os.pipe()

    def run() -> None:
        with suppress(OSError, SpoolqError), os.fdopen(write_end, "wb") as out:  # OSError: nobody reads any more
            write(out)

    with os.fdopen(read_end, "rb", buffering=0) as parts:
        threading.Thread(target=run, name="spoolq-export", daemon=True).start()
        while part := parts.read(_CHUNK):
            yield part


VIEWS = (View("spool", "/spool", show, "Spool"),)
ACTIONS = (
    Action("spool.drain", "/spool/drain", _drain),
    Action("spool.pause", "/spool/pause", _pause),
    Action("spool.resume", "/spool/resume", _resume),
    Action("spool.probe", "/spool/probe", _probe),
    Action("spool.export", "/spool/export", _export, _sure),
)
