"""A spool's rows as JSON Lines, out of one file and into another: to another disk, another machine, or a person's hands.

No id can be queued twice by it. An exported job's id counts from then on as one given by the caller, here and wherever it is
imported: whoever puts it into the primary first leaves a marker there for the horizon, and whoever comes second is told that it
is there. And it is in doubt: no worker takes it from a spool, only a drainer. So a copy, a file imported on two hosts or an
export that was killed halfway do no harm. A job keeps its age: one in doubt for longer than the horizon, less a day, is set
aside by the drainer, as everywhere.

Another destination has no such marker. So an export also says which rows it has removed, as nobody had sent them by then; what
else comes in for another destination goes to quarantine.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from spoolq import guards
from spoolq.errors import ConfigError
from spoolq.store.looking import SpoolInfo
from spoolq.store.upkeep import KINDS, Document, Upkeep

Sync = Callable[[], None]
FORMAT = 1
_PAGE = 100
_BATCH_BYTES = 1 << 20


@dataclass
class Exported:
    """What an export wrote, by kind, and what `moved` then removed from the spool."""

    wrote: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("job", "quarantine", "failure", "settled"), 0))
    removed: int = 0

    @property
    def stayed(self) -> int:
        """Of a move: how many rows it wrote and did not remove, as somebody had taken them in between."""
        return self.wrote["job"] + self.wrote["quarantine"] + self.wrote["failure"] - self.removed


@dataclass
class Imported:
    """What an import did: rows added, ids that were known, lines passed over since they were read before, lines that could not
    be read (number and why), and whether the file goes on to its end. `doubtful`: jobs that their own destination may have, and
    that were set aside for that."""

    added: int = 0
    known: int = 0
    before: int = 0
    doubtful: int = 0
    bad: list[tuple[int, str]] = field(default_factory=list)
    whole: bool = False


def export(upkeep: Upkeep, info: SpoolInfo, out: IO[bytes], *, id: str, at: float, sync: Sync | None) -> Exported:
    """Write every row that nobody has in hand. With `sync`, which makes what was written safe, the rows are removed after it,
    and the failure log goes along; without it they stay, and so does the log: a failure put back twice would run twice."""
    done = Exported()
    head = {"spoolq": FORMAT, "kind": "spool", "export": id, "destination": info.destination, "path": info.path, "at": at}
    _write(out, {**head, "moved": sync is not None})
    for kind in KINDS:
        if kind == "failure" and sync is None:
            continue
        after: Any = None
        while page := upkeep.page(kind, after, _PAGE):
            after = page[-1][0]
            for _, one in page:
                _write(out, one)
            done.wrote[kind] += len(page)
            if sync is not None and kind != "settled":
                sync()  # written first, removed then
                gone = set(upkeep.remove(kind, [key for key, _ in page], _held(page) if kind == "job" else ()))
                done.removed += len(gone)
                if kind == "job":
                    _write(out, {"kind": "removed", "ids": [one["id"] for key, one in page if key in gone]})
    _write(out, {"kind": "end", **done.wrote})
    if sync is not None:
        sync()
    return done


def _held(page: Iterable[tuple[Any, Document]]) -> list[tuple[str, str]]:
    """What keeps jobs equal to these out of the spool. The one that could not be removed is told apart at the hand-off."""
    return [guard for _, one in page for guard in guards.freed(one["payload"], one["queue"]).release]


def _write(out: IO[bytes], one: Document) -> None:
    shown = dict(one)
    for name in ("payload", "entry"):
        if isinstance(shown.get(name), bytes):
            try:
                shown[name] = shown[name].decode()
            except UnicodeDecodeError:
                shown[f"{name}_base64"] = base64.b64encode(shown.pop(name)).decode()
    out.write(json.dumps(shown, ensure_ascii=False).encode() + b"\n")


def read(lines: Iterable[bytes]) -> tuple[Document, Iterator[tuple[int, Document | str]]]:
    """The head of an export, and its other lines by number: what each says, or why it can't be read. Raises ConfigError when it
    is no export, or a newer one."""
    numbered = iter(enumerate(lines, 1))
    first = next(numbered, None)
    head = _parsed(first[1]) if first is not None else ""
    if not isinstance(head, dict) or head.get("kind") != "spool" or not _fits(head.get("export"), (str,)):
        raise ConfigError("this is no export of a spool: its first line doesn't say so. Nothing was imported")
    if head.get("spoolq") != FORMAT:
        raise ConfigError(f"this export was made by a newer spoolq (format {head.get('spoolq')}). Nothing was imported")
    return head, ((number, _checked(_parsed(line))) for number, line in numbered)


def load(upkeep: Upkeep, lines: Iterable[bytes], *, destination: str, to_here: bool = False, dry_run: bool = False) -> Imported:
    """Take in what `export` wrote. Lines that this spool has taken before are passed over, so it can be called again at any
    time. Raises ConfigError for another destination unless `to_here`; StoreFull, with what went before kept."""
    head, rest = read(lines)
    there = str(head.get("destination") or "").encode(errors="replace").decode()
    elsewhere = there if there != destination else ""
    if elsewhere and not to_here:
        raise ConfigError(
            f"this export holds jobs for {there}, and the spool is for {destination}. Nothing was imported; --to-here sends them "
            "there all the same"
        )
    mark = f"import:{head['export']}"
    done, seen = Imported(), upkeep.marked(mark)
    batch: list[Document] = []
    size = last = 0

    def flush() -> None:
        nonlocal size
        if batch and not dry_run:
            # A line that can't be read may be mended: the mark never passes one, and ids tell what comes again
            added = upkeep.add(batch, mark=None if done.bad else (mark, last), elsewhere=elsewhere)
            done.added, done.known = done.added + added.added, done.known + added.known
        elif batch:
            done.added += len(batch)
        batch.clear()
        size = 0

    for number, one in _for_another(rest) if elsewhere else rest:
        if isinstance(one, str):
            flush()
            done.bad.append((number, one))
        elif one["kind"] == "end":
            done.whole = True
        elif one["kind"] == "removed":
            pass
        elif number <= seen:
            done.before += 1
        else:
            last = number
            batch.append(one)
            done.doubtful += bool(elsewhere and one.get("in_doubt"))
            size += len(one.get("payload", one.get("entry", b"")))
            if len(batch) >= _PAGE or size > _BATCH_BYTES:
                flush()
    flush()
    return done


def _for_another(lines: Iterable[tuple[int, Document | str]]) -> Iterator[tuple[int, Document | str]]:
    """The lines, each job in doubt of which no later line says that the export has removed it: the drainer of the spool where
    it stayed may have sent it."""
    read: list[tuple[int, Document]] = []

    def told(gone: Sequence[str]) -> Iterator[tuple[int, Document]]:
        for number, one in read:
            yield number, one if one["id"] in gone else {**one, "in_doubt": True}
        read.clear()

    for number, one in lines:
        if isinstance(one, dict) and one["kind"] == "job":
            if len(read) == _PAGE:  # it is a copy
                yield from told(())
            read.append((number, one))
        elif isinstance(one, dict) and one["kind"] == "removed":
            yield from told(one["ids"])
        else:
            yield number, one
    yield from told(())


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:  # also a number of more digits than Python reads
        return f"not JSON: {error}"


_FIELDS: dict[str, dict[str, tuple[type, ...]]] = {
    "job": {
        "id": (str,),
        "queue": (str,),
        "payload": (bytes,),
        "crc": (int,),
        "run_at": (int, float),
        "in_doubt": (bool,),
        "not_after": (int, float, type(None)),
        "created_at": (int, float),
        "quarantine": (str, type(None)),
        "keep": (int, float),
        "front": (bool,),
    },
    "settled": {"id": (str,), "given": (bool,), "until": (int, float)},
    "failure": {"id": (str,), "failed_at": (int, float), "entry": (bytes,)},
    "removed": {"ids": (list,)},
    "end": {},
}


_ABSENT = {"keep": 0.0, "front": False}  # older exports don't have it
_TIMES = ("run_at", "not_after", "created_at", "until", "failed_at", "keep")
_LATEST = 1e12
_INTEGERS = range(-(1 << 63), 1 << 63)  # what a column holds


def _fits(value: object, types: tuple[type, ...]) -> bool:
    """Whether it is of one of these types, and can be kept: a truth value is no number, half of a surrogate pair no text."""
    if isinstance(value, bool):
        return bool in types
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        return False
    return isinstance(value, types) and (not isinstance(value, int) or value in _INTEGERS)


def _checked(one: Any) -> Document | str:
    """The line as `Upkeep.add` takes it, or what is wrong with it."""
    if isinstance(one, str) or not isinstance(one, dict):
        return one if isinstance(one, str) else "not an object"
    fields = _FIELDS.get(str(one.get("kind")))
    if fields is None:
        return f"a line of unknown kind {one.get('kind')!r}"
    for name in ("payload", "entry"):
        try:
            if isinstance(one.get(name), str):
                one[name] = one[name].encode()
            elif f"{name}_base64" in one:
                one[name] = base64.b64decode(one.pop(f"{name}_base64"), validate=True)
        except (ValueError, TypeError) as error:
            return f"its {name} can't be read: {error}"
    wrong = [name for name, types in fields.items() if not _fits(one.get(name, _ABSENT.get(name)), types)]
    wrong += [name for name in _TIMES if isinstance(one.get(name), (int, float)) and not 0 <= one[name] < _LATEST]
    return f"{', '.join(dict.fromkeys(wrong))}: missing or of a wrong type" if wrong else one
