"""Rows as they leave a file and come into another: with all that an id must carry so that it can't be queued twice."""

from __future__ import annotations

from typing import Any

from spoolq.store.sqlite.claims import BAD_CHECKSUM
from spoolq.store.sqlite.rows import NEVER, checksum, later
from spoolq.store.sqlite.session import Session, micros
from spoolq.store.sqlite.statements import statements
from spoolq.store.upkeep import Document

SQL = statements("upkeep")


def document(row: tuple[Any, ...]) -> Document:
    """A row of the table of jobs as it leaves the file."""
    _, id, queue, payload, crc, run_at, doubt, not_after, created_at, reason, watch, front = row
    sound = checksum(id, queue, payload) == crc
    return {
        "kind": "job",
        "id": id,
        "queue": queue,
        "payload": payload,
        "crc": crc,
        "run_at": run_at / 1e6,
        "in_doubt": bool(doubt),
        "not_after": None if not_after == NEVER else not_after / 1e6,
        "created_at": created_at / 1e6,
        "keep": watch / 1e6,
        "front": front != 0,
        "quarantine": reason or (None if sound else BAD_CHECKSUM),
    }


def put_in(session: Session, one: Document, elsewhere: str) -> int:
    """Take one in, unless it is known. Returns how many rows that made. `elsewhere`: see `Upkeep.add`."""
    if one["kind"] == "settled":
        return session.execute(SQL["add_settled"], (one["id"], int(one["given"]), micros(one["until"]))).rowcount
    if one["kind"] == "failure":
        return session.execute(SQL["add_failure"], (one["id"], micros(one["failed_at"]), one["entry"])).rowcount
    reason = one["quarantine"]
    if elsewhere and one["in_doubt"] and reason is None:
        reason = f"it was in doubt for {elsewhere}, which may have it already. Look for it there before you release it"
    if reason is None and checksum(one["id"], one["queue"], one["payload"]) != one["crc"]:
        reason = BAD_CHECKSUM
    values = (
        one["id"],
        one["queue"],
        one["payload"],
        one["crc"],
        micros(one["run_at"]),
        NEVER if one["not_after"] is None else later(one["not_after"]),
        micros(one["created_at"]),
        reason,
        session.now,
        micros(one.get("keep", 0.0)),
        one.get("front", False),
    )
    added = session.execute(SQL["add_job"], values).rowcount
    session.tally("imported", one["queue"], added)
    return added
