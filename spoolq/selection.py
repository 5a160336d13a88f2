"""Which queues a worker takes jobs from, as it is written: `critical,default:3,low:1`, `*`, `bulk_*:2`, `!slow`. Pure.

A queue without a weight comes strictly before all that follows it. Weighted ones next to each other share what the queues before
them leave, by weight. `*` stands for any text in a name, and `!` in front takes out. `turns.py` says whose turn it is.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from spoolq.errors import ConfigError

HEAVIEST = 1000
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """A queue or, with `*` in its name, all that fit it. Without a weight its place is strict."""

    name: str
    weight: int | None = None

    @property
    def open(self) -> bool:
        """Whether it is a pattern."""
        return "*" in self.name


@dataclass(frozen=True, slots=True)
class Selection:
    """The entries in order, and the names and patterns that are taken out. `words` are all of them as they were written, without
    weights: three-part ids of Resque's have no room for a colon."""

    entries: tuple[Entry, ...]
    without: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        """Whether it depends on which queues there are."""
        return any(entry.open for entry in self.entries)

    @property
    def weighted(self) -> bool:
        """Whether any queue has a weight."""
        return any(entry.weight is not None for entry in self.entries)

    @property
    def names(self) -> tuple[str, ...]:
        """The queues named as they are, whether there are such or not."""
        return tuple(entry.name for entry in self.entries if not entry.open)

    @property
    def runs(self) -> tuple[tuple[Entry, ...], ...]:
        """The entries by precedence: each strict one alone, weighted ones next to each other together."""
        runs: list[tuple[Entry, ...]] = []
        for entry in self.entries:
            if runs and entry.weight is not None and runs[-1][-1].weight is not None:
                runs[-1] = (*runs[-1], entry)
            else:
                runs.append((entry,))
        return tuple(runs)

    def expand(self, there: Iterable[str] = ()) -> Mapping[str, tuple[str, ...]]:
        """The queues of each entry, by its name, where these queues are there: in alphabetical order.

        A queue that is named is its own entry's, wherever that stands. Of several patterns that fit, the first has it, and `*`
        only what no other has.
        """
        found: dict[str, list[str]] = {entry.name: [] if entry.open else [entry.name] for entry in self.entries}
        patterns = [entry.name for entry in self.entries if entry.open]
        patterns.sort(key=lambda name: name == "*")
        for queue in sorted(set(there).difference(self.names)) if patterns else ():
            if not any(fits(queue, out) for out in self.without):
                owner = next((name for name in patterns if fits(queue, name)), None)
                if owner is not None:
                    found[owner].append(queue)
        return {name: tuple(queues) for name, queues in found.items()}

    def __str__(self) -> str:
        """As it is written."""
        taken = [entry.name if entry.weight is None else f"{entry.name}:{entry.weight}" for entry in self.entries]
        return ",".join([*taken, *(f"!{name}" for name in self.without)])


def named(queues: Iterable[str]) -> Selection:
    """These, strictly in order and unchecked: what tasks and workers have is what it is."""
    names = tuple(dict.fromkeys(queues))
    return Selection(tuple(Entry(name) for name in names), words=names)


def parse(queues: str | Sequence[str] | Selection) -> Selection:
    """The selection that is written there: a text with commas, or its parts. What is only taken out is taken out of `*`.

    Raises ConfigError that names the part that is wrong, and what to do.
    """
    if isinstance(queues, Selection):
        return queues
    if not isinstance(queues, Iterable):
        raise ConfigError(f"queues={queues!r}: a text is needed, or a list of texts, such as 'critical,default:3,low:1'")
    parts = queues.split(",") if isinstance(queues, str) else list(queues)
    entries: dict[str, Entry] = {}
    without: list[str] = []
    words: list[str] = []
    for part in parts:
        if not isinstance(part, str):
            raise ConfigError(f"queues: {part!r} is not a text; give names, such as 'critical,default:3,low:1'")
        text = part.strip()
        name, colon, weight = text.removeprefix("!").partition(":")
        name = re.sub(r"\*+", "*", name)
        _check(text, name, whole=str(queues))
        if name in entries or name in without:
            if text.startswith("!") == (name in without):
                raise ConfigError(f"queues: {text!r} is there twice; name each queue once")
            raise ConfigError(f"queues: {name!r} is both named and taken out (!{name}); leave one of them out")
        if not text.startswith("!"):
            entries[name] = Entry(name, _weight(text, weight) if colon else None)
        elif colon:
            raise ConfigError(f"queues: {text!r}: what is taken out has no weight; write !{name}")
        else:
            without.append(name)
        words.append(f"!{name}" if text.startswith("!") else name)
    if without and not entries:
        entries["*"] = Entry("*")
        words.insert(0, "*")  # so that an id says what is taken, to readers who don't know ! as well
    selection = Selection(tuple(entries.values()), tuple(without), tuple(words))
    if without and not selection.open:
        raise ConfigError(f"queues: !{without[0]} takes nothing out, as no other part has a *; leave it out, or add *")
    for name in selection.names:
        if out := next((out for out in without if fits(name, out)), None):
            raise ConfigError(f"queues: {name!r} is named, and !{out} takes it out; leave one of them out")
    return selection


def fits(queue: str, pattern: str) -> bool:
    """Whether the queue's name fits: `*` stands for any text, everything else for itself."""
    return _matcher(pattern).match(queue) is not None


@lru_cache(maxsize=256)
def _matcher(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(re.sub(r"[\[?]", r"[\g<0>]", pattern)))


def _check(text: str, name: str, *, whole: str) -> None:
    if not text:
        raise ConfigError(f"queues: {whole!r} has a part without a name; write names with commas between them")
    if text == "!":
        raise ConfigError("queues: '!' alone takes nothing out; write !name or !prefix_*")
    if text.startswith("!") and name == "*":
        raise ConfigError("queues: '!*' takes everything out; write the names that are meant")
    if not name:
        raise ConfigError(f"queues: {text!r} has a weight and no name; write name:{text.partition(':')[2] or 1}")
    if len(name) > _LONGEST or not name.isprintable() or set(name) & set(",!"):
        raise ConfigError(
            f"queues: {text!r}: a queue's name is 1 to {_LONGEST} printable characters, none of them one of : , * ! "
            "(* stands for any text, ! in front takes out, a number after : is a weight)"
        )


def _weight(text: str, weight: str) -> int:
    digits = weight.strip()
    if digits.isascii() and digits.isdigit() and len(digits) <= 4 and 1 <= int(digits) <= HEAVIEST:
        return int(digits)
    raise ConfigError(
        f"queues: {text!r}: what follows the colon is a weight, a whole number from 1 to {HEAVIEST}; no queue has a colon in "
        "its name"
    )
