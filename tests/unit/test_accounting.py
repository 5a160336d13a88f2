"""The arithmetic of the accounts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolq.accounting import Account, Known, accounts, document, looked, loss
from spoolq.store.tally import IN, OUT, PLACES, WORDS, Ledger, Tally

NUMBERS = st.integers(0, 50)


def ledger(birth: str = "b", others: int = 0, **queues: Tally) -> Ledger:
    return Ledger(queues, birth, 0.0, others)


def one(queue: str = "q", *, there: int = 0, **counts: int) -> Tally:
    return Tally(queue, counts, there)


def test_nothing_balances() -> None:
    assert accounts(None) == ((Account("*")), ())


tallies = st.builds(
    lambda counts, places: Tally("q", counts, *places),
    st.dictionaries(st.sampled_from(WORDS), NUMBERS),
    st.tuples(*[NUMBERS] * len(PLACES)),
)


@given(tallies, tallies, st.integers(0, 300), NUMBERS, NUMBERS)
def test_whatever_the_numbers_are_the_sum_holds(primary: Tally, spool: Tally, others: int, there: int, came: int) -> None:
    known, both = Known("a", 0, came, there), (ledger(others=others, q=primary, r=primary), ledger(q=spool))
    found = accounts(*both, known)
    for account in (found.total, *found.queues):
        assert account.balances
        assert min(account.taken, account.missing, account.unexplained) >= 0
    assert found.total.missing == sum(account.missing for account in found.queues) + loss(known, *both)


@pytest.mark.parametrize("word", WORDS)
def test_each_word_has_its_side(word: str) -> None:
    tally = one(**{word: 3})
    assert tally.left == (3 if word in IN else -3)
    assert (word in IN) != (word in OUT)


def test_the_way_from_a_spool_to_the_primary_cancels_out() -> None:
    spool = one(put=5, handed_over=2, duplicate=1, there=2)
    primary = one(put=7, drained=2, there=9)
    total = accounts(ledger(q=primary), ledger(q=spool)).total
    assert (dict(total.came), dict(total.went), total.there, total.missing) == ({"put": 11}, {}, 11, 0)


def test_in_doubt_is_one_place() -> None:
    spool = Tally("q", {"put": 3}, ready=1, in_doubt=2)
    total = accounts(ledger(), ledger(q=spool)).total
    assert (total.spooled, total.in_doubt, total.there) == (1, 2, 3)


def test_others_are_believed_as_far_as_something_is_gone_and_from_the_largest_first() -> None:
    found = accounts(ledger(others=5, q=one("q", put=1), r=one("r", put=6), s=one("s", put=2, there=4)))
    assert [(account.taken, account.missing, account.unexplained) for account in found.queues] == [
        (0, 1, 0),
        (5, 1, 0),
        (0, 0, 2),
    ]
    assert (found.total.taken, found.total.missing, found.total.unexplained) == (5, 2, 2)
    assert accounts(ledger(others=50, q=one("q", put=1))).total.taken == 1


def test_a_count_with_another_name_has_lost_what_was_there() -> None:
    known = looked(Known(), ledger("b", q=one(put=5, done=2, there=3)), None, 7.0)
    assert known == Known("b", 0, 5, 3, 7.0, 0, 0)
    for birth in ("c", ""):
        assert loss(known, ledger(birth)) == 3
    known = looked(known, ledger("c", q=one(put=1, there=1)), None, 8.0)
    assert known == Known("c", 0, 1, 1, 8.0, 0, 3)
    assert loss(known, ledger("c", q=one(put=2, there=2))) == 3
    assert loss(known, ledger("d")) == 4


def test_a_count_that_says_less_than_before_has_lost_the_difference_once() -> None:
    known = looked(Known(), ledger("b", q=one(put=5, there=5)), None, 7.0)
    earlier = ledger("b", q=one(put=3, there=3))
    assert loss(known, earlier) == 2
    for _ in range(2):
        known = looked(known, earlier, None, 8.0)
        assert (known.lost, loss(known, earlier)) == (2, 2)


def test_jobs_of_others_that_go_back_are_no_loss() -> None:
    known = looked(Known(), ledger("b", q=one(put=1, found=2, there=3)), None, 7.0)
    assert loss(known, ledger("b", q=one(put=1, there=1))) == 0


def test_what_was_handed_over_before_the_first_look_is_no_loss() -> None:
    spool = ledger(q=one(put=9, handed_over=9))
    assert loss(Known(), ledger("b"), spool) == 0
    known = looked(Known(), ledger("b", q=one(drained=2, there=2)), spool, 1.0)
    assert (known.base, known.lost) == (7, 0)
    more = ledger(q=one(put=11, handed_over=11))
    assert loss(known, ledger("b", q=one(drained=4, there=4)), more) == 0
    assert loss(known, ledger("b", q=one(drained=3, there=3)), more) == 1


def test_a_first_look_in_the_middle_of_a_hand_over_takes_nothing_of_it_for_lost_later() -> None:
    before = ledger(q=Tally("q", {"put": 9}, ready=4, in_doubt=5))
    primary = ledger("b", q=one(drained=5, there=5))  # put, and their rows are still there
    for after in (before, ledger(q=Tally("q", {"put": 9, "handed_over": 3}, ready=2, in_doubt=4))):
        known = looked(Known(), primary, before, 1.0, after=after)
        done = ledger(q=one(put=9, handed_over=9))
        assert loss(known, ledger("b", q=one(drained=9, there=9)), done) == 0


def test_what_is_sent_again_makes_up_for_a_loss() -> None:
    spool = ledger(q=one(put=3, handed_over=3))
    known = looked(Known(), ledger("b", q=one(drained=3, there=3)), spool, 1.0)
    assert loss(known, ledger("c"), spool) == 3
    again = ledger(q=one(put=3, handed_over=3, again=2, there=2))
    assert loss(known, ledger("c"), again) == 1
    known = looked(known, ledger("c"), again, 2.0)
    over = ledger(q=one(put=3, handed_over=5, again=2))
    assert loss(known, ledger("c", q=one(drained=2, there=2)), over) == 1


def test_the_document_has_all_of_it() -> None:
    found = document(accounts(ledger(q=one(put=2, done=1, there=1))))
    assert found["queues"] == [found["total"] | {"queue": "q"}]
    assert (found["total"]["came"], found["total"]["went"], found["total"]["waiting"]) == ({"put": 2}, {"done": 1}, 1)
