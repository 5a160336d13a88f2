"""Every interleaving of a small model: breadth first over all its states, the invariant looked at in each.

A story has a start, the steps from a state, and what must never be. Its rules are those of the code; `explore(story, without)`
takes one away, and then something must break: a rule without which nothing breaks is no rule.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

On = Callable[[str], bool]
Steps = Iterable[tuple[str, Any]]


@dataclass(frozen=True)
class Story:
    """`steps(state, on)` yields (what happens, next state); `broken(state, on)` says what is wrong, or None. `on(rule)` tells
    whether a rule is kept. `bounded` leaves out states that are too far from the start to be of interest."""

    name: str
    start: Hashable
    rules: dict[str, str]
    steps: Callable[[Any, On], Steps]
    broken: Callable[[Any, On], str | None]
    bounded: Callable[[Any], bool] = lambda state: True


class Explored(NamedTuple):
    """How many states were seen; what broke, and the shortest way there (both empty where nothing did)."""

    states: int
    broken: str = ""
    way: tuple[str, ...] = ()


def explore(story: Story, without: str | None = None, most: int = 4_000_000) -> Explored:
    """All states. Ends at the first that is broken. Raises RuntimeError past `most` states."""

    assert without is None or without in story.rules, without

    def on(rule: str) -> bool:
        return rule != without

    came: dict[Hashable, tuple[Hashable, str] | None] = {story.start: None}
    todo = deque(came)
    while todo:
        state = todo.popleft()
        if why := story.broken(state, on):
            return Explored(len(came), why, _way(came, state))
        for what, after in story.steps(state, on):
            if after not in came and story.bounded(after):
                came[after] = state, what
                todo.append(after)
        if len(came) > most:
            raise RuntimeError(f"{story.name}: more than {most} states")
    return Explored(len(came))


def _way(came: dict[Hashable, tuple[Hashable, str] | None], state: Hashable) -> tuple[str, ...]:
    way = []
    while (step := came[state]) is not None:
        state, what = step
        way.append(what)
    return tuple(reversed(way))
