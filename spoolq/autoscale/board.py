"""What a pool's first process and its housekeeper tell each other, and others of this host: two small files, each written anew.

The first process has no connection and no thread; the housekeeper sees the stores. Each writes its own file only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import Any

from spoolq.autoscale.sample import Sight
from spoolq.autoscale.words import Word, address, parse
from spoolq.errors import ConfigError
from spoolq.runtime import Folder
from spoolq.units import sane

FORGOTTEN = 60.0
"""Seconds after which a pool that wrote nothing is taken for gone: it writes each second."""

_QUIET = 3.0  # seconds after which it is looked whether its process is there
_SEEN = ".seen"
_MOST = 1 << 16


@dataclass(frozen=True, slots=True)
class State:
    """A pool as it is. `at` is of the host's monotonic clock; `changed_at` and `started_at` in epoch seconds.

    wanted, ready, leaving   processes that should be there, that work, and that finish what they run
    least, most              the bounds that hold; `said` is the operator's word (`4`, `2:8`, `auto`), empty for none
    why, cause               of the last decision, be it to hold
    """

    key: str
    host: str
    name: str
    pid: int
    queues: tuple[str, ...]
    threads: int
    policy: str
    at: float
    started_at: float
    changed_at: float
    wanted: int
    ready: int
    leaving: int
    least: int
    most: int
    said: str
    why: str
    cause: str
    state: str = "running"

    @property
    def address(self) -> str:
        """The name by which an operator means it."""
        return address(self.host, self.name)

    def encoded(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self)).encode()


def decoded(text: bytes) -> State | None:
    """What `State.encoded` made; None for what can't be read, such as another version's."""
    try:
        found = json.loads(text)
        known = {field.name: _checked(found[field.name], str(field.type)) for field in fields(State)}
        return State(**known)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _checked(value: Any, kind: str) -> Any:
    if kind == "tuple[str, ...]":
        return tuple(_checked(each, "str") for each in value)
    kinds: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float)}
    if isinstance(value, bool) or not isinstance(value, kinds[kind]) or not sane(value):
        raise TypeError(value)
    return value


class Board:
    """The two files of the pool with that key. `folder` is for such files alone."""

    def __init__(self, folder: Folder, key: str) -> None:
        self._folder, self._key = folder, key

    def show(self, state: State) -> None:
        """By the first process. Raises OSError."""
        _write(self._folder, self._key, state.encoded())

    def shown(self) -> State | None:
        """What it showed last."""
        text = _read(self._folder, self._key)
        return None if text is None else decoded(text)

    def tell(self, sight: Sight, word: Word | None) -> None:
        """By the housekeeper: what it saw, and what was said. Raises OSError."""
        said = None if word is None else [str(word), word.at]
        _write(self._folder, self._key + _SEEN, json.dumps([list(sight), said]).encode())

    def told(self) -> tuple[Sight | None, Word | None]:
        """What it told last."""
        text = _read(self._folder, self._key + _SEEN)
        if text is None:
            return None, None
        try:
            (at, broker, backlog, oldest, wait, spooled), said = json.loads(text)
            seen = backlog and int(backlog), oldest and float(oldest), wait and float(wait), spooled and int(spooled)
            sight = Sight(float(at), broker, *seen)
            return sight, None if said is None else Word(parse(said[0]), float(said[1]))
        except (ValueError, TypeError, AttributeError, ConfigError, OverflowError, RecursionError):
            return None, None

    def remove(self) -> None:
        """The pool has ended."""
        with suppress(OSError), self._folder.opened() as folder:
            for name in (self._key, self._key + _SEEN):
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)


def states(folder: Folder, now: float) -> list[State]:
    """The pools of this user that live, and were heard of within the last minute."""
    try:
        with folder.opened() as opened:
            names = [name for name in os.listdir(opened) if "." not in name]
    except OSError:
        return []
    found = [decoded(text) for name in names if (text := _read(folder, name)) is not None]
    return [state for state in found if state is not None and _lives(state, now - state.at)]


def _lives(state: State, silent: float) -> bool:
    return -1.0 <= silent <= FORGOTTEN and (silent < _QUIET or _there(state.pid))


def _there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def tidy(folder: Folder, now: float) -> None:
    """Remove what pools left that were killed."""
    living = {state.key for state in states(folder, now)}
    with suppress(OSError), folder.opened() as opened:
        for name in os.listdir(opened):
            if name.partition(".")[0] not in living:
                with suppress(OSError):
                    os.unlink(name, dir_fd=opened)


def document(state: State, heard: float | None) -> Mapping[str, Any]:
    """For JSON: with its address, and how many seconds ago it was heard of, None where another host tells of it."""
    shown = {name: value for name, value in asdict(state).items() if name != "at"}
    return {"address": state.address, **shown, "heard": heard}


def _write(folder: Folder, name: str, text: bytes) -> None:
    fresh = f"{name}.new"
    with folder.opened(make=True) as opened:
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=opened)
        try:
            os.write(file, text)
        finally:
            os.close(file)
        os.rename(fresh, name, src_dir_fd=opened, dst_dir_fd=opened)


def _read(folder: Folder, name: str) -> bytes | None:
    try:
        with folder.opened() as opened:
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=opened)
            try:
                return os.read(file, _MOST)
            finally:
                os.close(file)
    except OSError:
        return None
