"""`turns`: strict order, and shares by weight in which nobody starves."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable

from hypothesis import given
from hypothesis import strategies as st

from spoolq.selection import parse
from spoolq.turns import Shares, Turns


class Market:
    """Queues of a length each (-1: refilled for ever), from which calls take in the order that `Turns` gives."""

    def __init__(self, text: str, **lengths: int) -> None:
        self.selection = parse(text)
        self.turns = Turns(self.selection)
        self.left = Counter(lengths)

    def call(self, limit: int = 1) -> list[str]:
        order = self.turns.order(self.selection.expand(self.left))
        taken: list[str] = []
        for queue in order:
            while len(taken) < limit and self.left[queue]:
                self.left[queue] -= self.left[queue] > 0
                taken.append(queue)
        self.turns.took(order, Counter(taken), all_of_it=len(taken) < limit)
        return taken

    def calls(self, limits: Iterable[int]) -> list[str]:
        return [queue for limit in limits for queue in self.call(limit)]


def letters(queues: list[str]) -> str:
    return "".join(queue[0] for queue in queues)


def test_three_to_one_is_three_and_one_of_every_four() -> None:
    market = Market("default:3,low:1", default=-1, low=-1)
    assert letters(market.calls([1] * 12)) == "dldd" * 3


def test_a_strict_queue_comes_before_the_group_and_one_after_it_last() -> None:
    market = Market("critical,default:3,low:1,tail", critical=2, default=4, low=2, tail=1)
    assert letters(market.calls([1] * 10)) == "ccdldddlt"


def test_a_queue_that_is_empty_gives_its_turn_away() -> None:
    market = Market("a:5,b:2,c:1", a=0, b=-1, c=-1)
    assert Counter(market.calls([1] * 9)) == {"b": 6, "c": 3}


def test_what_was_empty_has_saved_up_nothing() -> None:
    market = Market("a:1,b:1", a=0, b=-1)
    market.calls([1] * 50)
    market.left["a"] = -1
    assert abs(Counter(market.calls([1] * 20))["a"] - 10) <= 1


def test_a_group_that_was_drained_begins_anew() -> None:
    market = Market("a:1,b:1", a=40, b=1)
    market.calls([1] * 42)
    market.left.update(a=10, b=10)
    assert Counter(market.calls([1] * 10)) == {"a": 5, "b": 5}


def test_shares_are_of_jobs_also_where_a_call_takes_many() -> None:
    market = Market("default:3,low:1", default=-1, low=-1)
    assert Counter(market.calls([100] * 40)) == {"default": 3000, "low": 1000}


def test_a_pattern_shares_as_one_and_its_queues_take_turns() -> None:
    market = Market("bulk_*:1,mail:1", bulk_1=-1, bulk_2=-1, bulk_3=-1, mail=-1)
    taken = Counter(market.calls([1] * 60))
    assert taken == {"mail": 30, "bulk_1": 10, "bulk_2": 10, "bulk_3": 10}


def test_a_pattern_without_a_weight_is_strict_in_alphabetical_order() -> None:
    market = Market("*", b=2, a=2, c=1)
    assert market.calls([2] * 3) == ["a", "a", "b", "b", "c"]


def test_a_queue_that_appears_takes_its_share_and_one_that_goes_is_forgotten() -> None:
    market = Market("x_*:1", x_1=-1)
    market.calls([1] * 30)
    market.left["x_2"] = -1
    assert Counter(market.calls([1] * 10)) == {"x_1": 5, "x_2": 5}
    del market.left["x_1"]
    assert set(market.calls([1] * 4)) == {"x_2"}


def test_a_group_whose_patterns_fit_nothing_is_passed_over() -> None:
    market = Market("x_*:2,y_*:1,z", z=2)
    assert market.calls([1, 1, 1]) == ["z", "z"]


def test_those_who_are_equal_keep_their_order() -> None:
    assert Shares({"a": 1, "b": 9, "c": 4}).order(["c", "a", "b"]) == ["c", "a", "b"]


weights = st.lists(st.integers(1, 9), min_size=2, max_size=5)


@given(weights, st.lists(st.integers(1, 20), min_size=1, max_size=120), st.data())
def test_nobody_starves_within_the_bound_that_is_stated(weights: list[int], limits: list[int], data: st.DataObject) -> None:
    """One queue always has jobs; the others come and go as they like. In every window of N jobs it has its share, but for what
    one call of each of the others, and of its own, may take."""
    names = [f"q{n}" for n in range(len(weights))]
    market = Market(",".join(f"{name}:{weight}" for name, weight in zip(names, weights, strict=True)), q0=-1)
    windows: deque[tuple[int, int]] = deque([(0, 0)])
    jobs = own = 0
    most = max(limits)
    for limit in limits:
        for name in names[1:]:
            market.left[name] = data.draw(st.sampled_from([0, 1, 5, -1]))
        taken = Counter(market.call(limit))
        jobs, own = jobs + taken.total(), own + taken["q0"]
        share = weights[0] / sum(weights)
        for jobs_then, own_then in windows:
            least = share * (jobs - jobs_then - (len(weights) - 1) * most) - most
            assert own - own_then >= least
        windows.append((jobs, own))


def pattern(text: str) -> Callable[[int], str]:
    market = Market(text, a=-1, b=-1, c=-1)
    return lambda calls: letters(market.calls([1] * calls))


def test_the_order_is_the_same_each_time() -> None:
    assert pattern("a:3,b:2,c:1")(12) == pattern("a:3,b:2,c:1")(12) == "abcabaabcaba"[:12]
