"""Write-ahead: rows that stay in the spool although the primary has them, until it is sure not to lose them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from spoolq.errors import LeaseLost
from spoolq.job import Handoff, Message
from spoolq.store.base import Kept, Life, Spool, Watch
from spoolq.store.effects import Effects
from tests.contract.hands import SHORT, Hand, ids, message, messages, worker
from tests.contract.test_spool import DRAINER, names, take
from tests.waiting import eventually


@pytest.fixture
def local(spool: Spool) -> Hand:
    """A worker of this host, that runs the spool's own jobs."""
    return Hand(spool, "local")


NOW = Life("run", "line", 7)


def kept_here(spool: Spool) -> list[str]:
    return [row.id for watch in spool.watches() for row in spool.kept(watch, 100)]


def ahead(*ids: str, keep: float = 60.0) -> list[Message]:
    return [message(id)._replace(keep=keep) for id in ids]


def test_a_kept_row_is_nobodys_work_and_does_not_wait(spool: Spool, local: Hand) -> None:
    spool.spool(ahead("a", "b"))
    handoffs = take(spool)
    assert [handoff.message.keep for handoff in handoffs] == [60.0, 60.0]
    spool.keep(handoffs, NOW)
    assert (spool.waiting(), spool.info().rows, spool.info().kept, spool.info().in_doubt) == (0, 0, 2, 0)
    assert spool.info().oldest is None
    assert spool.depths() == []
    assert take(spool) == []
    assert local.claim() == ()
    assert spool.rescue(local.info, 10) == []
    assert spool.purge("q") == 0
    assert kept_here(spool) == ["a", "b"]


def test_an_id_that_is_kept_is_there(spool: Spool) -> None:
    spool.spool(ahead("a"))
    spool.keep(take(spool), NOW)
    assert spool.recall(["a"]) == ["waiting"]
    assert spool.spool(messages("a")) == [False]


def test_a_watch_knows_its_life_and_is_due_in_time(spool: Spool) -> None:
    spool.spool(ahead("a"))
    spool.keep(take(spool), NOW)
    [watch] = spool.watches()
    assert (watch.life, watch.due) == (NOW, False)
    later = Life("run", "line", 8)
    spool.spool(ahead("b", keep=0.2))
    spool.keep(take(spool), later)
    eventually(lambda: {watch.life: watch.due for watch in spool.watches()} == {NOW: False, later: True})


def test_rows_that_were_handed_over_in_two_moments_are_watched_apart(spool: Spool) -> None:
    spool.spool(ahead("a", "b"))
    a, b = take(spool)
    spool.keep([a], NOW)
    spool.keep([b], Life("run", "line", 8))
    assert {watch.life.progress: [row.id for row in spool.kept(watch, 9)] for watch in spool.watches()} == {7: ["a"], 8: ["b"]}


def test_what_is_let_go_is_gone_and_so_is_an_empty_watch(spool: Spool) -> None:
    spool.spool(ahead("a", "b"))
    handoffs = take(spool)
    spool.keep(handoffs, NOW)
    [watch] = spool.watches()
    a, b = spool.kept(watch, 10)
    assert (a.id, a.given) == ("a", False)
    assert a.not_after == pytest.approx(handoffs[0].not_after, abs=0.002)
    assert spool.let_go(watch, [a]) == [a]
    assert spool.let_go(watch, [a, b]) == [b]  # somebody else was faster with one
    assert spool.kept(watch, 10) == []
    assert spool.watches() == []
    assert spool.recall(["a"]) == [None]  # the primary remembers it, not the spool


def test_what_is_sent_again_waits_where_it_was_and_stays_in_doubt(spool: Spool, local: Hand) -> None:
    spool.spool(ahead("a"))
    spool.spool(ahead("b"))
    spool.keep(take(spool), NOW)
    spool.spool(messages("c"))
    [watch] = spool.watches()
    rows = spool.kept(watch, 10)
    spool.send_again(watch, rows)
    assert (spool.waiting(), spool.info().kept, spool.info().in_doubt) == (3, 0, 2)
    assert spool.let_go(watch, rows) == []  # one who looked before: they are no longer kept
    assert ids(local.claim()) == ["c"]
    again = take(spool)
    assert names(again) == ["a", "b"]
    spool.give_back(again, applied="no")
    assert local.claim() == ()


def test_a_row_that_is_kept_again_is_not_let_go_by_who_looked_before(spool: Spool) -> None:
    spool.spool(ahead("a"))
    spool.keep(take(spool), NOW)
    [before] = spool.watches()
    rows = spool.kept(before, 10)
    spool.send_again(before, rows)
    spool.keep(take(spool), Life("another run", "line", 1))
    assert spool.let_go(before, rows) == []
    spool.send_again(before, rows)
    assert (kept_here(spool), spool.waiting()) == (["a"], 0)


def test_what_another_took_over_is_not_kept(spool: Spool) -> None:
    spool.spool(ahead("a"))
    mine = take(spool, who=worker("dead", kind="drainer", lease=SHORT))
    eventually(lambda: take(spool), what="the lease to run out")
    with pytest.raises(LeaseLost):
        spool.keep(mine, NOW)
    assert (spool.waiting(), spool.watches()) == (1, [])


def test_a_kept_row_and_one_in_quarantine_keep_their_numbers_apart(spool: Spool) -> None:
    """Both turn their number round; those that come later must not meet them."""
    for round in range(3):
        spool.spool(ahead(f"a{round}", f"b{round}"))
        first, second = take(spool)
        spool.quarantine(first, "bad")
        spool.keep([second], NOW)
    spool.spool(ahead("c"))
    assert (spool.info().quarantined, spool.info().kept, names(take(spool))) == (3, 3, ["c"])
    for watch in spool.watches():
        spool.send_again(watch, spool.kept(watch, 10))
    assert names(take(spool)) == ["b0", "b1", "b2"]


def test_kept_rows_outlive_the_process(spool: Spool) -> None:
    from spoolq.store.sqlite import SQLiteStore

    spool.spool(ahead("a"))
    spool.keep(take(spool), NOW)
    path = Path(spool.info().path)
    spool.close()
    again = SQLiteStore(path, role="spool", timeout=20.0)
    try:
        assert kept_here(again) == ["a"]
        assert again.watches()[0].life == NOW
    finally:
        again.close()


class KeepingMachine(RuleBasedStateMachine):
    """Random steps of drainers and watchers, some of them late, on a spool and on a few dictionaries; reopened in between."""

    folder: Path
    numbers = 0

    def __init__(self) -> None:
        super().__init__()
        KeepingMachine.numbers += 1
        self.path = self.folder / f"spool-{KeepingMachine.numbers}.db"
        self.spool = self.opened()
        self.waiting: dict[str, bool] = {}  # id to doubt
        self.taken: dict[str, tuple[Handoff, bool]] = {}
        self.kept: dict[str, int] = {}  # id to the number of its watch
        self.gone: set[str] = set()
        self.looks: list[tuple[Watch, list[Kept]]] = []
        self.next = 0

    def opened(self) -> Spool:
        from spoolq.store.sqlite import SQLiteStore

        return SQLiteStore(self.path, role="spool", min_free=0, timeout=20.0, clock=lambda: 1_700_000_000.0)

    def teardown(self) -> None:
        self.spool.close()

    @rule()
    def open_again(self) -> None:
        self.spool.close()
        self.spool = self.opened()

    @rule(count=st.integers(1, 4), keep=st.sampled_from([0.0, 5.0]), doubt=st.booleans())
    def accept(self, count: int, keep: float, doubt: bool) -> None:
        batch = [message(f"j{self.next + n}")._replace(keep=keep) for n in range(count)]
        self.next += count
        assert self.spool.spool(batch, not_after=1.0 if doubt else None) == [True] * count
        self.waiting.update({one.id: doubt for one in batch})

    @rule(limit=st.integers(1, 5))
    def take(self, limit: int) -> None:
        oldest = sorted(self.waiting, key=lambda id: int(id[1:]))[:limit]
        handoffs = self.spool.take(DRAINER, limit, 1 << 20, 1_700_000_005.0)
        assert names(handoffs) == oldest
        for one in handoffs:
            doubt = self.waiting.pop(one.message.id)
            assert one.in_doubt == doubt
            self.taken[one.message.id] = (one, doubt)

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), end=st.sampled_from(["keep", "handed over", "no", "maybe", "set aside"]), progress=st.integers(1, 3))
    def end(self, data: st.DataObject, end: str, progress: int) -> None:
        some = data.draw(st.lists(st.sampled_from(sorted(self.taken)), min_size=1, unique=True))
        ended = [self.taken.pop(id) for id in some]
        handoffs = [handoff for handoff, _ in ended]
        if end == "keep":
            self.spool.keep(handoffs, Life("run", "line", progress))
            numbers = {row.id: watch.number for watch in self.spool.watches() for row in self.spool.kept(watch, 1000)}
            self.kept.update({id: numbers[id] for id in some})
        elif end == "handed over":
            self.spool.handed_over(handoffs)
            self.gone.update(some)
        elif end == "set aside":
            for handoff in handoffs:
                self.spool.quarantine(handoff, "bad")
            self.gone.update(some)
        else:
            self.spool.give_back(handoffs, applied="no" if end == "no" else "maybe")
            self.waiting.update({id: doubt or end == "maybe" for id, (_, doubt) in zip(some, ended, strict=True)})
        with pytest.raises(LeaseLost):
            self.spool.keep(handoffs, Life())

    @rule()
    def look(self) -> None:
        """A watcher looks; what it does about it may come much later."""
        for watch in self.spool.watches():
            rows = self.spool.kept(watch, 1000)
            assert {row.id for row in rows} == {id for id, number in self.kept.items() if number == watch.number}
            self.looks.append((watch, rows))

    @precondition(lambda self: self.looks)
    @rule(data=st.data(), lost=st.booleans())
    def act_on_a_look(self, data: st.DataObject, lost: bool) -> None:
        watch, rows = data.draw(st.sampled_from(self.looks))
        (self.spool.send_again if lost else self.spool.let_go)(watch, rows)
        for row in rows:
            if self.kept.get(row.id) == watch.number:
                del self.kept[row.id]
                if lost:
                    self.waiting[row.id] = True
                else:
                    self.gone.add(row.id)

    @invariant()
    def each_row_is_where_it_should_be(self) -> None:
        info = self.spool.info()
        doubtful = len(self.taken) + sum(self.waiting.values())
        assert (info.rows, info.kept, info.claimed) == (len(self.waiting) + len(self.taken), len(self.kept), len(self.taken))
        assert info.in_doubt == doubtful


def test_random_steps_of_drainers_and_watchers(tmp_path: Path) -> None:
    class Machine(KeepingMachine):
        folder = tmp_path

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
        ),
    )


def test_what_goes_along_with_keeping_happens_in_the_same_step(spool: Spool) -> None:
    spool.spool([message("a")._replace(keep=60.0)], Effects(acquire=(("unique:t:1", "a", 60.0),)))
    handoffs = take(spool)
    spool.keep(handoffs, NOW, Effects(release=(("unique:t:1", "a"),)))
    assert spool.guards() == []
    with pytest.raises(LeaseLost):
        spool.keep(handoffs, NOW, Effects(acquire=(("unique:t:1", "b", 60.0),)))
    assert spool.guards() == []


def test_what_goes_along_with_handing_over_happens_in_the_same_step(spool: Spool) -> None:
    spool.spool([message("a")], Effects(acquire=(("unique:t:1", "a", 60.0),)))
    handoffs = take(spool)
    spool.handed_over(handoffs, Effects(release=(("unique:t:1", "a"),)))
    assert (spool.guards(), spool.waiting()) == ([], 0)
    with pytest.raises(LeaseLost):
        spool.handed_over(handoffs, Effects(acquire=(("unique:t:1", "b", 60.0),)))
    assert spool.guards() == []
