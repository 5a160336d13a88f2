"""Priorities by name: each is a queue, and their order is the order in which a worker takes from those. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from spoolq.errors import ConfigError
from spoolq.tasks import queue_name

EXPECTED = "names of priorities and their queues, the highest first, such as high=critical,default=default,low=low"
_DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Priorities:
    """(name, queue) of each, the highest first. Where `default` stands, stand the queues of tasks without a priority too."""

    pairs: tuple[tuple[str, str], ...] = (("high", "high"), (_DEFAULT, _DEFAULT), ("low", "low"))

    def queue(self, name: object) -> str:
        """The queue of that priority. Raises ConfigError that names those there are."""
        for known, queue in self.pairs:
            if known == name:
                return queue
        raise ConfigError(f"priority={name!r}: the priorities are {', '.join(name for name, _ in self.pairs)}")

    def arrange(self, tasks: Iterable[tuple[str, str | None]]) -> tuple[str, ...]:
        """The queues for a worker of tasks with these (queue, priority), each once, the first first.

        Where nobody has made use of priorities they are those of the tasks, in their order. Else all queues of priorities are
        among them, since a launch may choose its own: a job must not wait where nobody takes it.
        """
        tasks = tuple(tasks)
        queues = dict.fromkeys(queue for queue, _ in tasks)
        if self == Priorities() and all(priority is None for _, priority in tasks):
            return tuple(queues)
        apart = {queue for name, queue in self.pairs if name != _DEFAULT}
        middle = [queue for queue in queues if queue not in apart]
        order: list[str] = []
        for name, queue in self.pairs:
            if name == _DEFAULT:
                order += middle if queue in middle else [queue, *middle]
            else:
                order.append(queue)
        return tuple(dict.fromkeys([*order, *middle]))

    def __str__(self) -> str:
        return ",".join(f"{name}={queue}" for name, queue in self.pairs)


def priorities(value: object) -> Priorities:
    """The priorities in a mapping, or a text of `name=queue` with commas between. Raises ValueError for what is neither, and
    ConfigError for names that can't be."""
    if isinstance(value, Priorities):
        return value
    if isinstance(value, str):
        parts = [part.partition("=") for part in value.split(",")]
        if not all(equals for _, equals, _ in parts):
            raise ValueError(value)
        pairs = tuple((name.strip(), queue.strip()) for name, _, queue in parts)
    elif isinstance(value, Mapping):
        pairs = tuple(value.items())
    else:
        raise ValueError(value)  # noqa: TRY004  (as all readers of settings)
    for name, queue in pairs:
        if not isinstance(name, str) or not name or not name.isprintable() or set(name) & set("=,: "):
            raise ConfigError(f"priorities: {name!r}: a name is printable characters, none of them a space or one of = , :")
        try:
            queue_name(queue)
        except ConfigError as error:
            raise ConfigError(f"priorities: {name}: {error}") from None
    for what, several in (("name", [name for name, _ in pairs]), ("queue", [queue for _, queue in pairs])):
        if twice := next((one for one in several if several.count(one) > 1), None):
            raise ConfigError(f"priorities: the {what} {twice!r} is there twice; each priority has a name and a queue of its own")
    if not pairs:
        raise ConfigError("priorities: there are none; leave the setting out, or name one at least")
    return Priorities(pairs)
