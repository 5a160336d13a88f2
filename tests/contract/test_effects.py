"""Effects ride in the same atomic step as a put or a settling verb: all of it happens, or nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from spoolq.errors import GuardHeld, LeaseLost
from spoolq.job import Claim
from spoolq.store.base import Store
from spoolq.store.effects import Countdown, Effects
from tests.contract.hands import LONG, Hand, claimable, failure, message, messages
from tests.waiting import eventually

Apply = Callable[[Effects], object]

VERBS: dict[str, Callable[[Store, Hand, Claim, Effects], object]] = {
    "put": lambda store, hand, claim, effects: store.put(messages("new"), effects),
    "claim": lambda store, hand, claim, effects: hand.claim(0, ack=[claim], effects=effects),
    "ack": lambda store, hand, claim, effects: store.ack([claim], effects),
    "retry": lambda store, hand, claim, effects: store.retry(claim, message("held", attempt=1).payload, 0.0, effects),
    "fail": lambda store, hand, claim, effects: store.fail(claim, failure(claim), effects),
}
FENCED = [verb for verb in VERBS if verb not in ("put", "claim")]


@pytest.fixture(params=VERBS)
def verb(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def held(store: Store, hand: Hand) -> Claim:
    """A claim for the verb to settle."""
    store.put([message("held", "work")])
    [claim] = hand.claim(1, ["work"])
    return claim


@pytest.fixture
def apply(verb: str, store: Store, hand: Hand, held: Claim) -> Apply:
    """The verb, once, with these effects."""
    return lambda effects: VERBS[verb](store, hand, held, effects)


def nothing_was_applied(store: Store, hand: Hand) -> bool:
    store.promote(10)
    return (
        claimable(store) == []
        and claimable(store, "work") == []
        and store.failures.count() == 0
        and hand.holds() == 1
        and store.reconcile(hand.info, hand.call + 1)[0].queue == "work"
    )


def own(verb: str, store: Store) -> list[str]:
    """What can be claimed from `q`, the verb's own put left out."""
    return [id for id in claimable(store) if not (verb == "put" and id == "new")]


def test_counters_are_added_up(apply: Apply, store: Store) -> None:
    store.put([], Effects(counters=(("done", 40), ("other", 1))))
    apply(Effects(counters=(("done", 2), ("fresh", 5))))
    assert {name: store.counters()[name] for name in ("done", "other", "fresh")} == {"done": 42, "other": 1, "fresh": 5}


def test_values_are_set_and_replaced(apply: Apply, store: Store) -> None:
    store.put([], Effects(values=(("result:a", b"old", LONG),)))
    apply(Effects(values=(("result:a", b"\x00new\xff", LONG), ("result:b", b"", LONG))))
    assert store.value("result:a") == b"\x00new\xff"
    assert store.value("result:b") == b""


def test_a_put_says_nothing_of_what_was_there(store: Store) -> None:
    store.put([message("a", given=True)])
    said = Effects(values=(("queued:a", b"x", LONG), ("queued:b", b"y", LONG), ("other", b"z", LONG)))
    assert store.put([message("a", given=True), message("b", given=True), message("b", given=True)], said) == [False, True, False]
    assert store.values(["queued:a", "queued:b", "other"]) == [None, b"y", b"z"]


def test_a_value_ends_with_its_time(apply: Apply, store: Store) -> None:
    apply(Effects(values=(("short", b"x", 0.1), ("long", b"y", LONG))))
    eventually(lambda: store.value("short") is None)
    assert store.value("long") == b"y"


def test_jobs_are_put(apply: Apply, verb: str, store: Store) -> None:
    apply(Effects(put=(message("next"), message("later", run_at=store.ready(5.0) + 3600.0), message("there", "elsewhere"))))
    assert own(verb, store) == ["next"]
    assert claimable(store, "elsewhere") == ["there"]
    assert sum(depth.scheduled for depth in store.depths() if depth.queue == "q") == 1


def test_a_given_id_is_put_once(apply: Apply, verb: str, store: Store) -> None:
    store.put([message("tick", given=True)])
    apply(Effects(put=(message("tick", given=True), message("next"))))
    assert own(verb, store) == ["tick", "next"]


def test_a_given_id_put_by_an_effect_is_remembered(apply: Apply, store: Store) -> None:
    apply(Effects(put=(message("tick", given=True),)))
    assert store.put([message("tick", given=True)]) == [False]


def test_a_free_guard_is_acquired(apply: Apply, store: Store) -> None:
    apply(Effects(acquire=(("lock", "me", LONG),)))
    with pytest.raises(GuardHeld) as held:
        store.put(messages("b"), Effects(acquire=(("lock", "you", LONG),)))
    assert (held.value.key, held.value.holder) == ("lock", "me")
    assert "b" not in claimable(store)


def test_a_held_guard_refuses_the_whole_call(apply: Apply, store: Store, hand: Hand) -> None:
    store.put([], Effects(acquire=(("lock", "you", LONG),)))
    before = dict(store.counters())
    effects = Effects(
        put=(message("next"),),
        acquire=(("free", "me", LONG), ("lock", "me", LONG)),
        release=(("lock", "you"),),
        values=(("result", b"x", LONG),),
        counters=(("done", 1),),
    )
    with pytest.raises(GuardHeld) as held:
        apply(effects)
    assert (held.value.key, held.value.holder) == ("lock", "you")
    assert nothing_was_applied(store, hand)
    assert store.value("result") is None
    assert dict(store.counters()) == before
    store.put([], Effects(acquire=(("free", "third", LONG),)))


def test_after_a_held_guard_the_call_can_be_made_again(apply: Apply, store: Store) -> None:
    store.put([], Effects(acquire=(("lock", "you", LONG),)))
    with pytest.raises(GuardHeld):
        apply(Effects(acquire=(("lock", "me", LONG),)))
    store.put([], Effects(release=(("lock", "you"),)))
    apply(Effects(acquire=(("lock", "me", LONG),), counters=(("done", 1),)))
    assert store.counters()["done"] == 1


def test_acquiring_what_one_holds_renews_it(apply: Apply, store: Store) -> None:
    store.put([], Effects(acquire=(("lock", "me", 0.15), ("witness", "me", 0.15))))
    apply(Effects(acquire=(("lock", "me", LONG),)))

    def witness_is_free() -> bool:
        try:
            store.put([], Effects(acquire=(("witness", "you", LONG),)))
        except GuardHeld:
            return False
        return True

    eventually(witness_is_free)
    with pytest.raises(GuardHeld):
        store.put([], Effects(acquire=(("lock", "you", LONG),)))


def test_a_guard_is_released_by_its_holder(apply: Apply, store: Store) -> None:
    store.put([], Effects(acquire=(("lock", "me", LONG),)))
    apply(Effects(release=(("lock", "me"), ("never held", "me"))))
    store.put([], Effects(acquire=(("lock", "you", LONG),)))


def test_a_guard_is_not_released_by_another(apply: Apply, store: Store) -> None:
    store.put([], Effects(acquire=(("lock", "you", LONG),)))
    apply(Effects(release=(("lock", "me"),)))
    with pytest.raises(GuardHeld):
        store.put([], Effects(acquire=(("lock", "me", LONG),)))


def test_a_guard_ends_with_its_time(store: Store) -> None:
    store.put([], Effects(acquire=(("lock", "you", 0.1),)))

    def mine() -> bool:
        try:
            store.put(messages("a"), Effects(acquire=(("lock", "me", LONG),)))
        except GuardHeld:
            return False
        return True

    eventually(mine)
    assert claimable(store) == ["a"]


@pytest.mark.parametrize("fenced", FENCED)
def test_a_settling_that_is_lost_has_no_effects(store: Store, hand: Hand, held: Claim, fenced: str) -> None:
    """The step is fenced, so a chain's next job is put once, by whoever holds the claim."""
    store.ack([held])
    effects = Effects(
        put=(message("next"),), acquire=(("lock", "me", LONG),), values=(("v", b"x", LONG),), counters=(("done", 1),)
    )
    with pytest.raises(LeaseLost):
        VERBS[fenced](store, hand, held, effects)
    assert claimable(store) == []
    assert store.value("v") is None
    assert "done" not in store.counters()
    store.put([], Effects(acquire=(("lock", "you", LONG),)))


def test_a_put_of_an_id_that_is_there_still_has_its_effects(store: Store) -> None:
    """Whoever puts it again does not know that it is there: the answer says so, the effects are the call's own."""
    store.put([message("a", given=True)])
    assert store.put([message("a", given=True)], Effects(counters=(("asked", 1),))) == [False]
    assert store.counters()["asked"] == 1


# countdowns


def counted(member: str, size: int = 2, *, key: str = "b1", ttl: float = LONG, then: str = "then") -> Effects:
    return Effects(countdown=(Countdown(key, member, size, message(then, "after", given=True), ttl),))


def test_the_last_member_puts_what_is_to_come_then(apply: Apply, store: Store) -> None:
    store.put([], counted("m1", 3) | counted("m2", 3))
    assert claimable(store, "after") == []
    apply(counted("m3", 3))
    assert claimable(store, "after") == ["then"]


def test_a_member_counts_once(apply: Apply, store: Store) -> None:
    """A job may run twice: its worker was killed when it was done, and before it could say so."""
    store.put([], counted("m1"))
    apply(counted("m1"))
    assert claimable(store, "after") == []
    store.put([], counted("m2"))
    assert claimable(store, "after") == ["then"]


def test_members_of_one_step_are_counted_one_by_one(apply: Apply, store: Store) -> None:
    apply(counted("m1") | counted("m1") | counted("m2") | counted("x", key="b10"))
    assert claimable(store, "after") == ["then"]


def test_a_countdown_of_one_is_over_at_once(apply: Apply, store: Store) -> None:
    apply(counted("m1", 1))
    assert claimable(store, "after") == ["then"]


def test_what_comes_then_is_put_once_also_where_all_are_counted_again(apply: Apply, store: Store) -> None:
    store.put([], counted("m1") | counted("m2"))
    [claim] = Hand(store, "w9", queues=("after",)).claim()
    store.ack([claim])
    store.put([], counted("m1"))
    apply(counted("m2"))
    assert claimable(store, "after") == []


def test_countdowns_of_other_keys_are_apart(apply: Apply, store: Store) -> None:
    store.put([], counted("m1", key="b", then="of b"))
    apply(counted("m2", key="b1", then="of b1"))
    assert claimable(store, "after") == []


def test_what_was_counted_is_forgotten_in_the_end(store: Store) -> None:
    store.put([], counted("m1", ttl=0.05))
    store.put([], Effects(values=(("witness", b"x", 0.05),)))
    eventually(lambda: store.value("witness") is None)
    store.put([], counted("m2"))
    assert claimable(store, "after") == []
    store.put([], counted("m1"))
    assert claimable(store, "after") == ["then"]


@pytest.mark.parametrize("fenced", FENCED)
def test_a_settling_that_is_lost_counts_nobody(store: Store, hand: Hand, held: Claim, fenced: str) -> None:
    store.ack([held])
    with pytest.raises(LeaseLost):
        VERBS[fenced](store, hand, held, counted("m1", 1))
    assert claimable(store, "after") == []
    store.put([], counted("m2"))
    assert claimable(store, "after") == []


def test_a_held_guard_counts_nobody(apply: Apply, store: Store) -> None:
    store.put([], Effects(acquire=(("lock", "you", LONG),)))
    with pytest.raises(GuardHeld):
        apply(counted("m1", 1) | Effects(acquire=(("lock", "me", LONG),)))
    assert claimable(store, "after") == []
    store.put([], counted("m2"))
    assert claimable(store, "after") == []


def test_thousands_are_counted(store: Store) -> None:
    """More than one call in Lua can take."""
    for start in range(0, 5000, 500):
        store.put([], Effects(countdown=tuple(counted(f"m{n}", 5000).countdown[0] for n in range(start, start + 500))))
        assert claimable(store, "after") == (["then"] if start == 4500 else [])
