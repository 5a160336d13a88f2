"""The order of a worker's queues, on every store: strict where it is strict, and nobody starves where there are weights."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable

import pytest

from spoolq.lineup import Lineup
from spoolq.selection import parse
from spoolq.store.base import Store
from tests.contract.hands import Hand, message

LIMITS = (1, 4, 2, 7, 3)  # threads come free in ones and in many


class Claims:
    """A worker's claims from one store: what is taken is done at once."""

    def __init__(self, store: Store, queues: str) -> None:
        self.store, self.hand = store, Hand(store, queues=parse(queues).words)
        self.time = 0.0
        self.lineup = Lineup(store, parse(queues), lambda: self.time)
        self._numbers = itertools.count()
        self._limits = itertools.cycle(LIMITS)

    def fill(self, **jobs: int) -> None:
        names = (queue for queue, count in jobs.items() for _ in range(count))
        self.store.put([message(f"j{next(self._numbers)}", queue) for queue in names])

    def take(self, limit: int | None = None) -> list[str]:
        """One call: the queues of the jobs that it got."""
        limit = limit or next(self._limits)
        order = self.lineup.order()
        claimed = self.hand.ask(limit, order)
        self.lineup.took(order, claimed, all_of_it=len(claimed.claims) < limit)
        self.store.ack(claimed.claims)
        return [claim.queue for claim in claimed.claims]


def test_strict_order_leaves_the_low_queue_waiting_for_as_long_as_there_is_another(store: Store) -> None:
    claims = Claims(store, "high,low")
    claims.fill(high=20, low=10)
    for _ in range(30):
        taken = claims.take()
        assert set(taken) == {"high"}
        claims.fill(high=len(taken))
    taken = [queue for _ in range(20) for queue in claims.take()]
    assert taken == ["high"] * 20 + ["low"] * 10


@pytest.mark.parametrize("queues", ["default:3,low:1", "critical,default:3,low:1", "default:3,lo*:1", "low:1,default:3,absent:5"])
def test_a_low_queue_beside_one_that_is_refilled_for_ever_does_not_starve(store: Store, queues: str) -> None:
    claims = Claims(store, queues)
    claims.fill(default=40, low=60)
    claims.lineup.renew()
    taken: list[str] = []
    while len(taken) < 200:
        some = claims.take()
        claims.fill(default=some.count("default"))
        taken += some
    most = max(LIMITS)
    assert Counter(taken)["low"] == pytest.approx(50, abs=most)
    others = 1 + ("absent" in queues)
    share = 1 / 4 if others == 1 else 1 / 9  # the weight of what is empty counts in the bound, though not in what comes of it
    for window in (40, 80, 120):
        least = share * (window - others * most) - most
        assert all(taken[at : at + window].count("low") >= least for at in range(len(taken) - window))
    assert taken.index("low") <= 3 * most


def test_what_is_strictly_first_goes_before_the_shares_at_any_time(store: Store) -> None:
    claims = Claims(store, "critical,default:3,low:1")
    claims.fill(default=30, low=30)
    for _ in range(8):
        claims.take()
        claims.fill(critical=3)
        assert claims.take(3) == ["critical"] * 3


def test_a_queue_that_appears_is_taken_from_once_it_was_looked_for(store: Store) -> None:
    claims = Claims(store, "*,!slow")
    claims.fill(b=1, slow=1)
    assert claims.take(5) == []
    assert claims.lineup.due
    assert claims.lineup.renew()
    assert not claims.lineup.due
    claims.fill(a=1)
    assert claims.take(5) == ["b"]
    claims.time += 1.0
    assert claims.lineup.due
    assert claims.lineup.renew()
    assert claims.take(5) == ["a"]


def test_names_alone_are_never_looked_for(open_store: Callable[[], Store], monkeypatch: pytest.MonkeyPatch) -> None:
    lineup = Lineup(open_store(), parse("a,b:2,c:1"), lambda: 0.0)
    assert not lineup.due
    assert not lineup.renew()
    assert lineup.order() == ("a", "b", "c")
