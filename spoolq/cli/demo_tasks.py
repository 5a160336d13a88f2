"""The application of `spoolq demo`: real work over files. Each run leaves one line in a journal, which the demo counts."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

from spoolq import SpoolQ, current_job

q = SpoolQ.from_env()


@q.task(queue="checksums")
def checksum(path: str) -> str:
    """The SHA-256 of a file, rounds enough to take a while."""
    data = Path(path).read_bytes()
    digest = hashlib.sha256(data).digest()
    until = time.perf_counter() + 0.03
    while time.perf_counter() < until:
        digest = hashlib.pbkdf2_hmac("sha256", data[:64], digest, 2_000)
    _note(path, hashlib.sha256(data).hexdigest())
    return digest.hex()


@q.task(queue="words")
def count_words(path: str) -> int:
    """How many words a file has."""
    words = len(Path(path).read_text().split())
    _note(path, words)
    return words


def _note(path: str, result: object) -> None:
    job = current_job()
    line = {"id": job.id, "fresh": job.fresh, "store": job.store, "pid": os.getpid(), "result": result} if job else {}
    # One write of one line to a file opened for appending: whole, or not there.
    with open(Path(path).parent.parent / "runs.jsonl", "ab", buffering=0) as journal:
        journal.write(json.dumps(line).encode() + b"\n")
