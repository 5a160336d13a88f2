"""An operator's verbs on a file: check, compact, quarantine, rows out and in, what is saved of a damaged file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from spoolq.errors import ConfigError, SpoolDamaged, StoreFull
from spoolq.job import Failure, Handoff
from spoolq.store.base import Life
from spoolq.store.effects import Effects
from spoolq.store.sqlite import SQLiteStore, aside
from spoolq.store.upkeep import Added, Document
from tests.unit.sqlite.helpers import claim, message, worker
from tests.unit.sqlite.test_sqlite_aside import behead, empty, spoil
from tests.unit.sqlite.test_sqlite_damage import flip

Open = Callable[..., SQLiteStore]
DRAINER = worker("d", kind="drainer")
DAY = 86_400.0


def take(spool: SQLiteStore, limit: int = 1000) -> list[Handoff]:
    return spool.take(DRAINER, limit, 1 << 30, spool.now() + 5)


def exported(spool: SQLiteStore) -> list[Document]:
    return [one for _, one in spool.upkeep.page("job")]


# check


def test_a_sound_file_has_nothing_to_find(spool: SQLiteStore) -> None:
    spool.spool([message(str(n)) for n in range(200)])
    seen: list[int] = []
    assert spool.upkeep.check(report=seen.append) == []
    assert seen == [50, 100, 150, 200]


def test_a_changed_row_is_found_and_left_where_it_is(path: Path, spool: SQLiteStore) -> None:
    spool.spool([message("1"), message("2")])
    flip(path, "1")
    [found] = spool.upkeep.check()
    assert (found.level, found.name) == ("problem", "checksum")
    assert "1 of 2 rows were changed by the disk: 1" in found.what
    assert spool.info().quarantined == 0


@pytest.mark.parametrize("harm", [behead, empty])
def test_a_file_too_broken_to_be_opened_is_found(
    path: Path, spool: SQLiteStore, open_store: Open, harm: Callable[[Path], bytes]
) -> None:
    spool.spool([message("1")])
    spool.close()
    harm(path)
    [found] = open_store(role="spool").upkeep.check()
    assert (found.level, found.name, "can't be opened" in found.what) == ("problem", "structure", True)


def test_damage_is_found(path: Path, spool: SQLiteStore, open_store: Open) -> None:
    spool.spool([message(str(n), payload=b"x" * 500) for n in range(500)])
    spool.close()
    spoil(path)
    found = open_store(role="spool").upkeep.check()
    assert {one.level for one in found} == {"problem"}
    assert all("`spoolq spool recover`" in one.remedy for one in found)


def test_what_takes_longer_than_a_second_is_told(spool: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    spool.spool([message(str(n), payload=b"x" * 900) for n in range(3000)])
    monkeypatch.setattr("spoolq.store.sqlite.checking.time.monotonic", iter(range(0, 1_000_000, 5)).__next__)
    found = spool.upkeep.check()
    assert "takes longer than " in found[0].what
    assert "--whole" in found[0].remedy
    assert not [one for one in spool.upkeep.check(whole=True) if one.name == "structure"]


def test_what_waits_for_a_person_is_found(path: Path, open_store: Open) -> None:
    spool = open_store(role="spool", max_rows=10)
    spool.spool([message(str(n)) for n in range(9)])
    spool.quarantine(take(spool, 1)[0], "no reason")
    spool.spool([message("more")])
    path.chmod(0o644)
    path.with_name("jobs.db-reserve").unlink()
    path.with_name("jobs.db.damaged-1").touch()
    names = {one.name: one.level for one in spool.upkeep.check()}
    assert names == {"quarantine": "warning", "damaged": "problem", "full": "warning", "reserve": "warning", "mode": "warning"}


# compact


def test_the_room_of_what_is_gone_is_given_back_beside_others(path: Path, spool: SQLiteStore, open_store: Open) -> None:
    other = open_store(role="spool")
    spool.spool([message(str(n), payload=b"x" * 3000) for n in range(1000)])
    spool.handed_over(take(spool, 900))
    assert other.waiting() == 100
    before, after = spool.upkeep.compact()
    assert before > 3_000_000 > 600_000 > after
    assert spool.upkeep.compactable() == (after, after)
    assert other.spool([message("new")]) == [True]
    assert spool.upkeep.check() == []
    spool.close()
    other.close()
    assert path.stat().st_size < 600_000


def test_it_works_at_the_size_limit(open_store: Open) -> None:
    spool = open_store(role="spool", max_bytes=4 << 20)
    n = 0
    with suppress(StoreFull):
        while n < 10_000:
            spool.spool([message(str(n := n + 1), payload=b"x" * 2000)])
    spool.handed_over(take(spool))
    assert spool.upkeep.compact()[1] < 1 << 20


# quarantine


@pytest.fixture
def held(spool: SQLiteStore) -> SQLiteStore:
    """Two jobs in quarantine, one in the queue."""
    spool.spool([message("a"), message("b", run_at=time.time() + 1000), message("c")])
    a, b, c = take(spool)
    spool.quarantine(a, "Redis refuses it")
    spool.quarantine(b, "in doubt for too long")
    spool.give_back([c], applied="no")
    return spool


def test_it_is_listed_with_reasons_in_the_order_of_setting_aside(held: SQLiteStore) -> None:
    pages = held.upkeep.quarantined(limit=1)
    pages += held.upkeep.quarantined(pages[-1][0], 10)
    assert [(one.id, one.reason, one.in_doubt, one.sound) for _, one in pages] == [
        ("a", "Redis refuses it", True, True),
        ("b", "in doubt for too long", True, True),
    ]
    assert held.upkeep.find("a") == pages[0][1]._replace(age=pytest.approx(pages[0][1].age, abs=5))
    assert held.upkeep.find("c") is None


def test_what_is_released_is_taken_by_a_drainer_alone_as_if_new(open_store: Open) -> None:
    now = [time.time()]
    spool = open_store(role="spool", clock=lambda: now[0])
    spool.spool([message("a")], not_after=now[0])
    spool.quarantine(take(spool)[0], "in doubt for 7 days")
    now[0] += 7 * DAY
    assert spool.upkeep.release(["a", "nobody"]) == ["a"]
    assert claim(spool, 1) == ()
    [handoff] = take(spool)
    assert (handoff.in_doubt, handoff.message.given, handoff.age) == (True, True, 0.0)  # not to be set aside again at once
    assert spool.info().quarantined == 0


def test_a_changed_row_is_released_only_when_that_is_asked_for(path: Path, spool: SQLiteStore) -> None:
    spool.spool([message("1")])
    flip(path, "1")
    assert take(spool) == []
    assert not spool.upkeep.quarantined()[0][1].sound
    assert spool.upkeep.release(["1"]) == []
    assert spool.upkeep.release(["1"], damaged=True) == ["1"]
    assert take(spool)[0].message.payload == b"garbled"


def test_what_is_dropped_is_gone_and_nothing_else(held: SQLiteStore) -> None:
    assert held.upkeep.drop(["a", "c", "nobody"]) == 1
    assert (held.info().quarantined, held.waiting()) == (1, 1)


# out and in


def test_an_exported_row_is_in_doubt_and_its_marker_is_for_the_horizon(spool: SQLiteStore) -> None:
    """Two may have it from now on: neither may run it, and whoever puts it second must be told so."""
    spool.spool([message("a")])
    [one] = exported(spool)
    assert not one["in_doubt"]  # as it was: in doubt for nobody
    assert claim(spool, 1) == ()
    [handoff] = take(spool)
    assert (handoff.in_doubt, handoff.message.given) == (True, True)


def test_rows_in_somebodys_hands_are_left_out(spool: SQLiteStore) -> None:
    spool.spool([message("run"), message("sent"), message("waits")])
    claim(spool, 1, 1)
    taken = take(spool, 1)
    assert [one["id"] for one in exported(spool)] == ["waits"]
    spool.give_back(taken, applied="no")
    assert take(spool, 1)[0].message.given is False


def test_a_row_taken_between_writing_and_removing_stays(spool: SQLiteStore) -> None:
    spool.spool([message("a"), message("b")])
    keys = [key for key, _ in spool.upkeep.page("job")]
    taken = take(spool, 1)
    assert spool.upkeep.remove("job", keys) == keys[1:]
    spool.handed_over(taken)
    assert spool.waiting() == 0


@pytest.mark.parametrize("applied", ["no", "maybe"])
def test_so_does_one_that_was_given_back(spool: SQLiteStore, applied: Any) -> None:
    spool.spool([message("a"), message("b")])
    keys = [key for key, _ in spool.upkeep.page("job")]
    spool.give_back(take(spool, 1), applied=applied)
    assert spool.upkeep.remove("job", keys) == keys[1:]
    assert [one["id"] for one in exported(spool)] == ["a"]


def test_what_comes_in_is_as_it_went_out(path: Path, open_store: Open) -> None:
    now = [time.time()]
    spool = open_store(role="spool", clock=lambda: now[0])
    later = round(now[0]) + 5000.5
    spool.spool([message("a", payload=b"\xff\x00"), message("b", "r", run_at=later, given=True)], not_after=123.5)
    now[0] += 100
    other = open_store(path.with_name("other.db"), role="spool", clock=lambda: now[0])
    assert other.upkeep.add(exported(spool)) == Added(2, 0)
    a, b = take(other)
    assert a.message == message("a", payload=b"\xff\x00", given=True)
    assert b.message == message("b", "r", run_at=later, given=True)
    assert [round(one.age) for one in (a, b)] == [100, 100]
    assert all(one.in_doubt and one.not_after >= 123.5 for one in (a, b))


def test_known_ids_are_left_out(path: Path, spool: SQLiteStore, open_store: Open) -> None:
    spool.spool([message("waits"), message("ran"), message("new")])
    documents = exported(spool)
    other = open_store(path.with_name("other.db"), role="spool")
    other.spool([message("waits"), message("ran")])
    other.ack([one for one in claim(other, 1) if True][1:])
    assert other.upkeep.add(documents) == Added(1, 2)
    assert other.waiting() == 2


def test_ids_that_ran_are_carried_along(path: Path, spool: SQLiteStore, open_store: Open) -> None:
    spool.spool([message("ran")])
    spool.ack(claim(spool, 1), Effects())
    other = open_store(path.with_name("other.db"), role="spool")
    other.upkeep.add([one for _, one in spool.upkeep.page("settled")])
    assert other.recall(["ran"]) == ["ran"]


def test_failures_are_carried_once(path: Path, spool: SQLiteStore, open_store: Open) -> None:
    spool.spool([message("bad")])
    [bad] = claim(spool, 1)
    spool.fail(bad, Failure("bad", "q", "w", "E", "why", (), 1.0, bad.payload))
    page = spool.upkeep.page("failure")
    other = open_store(path.with_name("other.db"), role="spool")
    for _ in range(2):
        other.upkeep.add([one for _, one in page])
    assert other.failures.count() == 1
    assert len(spool.upkeep.remove("failure", [key for key, _ in page])) == 1
    assert spool.failures.count() == 0


def test_rows_of_a_quarantine_stay_in_one(held: SQLiteStore, path: Path, open_store: Open) -> None:
    page = held.upkeep.page("quarantine")
    other = open_store(path.with_name("other.db"), role="spool")
    other.upkeep.add([one for _, one in page])
    assert [one.reason for _, one in other.upkeep.quarantined()] == ["Redis refuses it", "in doubt for too long"]
    assert len(held.upkeep.remove("quarantine", [key for key, _ in page])) == 2


def test_what_was_in_doubt_for_another_redis_is_set_aside(path: Path, spool: SQLiteStore, open_store: Open) -> None:
    spool.spool([message("sure")])
    spool.spool([message("doubtful")], not_after=1.0)
    other = open_store(path.with_name("other.db"), role="spool")
    other.upkeep.add(exported(spool), elsewhere="redis://a")
    [(_, aside_row)] = other.upkeep.quarantined()
    assert (aside_row.id, aside_row.reason[:31]) == ("doubtful", "it was in doubt for redis://a, ")
    assert [one.message.id for one in take(other)] == ["sure"]


def test_a_line_that_was_changed_is_set_aside(path: Path, spool: SQLiteStore) -> None:
    spool.spool([message("a")])
    [one] = exported(spool)
    other = SQLiteStore(path.with_name("other.db"), role="spool", timeout=20.0)
    other.upkeep.add([{**one, "payload": b"changed"}])
    assert not other.upkeep.quarantined()[0][1].sound
    other.close()


def test_a_full_spool_takes_nothing_in(path: Path, spool: SQLiteStore, open_store: Open) -> None:
    spool.spool([message("a"), message("b")])
    other = open_store(path.with_name("other.db"), role="spool", max_rows=1)
    with pytest.raises(StoreFull):
        other.upkeep.add(exported(spool), mark=("m", 7))
    assert (other.waiting(), other.upkeep.marked("m")) == (0, 0)
    assert other.upkeep.add(exported(spool)[:1], mark=("m", 1)) == Added(1, 0)
    assert other.upkeep.marked("m") == 1


# recover


@pytest.fixture
def many(path: Path, open_store: Open) -> Path:
    spool = open_store(role="spool")
    spool.spool([message(f"id-{n}", payload=b"x" * 500) for n in range(500)])
    spool.ack(claim(spool, 1, 1))
    spool.quarantine(take(spool, 1)[0], "no reason")
    [bad] = claim(spool, 2, 1)
    spool.fail(bad, Failure("id-2", "q", "w", "E", "why", (), 1.0, bad.payload))
    spool.close()
    return path


def some(path: Path) -> bytes:
    """A few pages in the middle."""
    with path.open("r+b") as file:
        for page in (50, 51, 60):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    return path.read_bytes()


def test_what_can_be_read_of_a_damaged_file_is_saved(many: Path, open_store: Open) -> None:
    content = some(many)
    spool = open_store(role="spool")
    assert spool.upkeep.damaged() == (True, ())
    [done] = spool.upkeep.recover()
    assert done.path.startswith(f"{many}.incomplete-")
    assert Path(done.path).read_bytes() == content
    assert 400 < done.saved < 498
    assert not done.complete
    there = {one.message.id for one in take(spool)}
    assert len(there) + done.quarantined == done.saved
    assert there.isdisjoint(done.lost)
    assert spool.recall(["id-0"]) == ["ran"]
    assert (done.failures, spool.failures.count()) == (1, 1)
    assert (spool.info().quarantined, spool.info().damaged, spool.info().incomplete) == (1, (), (done.path,))
    told = spool.events.page(kinds=["spool_damaged", "spool_recovered"])
    assert [event.kind for event in told] == ["spool_recovered", "spool_damaged"]
    assert told[0].detail["saved"] == done.saved
    assert "not all could be read" in told[0].text
    assert spool.upkeep.recover() == []
    assert [one.name for one in spool.upkeep.check()] == ["quarantine", "damaged"]
    Path(done.path).unlink()
    assert [one.name for one in spool.upkeep.check()] == ["quarantine"]


def test_what_was_set_aside_by_itself_is_saved_too(many: Path, open_store: Open) -> None:
    spoil(many)
    spool = open_store(role="spool")
    spool.spool([message("new")])
    [done] = spool.upkeep.recover()
    assert "new" in {one.message.id for one in take(spool)}
    assert not done.complete


@pytest.mark.parametrize("harm", [behead, empty])
def test_of_a_file_that_says_nothing_nothing_is_saved_and_it_is_kept(
    many: Path, open_store: Open, harm: Callable[[Path], Any]
) -> None:
    content = harm(many)
    [done] = open_store(role="spool").upkeep.recover()
    assert (done.saved, done.complete) == (0, False)
    assert Path(done.path).read_bytes() == content


def test_recovered_rows_are_in_doubt_and_given(many: Path, open_store: Open) -> None:
    """The file may be older than it seems: what was handed over meanwhile must be told apart by its marker."""
    some(many)
    spool = open_store(role="spool")
    spool.upkeep.recover()
    assert claim(spool, 1) == ()
    assert all(one.in_doubt and one.message.given for one in take(spool))


def test_a_changed_row_of_it_goes_to_quarantine(many: Path, open_store: Open) -> None:
    flip(many, "id-5")
    aside.set_aside(str(many), 0.0)
    spool = open_store(role="spool")
    [done] = spool.upkeep.recover()
    assert (done.saved, done.quarantined, done.complete) == (498, 2, True)
    assert done.path.startswith(f"{many}.recovered-")
    assert spool.info().incomplete == ()
    assert {one.id: one.sound for _, one in spool.upkeep.quarantined()} == {"id-1": True, "id-5": False}


@pytest.mark.parametrize("everywhere", [False, True], ids=["in the row", "in its index too"])
@pytest.mark.parametrize(("text", "id"), [(b"id-5", "id\\xad5"), (b"mail", "id-5")], ids=["id", "queue"])
def test_a_flipped_bit_that_leaves_no_text_costs_no_row(
    path: Path, open_store: Open, text: bytes, id: str, everywhere: bool
) -> None:
    """Nobody could read past such a row: not even its own quarantine."""
    spool = open_store(role="spool")
    spool.spool([message("id-4"), message("id-5", "mail"), message("id-6")])
    spool.close()
    content = path.read_bytes()
    flipped = text[:2] + bytes([text[2] | 0x80]) + text[3:]
    row = content.rindex(b"id-5mail")
    place = row + b"id-5mail".index(text)
    changed = content[:place] + flipped + content[place + len(text) :]
    path.write_bytes(changed.replace(text, flipped) if everywhere else changed)
    spool = open_store(role="spool")
    with pytest.raises(SpoolDamaged, match="spoolq spool recover"):
        take(spool)
    assert [one.name for one in spool.upkeep.check()] == ["structure"]
    [done] = spool.upkeep.recover()
    assert (done.saved, done.quarantined, done.lost, done.complete) == (3, 1, (), True)
    assert [one.message.id for one in take(spool)] == ["id-4", "id-6"]
    assert [(one.id, one.sound) for _, one in spool.upkeep.quarantined()] == [(id, False)]
    assert spool.upkeep.drop([id]) == 1


def test_a_sound_file_is_left_alone(many: Path, open_store: Open) -> None:
    assert open_store(role="spool").upkeep.recover() == []
    assert list(many.parent.glob("*.damaged-*")) == []


def test_a_file_that_was_never_a_spool_is_left_alone(path: Path, open_store: Open) -> None:
    path.write_text("notes\n" * 1000)
    with pytest.raises(ConfigError, match=r"nothing says that it has been a spool. It was left as it is"):
        open_store(role="spool").upkeep.recover()
    assert path.read_text().startswith("notes")
    assert os.listdir(path.parent) == ["jobs.db"]


# beside kept rows


def keep(spool: SQLiteStore, *ids: str) -> None:
    spool.spool([message(id)._replace(keep=60.0) for id in ids])
    spool.keep([one for one in take(spool) if one.message.id in ids], Life())


def test_what_is_kept_is_neither_shown_nor_moved_and_numbers_stay_apart(path: Path, spool: SQLiteStore, open_store: Open) -> None:
    keep(spool, "kept1", "kept2")
    spool.spool([message("bad")])
    spool.quarantine(take(spool)[0], "for a test")
    assert [one.id for _, one in spool.upkeep.quarantined()] == ["bad"]
    assert exported(spool) == []
    assert spool.upkeep.release(["bad"]) == ["bad"]
    other = open_store(path.with_name("other.db"), role="spool")
    other.spool([message(str(n)) for n in range(5)])
    spool.upkeep.add(exported(other) + [{**one, "id": f"q{one['id']}", "quarantine": "why"} for one in exported(other)])
    spool.spool([message("new")])
    assert (spool.info().rows, spool.info().quarantined, spool.info().kept) == (7, 5, 2)
    for watch in spool.watches():
        spool.send_again(watch, spool.kept(watch, 10))
    assert [one.message.id for one in take(spool)][:2] == ["kept1", "kept2"]


def test_a_kept_row_of_a_damaged_file_is_sent_again(path: Path, spool: SQLiteStore, open_store: Open) -> None:
    """Redis has it already, as far as anybody knows, and says so; then it is kept as before."""
    keep(spool, "kept")
    spool.close()
    path.rename(f"{path}{aside.DAMAGED}1")
    again = open_store(role="spool")
    [done] = again.upkeep.recover()
    assert (done.saved, done.quarantined) == (1, 0)
    [handoff] = take(again)
    assert (handoff.message.id, handoff.message.keep, handoff.in_doubt) == ("kept", 60.0, True)
