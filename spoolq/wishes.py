"""An operator's word to one worker process, on whichever host: to take no more jobs, to go on, or to end.

It is kept in the stores, where the worker looks from time to time, and is never a signal: a process id of another host, or of a
process that is gone, means nothing here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Literal, NamedTuple, cast, get_args

from spoolq.errors import StoreUnavailable
from spoolq.store.base import Store
from spoolq.store.effects import Effects

log = logging.getLogger("spoolq.worker")

Word = Literal["quiet", "resume", "stop"]
"""`quiet`: take no more jobs, those that run go on; `stop`: the same, and end."""

LASTS = 86_400.0
"""Seconds for which a word is kept. The next process has another key, and is not meant."""

EVERY = 2.0
"""Seconds between looks of a worker."""

_TIMEOUT = 1.0


class Wish(NamedTuple):
    """What was said to a worker, when (epoch seconds), and whether it has obeyed."""

    word: Word
    at: float
    obeyed: bool


def say(store: Store, key: str, word: Word, at: float | None = None) -> None:
    """Say it to the worker of that key. The last word counts, by the store's clock: those of operators' hosts differ."""
    text = json.dumps({"word": word, "at": store.now() if at is None else at}).encode()
    store.put((), Effects(values=((_said(key), text, LASTS),)), hold=True)


def said(store: Store, keys: Sequence[str]) -> dict[str, Wish]:
    """What was said last to each of these workers, where anything was."""
    names = [name for key in keys for name in (_said(key), _obeyed(key))]
    values = store.values(names)
    found = {}
    for key, text, done in zip(keys, values[::2], values[1::2], strict=True):
        wish = _read(text)
        if wish is not None:
            found[key] = wish._replace(obeyed=done is not None and done == text)
    return found


class Listener:
    """A worker's own ear. `stores`: those in which somebody may have said something, asked while `active` says so; `obey` is told
    each new word once."""

    def __init__(
        self,
        key: str,
        stores: Sequence[Store],
        obey: Callable[[Word], None],
        active: Callable[[Store], bool] = lambda store: True,
    ) -> None:
        self._key, self._stores, self._obey, self._active = key, stores, obey, active
        self._last = 0.0
        self._owed: tuple[Store, bytes] | None = None  # what was obeyed, until the store that said it has been told

    def turn(self) -> float:
        """Returns the seconds to the next look. A store that doesn't answer is passed over: others tell of that."""
        for store in filter(self._active, self._stores):
            with suppress(StoreUnavailable):
                text = store.values([_said(self._key)], timeout=_TIMEOUT)[0]
                wish = _read(text)
                if text is not None and wish is not None and wish.at > self._last:
                    self._last, self._owed = wish.at, (store, text)
                    log.info("an operator said: %s", wish.word)
                    self._obey(wish.word)
                if self._owed is not None and self._owed[0] is store:
                    effects = Effects(values=((_obeyed(self._key), self._owed[1], LASTS),))
                    store.put((), effects, timeout=_TIMEOUT, hold=True)
                    self._owed = None
        return EVERY


def _said(key: str) -> str:
    return f"wish:{key}"


def _obeyed(key: str) -> str:
    return f"obeyed:{key}"


def _read(text: bytes | None) -> Wish | None:
    try:
        found = json.loads(text or b"{}")
        word, at = found["word"], float(found["at"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    return Wish(cast(Word, word), at, False) if word in get_args(Word) else None
