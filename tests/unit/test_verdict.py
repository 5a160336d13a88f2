"""What is said of each state in which a deployment can be."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from spoolq.facts import Facts, Side
from spoolq.hint import Note
from spoolq.store.base import WorkerInfo, WorkerView
from spoolq.store.events import Outage
from spoolq.store.looking import Depth, SpoolInfo
from spoolq.verdict import CRITICAL, DEGRADED, MEND, NOTHING, OK, SAFE, UNKNOWN, UNSURE, judge

INFO = SpoolInfo(
    path="/s.db",
    destination="redis://h:6379/0#resque",
    schema=1,
    sqlite="3.45",
    rows=0,
    in_doubt=0,
    claimed=0,
    kept=0,
    quarantined=0,
    failures=0,
    bytes=4096,
    limit_bytes=1 << 30,
    disk_free=1 << 40,
    min_free=1 << 28,
    oldest=None,
)
UP = Side("redis", "redis://h:6379/0#resque", "up", latency=0.001, depths=(Depth("mail", 3, 1, 2, 4.0),), failures=1)
AWAY = Side("redis", "redis://h:6379/0#resque", "away", "Redis refused at h:6379", "refused")
BOX = replace(UP, kind="sqlite", name="/q.db")
NO_SPOOL = Side("spool", "/s.db", "absent", "no spool at /s.db")


def spool(refuses: str | None = None, **changes: Any) -> Side:
    return Side("spool", "/s.db", "up", info=replace(INFO, **changes), refuses=refuses)


FULL = replace(UP, state="refusing", error="Redis at h:6379: oom", reason="oom")
FORBIDDEN = Side("spool", "/s.db", "forbidden", "/s.db: this user may not read and write it")
BROKEN = Side("spool", "/s.db", "unreadable", "not a database", refuses="not a database")


@pytest.mark.parametrize(("reason", "todo"), [("damaged", "spoolq spool recover"), ("io", "spoolq spool check")])
@pytest.mark.parametrize("primary", [UP, AWAY])
def test_a_damaged_spool_is_to_be_recovered_and_another_one_looked_at(primary: Side, reason: str, todo: str) -> None:
    assert judge(Facts(primary, replace(BROKEN, reason=reason))).todo.endswith(f"`{todo}`")


@pytest.mark.parametrize("changes", [{}, {"quarantined": 2}, {"rows": 3, "oldest": 99.0}, {"damaged": ("/s.db.damaged-1",)}])
@pytest.mark.parametrize("primary", [UP, AWAY])
def test_what_a_recovery_could_not_read_may_be_lost_whatever_else_there_is(primary: Side, changes: dict[str, Any]) -> None:
    verdict = judge(Facts(primary, spool(incomplete=("/s.db.incomplete-1",), **changes)))
    assert (verdict.level, verdict.lost) == (DEGRADED, UNSURE)
    assert "not all of /s.db.incomplete-1 could be recovered: move it away" in verdict.sentence
    assert verdict.todo != NOTHING
    if changes == {} and primary is UP:
        assert verdict.todo == "Run `spoolq spool check`"


def test_beside_a_damaged_file_no_row_set_aside_makes_all_well() -> None:
    assert judge(Facts(UP, spool(quarantined=2, damaged=("/s.db.damaged-1",)))).lost == UNSURE


@pytest.mark.parametrize(
    ("primary", "side", "level", "lost", "says"),
    [
        (UP, NO_SPOOL, OK, SAFE, "3 ready, 2 running, 1 scheduled, 1 failed; no spool at /s.db so far."),
        (UP, spool(), OK, SAFE, "none in the spool"),
        (UP, spool(kept=7), OK, SAFE, "none in the spool; 7 watched until Redis has persisted them."),
        (AWAY, spool(kept=7), DEGRADED, SAFE, "none in the spool; 7 watched until Redis has persisted them."),
        (UP, spool(rows=12, oldest=2.0), OK, SAFE, "12 jobs on the way from the spool into Redis"),
        (UP, spool(rows=12, oldest=6.0), DEGRADED, SAFE, "12 jobs wait in the spool, oldest 6.0 s: start `spoolq drain`"),
        (UP, replace(spool(rows=12, oldest=6.0), attended=True), OK, SAFE, "12 jobs on the way from the spool into Redis"),
        (UP, spool(rows=1, oldest=61.0), DEGRADED, SAFE, "1 job waits in the spool, oldest 1 min 1 s: start"),
        (
            UP,
            replace(spool(rows=900, oldest=252.0, drained=4.0), attended=True),
            *(DEGRADED, SAFE, "900 jobs on the way from the spool into Redis, oldest 4 min 12 s; 3 ready"),
        ),
        (UP, replace(spool(rows=900, oldest=252.0, drained=99.0), attended=True), DEGRADED, SAFE, "look at the log"),
        (UP, spool(rows=900, oldest=252.0, drained=4.0), DEGRADED, SAFE, "start `spoolq drain` or a worker here"),
        (UP, spool(quarantined=1), DEGRADED, SAFE, "1 job is set aside in the spool and will not run"),
        (
            UP,
            spool("it has reached spool_max_bytes"),
            DEGRADED,
            SAFE,
            "the spool would take no job now: it has reached",
        ),
        (UP, BROKEN, DEGRADED, UNSURE, "the spool can't be used: /s.db: not a database"),
        (AWAY, NO_SPOOL, DEGRADED, "Nothing is known to be lost", "Redis is away (refused); no spool at /s.db so far."),
        (AWAY, spool(rows=312, oldest=252.0), DEGRADED, SAFE, "312 jobs are safe in the spool, oldest 4 min 12 s."),
        (
            AWAY,
            spool(rows=1, oldest=1.0, quarantined=2),
            DEGRADED,
            SAFE,
            "1 job is safe in the spool, .*; 2 set aside",
        ),
        (AWAY, spool("it is full", rows=9, oldest=1.0), CRITICAL, "New jobs are refused", "it is full; 9 jobs are safe in the"),
        (AWAY, replace(NO_SPOOL, refuses="/ isn't writable"), CRITICAL, "New jobs are refused", "/ isn't writable; no spool at"),
        (AWAY, BROKEN, CRITICAL, UNSURE, "Redis is away (refused), and the spool can't be used: /s.db: not a database"),
        (AWAY, replace(BROKEN, error="/s.db is no database"), CRITICAL, UNSURE, "can't be used: /s.db is no database."),
        (FULL, spool(rows=2, oldest=1.0), DEGRADED, SAFE, "Redis is full (oom); 2 jobs are safe in the spool"),
        (UP, FORBIDDEN, UNKNOWN, UNSURE, "/s.db: this user may not read"),
        (AWAY, FORBIDDEN, UNKNOWN, UNSURE, "/s.db: this user may not read"),
        (replace(UP, state="unreadable", error="odd"), spool(), UNKNOWN, UNSURE, "odd"),
    ],
)
def test_verdicts_beside_redis(primary: Side, side: Side, level: int, lost: str, says: str) -> None:
    verdict = judge(Facts(primary, side))
    assert (verdict.level, verdict.lost) == (level, lost)
    assert re.search(re.escape(says).replace(r"\.\*", ".*"), verdict.sentence), verdict.sentence


@pytest.mark.parametrize(
    ("state", "level"), [("up", OK), ("absent", UNKNOWN), ("forbidden", UNKNOWN), ("away", CRITICAL), ("unreadable", CRITICAL)]
)
def test_verdicts_of_a_single_box(state: Any, level: int) -> None:
    side = Side("sqlite", "/q.db", state, None if state == "up" else f"{state} at /q.db")
    assert judge(Facts(side, None)).level == level


def worker(
    lease_left: float, claims: int = 0, *, lease: float = 30.0, pid: int = 7, kind: Any = "worker", threads: int = 1
) -> WorkerView:
    return WorkerView(WorkerInfo(f"w{pid}", "web1", pid, ("mail",), threads, lease=lease, kind=kind), lease_left, claims, ())


@pytest.mark.parametrize(
    ("workers", "says"),
    [
        (
            (worker(-31, 2),),
            "2 jobs are held by a worker that is gone (web1:7), and nobody takes them over: start `spoolq worker`",
        ),
        ((worker(-31, 1),), "1 job is held by a worker that is gone (web1:7), and nobody takes it over: start"),
        ((worker(-31, 1), worker(-99, 4, pid=8)), "5 jobs are held by workers that are gone, and nobody takes them over"),
        ((worker(-31, 2), worker(20, pid=8)), "and nobody takes them over: look at the logs of those that run"),
        ((worker(-2, 3, lease=0.5),), "3 jobs are held by"),
        ((worker(-99, 2, threads=0),), "2 jobs are held by a worker that is gone"),
        ((worker(-99), worker(20, threads=0, pid=8)), "3 jobs wait to be run, oldest 4.0 s, and no worker of spoolq's lives"),
        ((worker(-31),), "3 jobs wait to be run, oldest 4.0 s, and no worker of spoolq's lives: start `spoolq worker`"),
    ],
)
def test_jobs_that_dead_workers_left_are_degraded(workers: tuple[WorkerView, ...], says: str) -> None:
    for facts in (Facts(replace(UP, workers=workers), spool(rows=2, oldest=1.0)), Facts(replace(BOX, workers=workers), None)):
        verdict = judge(facts)
        assert (verdict.level, verdict.lost) == (DEGRADED, SAFE)
        assert says in verdict.sentence


@pytest.mark.parametrize(
    "workers",
    [
        (worker(20, 2),),
        (worker(-29, 2),),  # as long as its lease, for whoever is about to take them over
        (worker(-2, 3, lease=0.5), worker(20, pid=8)),
        (worker(-31), worker(20, pid=8)),
        (worker(-31, kind="drainer"),),
        (),  # Resque's own workers may be at it
    ],
)
def test_while_a_rescue_may_come_or_others_may_work_it_is_well(workers: tuple[WorkerView, ...]) -> None:
    assert judge(Facts(replace(UP, workers=workers), spool())).level == OK


@pytest.mark.parametrize(
    ("depths", "level"),
    [
        ((), OK),
        ((Depth("mail", 0, 9, 0, None),), OK),
        ((Depth("mail", 1, 0, 0, 59.0),), OK),
        ((Depth("mail", 1, 0, 0, 61.0),), DEGRADED),
    ],
)
def test_a_single_box_whose_jobs_nobody_runs_is_degraded(depths: tuple[Depth, ...], level: int) -> None:
    verdict = judge(Facts(replace(BOX, depths=depths), None))
    assert verdict.level == level
    assert ("1 job waits to be run, oldest 1 min 1 s, and no worker" in verdict.sentence) == (level == DEGRADED)
    assert judge(Facts(replace(BOX, depths=depths, workers=(worker(5.0),)), None)).level == OK


def test_jobs_of_a_queue_from_which_no_worker_takes_are_somebody_s_business() -> None:
    depths = (Depth("mail", 3, 0, 0, 400.0), Depth("bulk", 1, 0, 0, 61.0), Depth("live", 9, 0, 0, 400.0))
    for side, extra in ((UP, spool()), (BOX, None)):
        alone = replace(side, depths=depths, workers=(worker(5.0),), untaken=("mail",))
        verdict = judge(Facts(alone, extra))
        assert (verdict.level, verdict.lost, verdict.todo) == (DEGRADED, SAFE, "See that a `spoolq worker` runs")
        assert "3 jobs wait to be run, oldest 6 min 40 s, and no worker takes from mail: start `spoolq worker` for it" in str(
            verdict
        )
        both = judge(Facts(replace(alone, untaken=("mail", "bulk")), extra))
        assert "4 jobs wait to be run, oldest 6 min 40 s, and no worker takes from mail, bulk" in both.sentence
        paused = judge(Facts(replace(alone, paused={"mail": 1.0}), extra))
        assert "behind a pause of mail" in paused.sentence  # it is what keeps them first


def test_a_worker_that_died_here_is_not_waited_for_until_its_lease_is_over() -> None:
    for side, extra in ((UP, spool()), (BOX, None)):
        killed = replace(side, depths=(Depth("mail", 0, 0, 2, None),), workers=(worker(29.0, 2),), dead=frozenset({"w7"}))
        verdict = judge(Facts(killed, extra))
        assert (verdict.level, verdict.lost) == (DEGRADED, SAFE)
        assert "2 jobs are held by a worker that is gone (web1:7), and nobody takes them over" in verdict.sentence
        # another one will, when that is over
        assert judge(Facts(replace(killed, workers=(worker(29.0, 2), worker(20.0, pid=8))), extra)).level == OK


def test_in_an_outage_a_paused_drain_is_to_be_resumed() -> None:
    for attended in (False, True):
        side = replace(spool(rows=2, oldest=6.0, drain_paused_at=1.0), attended=attended)
        verdict = judge(Facts(AWAY, side))
        assert verdict.todo == "Start Redis, then run `spoolq drain resume`"
        assert "draining is paused" in verdict.sentence


@pytest.mark.parametrize(
    ("reason", "says", "todo"),
    [
        ("auth", "Redis refuses the login (auth), jobs have gone past it for 50 s", "Mend the login"),
        ("noperm", "Redis denies the login its rights (noperm), jobs have gone past", "Mend the login's rights"),
        ("maxclients", "Redis takes no more connections (maxclients), jobs have", "Raise Redis's maxclients"),
        ("loading", "Redis still reads its data (loading), jobs have", "Wait while Redis loads"),
        ("timeout", "Redis down for 50 s (timeout)", "See whether Redis hangs"),
        ("refused", "Redis down for 50 s (refused)", "Start Redis"),
    ],
)
def test_what_answers_isn_t_said_to_be_down(reason: str, says: str, todo: str) -> None:
    lasting = Outage(1, 1000.0, None, 1050.0, "refused", 1, 1, None, 0)
    verdict = judge(Facts(replace(AWAY, reason=reason), spool(), lasting=lasting, at=1050.0))
    assert verdict.sentence.startswith(says)
    assert verdict.todo == todo


def test_what_to_do_about_redis_leaves_room_in_the_line() -> None:
    assert [todo for todo in MEND.values() if len(todo) > 24] == []
    assert len(f"{SAFE}. {'x' * 24}, then run `spoolq drain`.") == 80


def test_levels_are_the_exit_codes_of_a_monitor() -> None:
    assert (OK, DEGRADED, CRITICAL, UNKNOWN) == (0, 1, 2, 3)


def test_a_redis_that_is_too_slow_for_the_producers_here_is_degraded_though_it_answers():
    slow = Note(True, "slow", 1_700_000_000.0, 5.0)
    verdict = judge(Facts(UP, spool(), slow))
    assert (verdict.level, verdict.lost) == (DEGRADED, SAFE)
    assert verdict.sentence.startswith("Redis answers too slowly, so new jobs go to the spool; 3 ready")
    assert judge(Facts(UP, spool(), slow._replace(reason="refused"))).level == OK  # it is over, as we have just seen
    assert judge(Facts(UP, spool(quarantined=1), slow)).sentence.startswith("1 job is set aside")


def test_jobs_behind_a_pause_are_somebody_s_business() -> None:
    depths = (Depth("mail", 3, 0, 0, 400.0), Depth("bulk", 1, 0, 0, 400.0))
    for side, extra in ((UP, spool()), (BOX, None)):
        paused = replace(side, depths=depths, paused={"mail": 5.0, "empty": 6.0}, workers=(worker(5.0),))
        verdict = judge(Facts(paused, extra))
        assert (verdict.level, verdict.lost) == (DEGRADED, SAFE)
        assert verdict.sentence.startswith("3 jobs wait behind a pause of mail: `spoolq queues resume mail` ends it")
        verdict = judge(Facts(replace(paused, paused={"*": 0.0, "mail": 5.0}), extra))
        assert verdict.sentence.startswith("4 jobs wait behind a pause of all queues: `spoolq queues resume --all` ends it")
        assert judge(Facts(replace(paused, paused={"empty": 6.0}), extra)).level == OK
    # a worker would not help
    assert "start `spoolq worker`" not in judge(Facts(replace(BOX, depths=depths[:1], paused={"mail": 5.0}), None)).sentence
