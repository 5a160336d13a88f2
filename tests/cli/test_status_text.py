"""What `spoolq status` prints: 80 columns whatever names, numbers and errors there are, and the first line answers."""

from __future__ import annotations

from dataclasses import replace

import click
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spoolq.cli import status_text
from spoolq.facts import Facts, Side
from spoolq.hosts import HostSpool
from spoolq.store.base import WorkerInfo, WorkerView
from spoolq.store.events import Outage
from spoolq.store.looking import Depth
from spoolq.units import MANY
from spoolq.verdict import judge
from tests.unit.test_verdict import AWAY, BROKEN, FORBIDDEN, FULL, NO_SPOOL, UP, spool

HOST = HostSpool("web1", "/s.db", "0.1.0", 0.0, 312, 2, 1, 4096, 1 << 30, 0.5, 240.0, None, "", "", False, 12.0)


def shown(facts: Facts, limits: dict[str, str] | None = None) -> str:
    @click.command()
    def show() -> None:
        status_text.show(facts, judge(facts), limits or {})

    return CliRunner().invoke(show, catch_exceptions=False).stdout


names = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1, max_size=300)
counts = st.integers(0, 10**12)
ages = st.floats(0, 10**9)
depths = st.builds(Depth, names, counts, counts, counts, st.none() | ages)
hosts = st.builds(
    lambda host, path, rows, age: replace(HOST, host=host, path=path, rows=rows, in_doubt=rows, quarantined=rows, oldest=age),
    *(names, names, counts, st.none() | ages),
)
workers = st.builds(
    lambda host, queues, left, kind: WorkerView(
        WorkerInfo("k", host, 4_194_304, tuple(queues), 1000, lease=10.0, kind=kind), left, 10**6, ()
    ),
    *(names, st.lists(names, max_size=5), st.floats(-(10**9), 10**9), st.sampled_from(["worker", "drainer"])),
)
sides = st.builds(
    lambda base, name, error, reason, depths, workers, failures: replace(
        base, name=name, error=error, reason=reason, depths=tuple(depths), workers=tuple(workers), failures=failures
    ),
    *(st.sampled_from([UP, AWAY, FULL]), names, names, st.sampled_from(["refused", "oom", "auth"]), st.lists(depths, max_size=4)),
    *(st.lists(workers, max_size=3), counts),
)
spools = st.builds(
    lambda rows, age, aside, refuses, name, attended: replace(
        spool(refuses, rows=rows, oldest=age, in_doubt=rows, kept=rows, quarantined=aside, path=name),
        name=name,
        attended=attended,
    ),
    *(counts, ages, counts, st.none() | names, names, st.booleans()),
) | st.sampled_from([NO_SPOOL, BROKEN, FORBIDDEN])
outages = st.builds(lambda spooled: Outage(1, 0.0, None, 0.0, "refused", spooled, spooled, None, 0), counts)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    sides,
    spools,
    st.none() | outages,
    st.lists(hosts, max_size=4),
    st.dictionaries(names, ages, max_size=2),
    ages,
    st.just(0) | counts,
)
def test_every_line_fits_80_columns(
    primary: Side,
    side: Side,
    lasting: Outage | None,
    known: list[HostSpool],
    schedules: dict[str, float],
    silent: float,
    missing: int,
) -> None:
    facts = Facts(
        primary, side, lasting=lasting, missing=missing, hosts=tuple((one, silent) for one in known), schedules=schedules
    )
    for limits in ({}, {depth.queue: "at most 3 at a time, 100/m" for depth in primary.depths}):
        lines = shown(facts, limits).splitlines()
        assert [line for line in lines if len(line) > 80] == []
        assert " lost" in lines[0] or " missing in Redis. " in lines[0] or lines[0].startswith("New jobs are refused. ")


@pytest.mark.parametrize(
    ("facts", "first"),
    [
        (Facts(UP, spool()), "Nothing is lost on this host. There is nothing to do."),
        (Facts(AWAY, spool(rows=3, oldest=9.0)), "Nothing is lost on this host. Start Redis, then run `spoolq drain`."),
        (Facts(AWAY, replace(spool(rows=3, oldest=9.0), attended=True)), "Nothing is lost on this host. Start Redis."),
        (Facts(FULL, spool()), "Nothing is lost on this host. Make room in Redis."),
        (Facts(replace(AWAY, reason="auth"), spool()), "Nothing is lost on this host. Mend the login."),
        (Facts(AWAY, spool("it is full")), "New jobs are refused. Start Redis, or make room."),
        (
            Facts(AWAY, replace(NO_SPOOL, refuses="there is no directory /")),
            "New jobs are refused. Start Redis, or make the spool possible.",
        ),
        (Facts(UP, spool(rows=1, oldest=61.0)), "Nothing is lost on this host. Start `spoolq drain` or a worker here."),
        (
            Facts(UP, replace(spool(rows=1, oldest=61.0), attended=True)),
            "Nothing is lost on this host. Look at the log of who drains it.",
        ),
        (
            Facts(UP, replace(spool(rows=1, oldest=61.0, drained=9.0), attended=True)),
            "Nothing is lost on this host. There is nothing to do.",
        ),
        (Facts(UP, spool(rows=1, drain_paused_at=1.0)), "Nothing is lost on this host. Run `spoolq drain resume`."),
        (Facts(UP, spool(quarantined=1)), "Nothing is lost on this host. Look: `spoolq spool quarantine list`."),
        (Facts(UP, spool(damaged=("/a",))), "Whether anything is lost isn't known. Run `spoolq spool recover`."),
        (Facts(UP, spool(), missing=2), "2 jobs are missing in Redis. See `spoolq accounts`."),
        (Facts(UP, FORBIDDEN), "Whether anything is lost isn't known. Run this as the user whose jobs they are."),
    ],
)
def test_the_first_line_says_whether_anything_is_lost_and_what_to_do(facts: Facts, first: str) -> None:
    assert shown(facts).splitlines()[0] == first


def test_an_outage_is_told_with_how_long_it_has_lasted() -> None:
    lasting = Outage(1, 1000.0, None, 1250.0, "refused", 312, 312, None, 0)
    facts = Facts(AWAY, spool(rows=312, oldest=240.0), lasting=lasting, at=1252.0)
    assert "Redis down for 4 min 12 s (refused); 312 jobs are safe in the spool, oldest 4 min." in " ".join(shown(facts).split())


def test_silent_hosts_are_named_with_what_they_held() -> None:
    quiet = replace(HOST, host="web2", rows=0, quarantined=0, in_doubt=0)
    text = " ".join(shown(Facts(UP, spool(), hosts=((HOST, 240.0), (quiet, 2.0)))).split())
    assert "web1 312 2 1 50 % 12 4 min 4 min ago, silent" in text
    assert "web1 was not heard of for 4 min, 313 jobs in its spool then: /s.db there" in text
    assert "web2 0 0 0 50 %" in text
    assert "HOST" not in shown(Facts(UP, spool(), hosts=((quiet, 2.0),)))
    assert "100,000+" not in shown(Facts(UP, spool(), hosts=((replace(HOST, rows=MANY), 2.0),)))
    assert "100,000+" in shown(Facts(UP, spool(), hosts=((replace(HOST, rows=MANY + 1), 2.0),)))


def test_paused_schedules_are_named() -> None:
    assert "schedules: nightly for 1 min (`spoolq schedule resume`)" in shown(
        Facts(UP, spool(), schedules={"nightly": 40.0}, at=100.0)
    )


def test_whether_somebody_drains_is_said() -> None:
    assert "drained by somebody here" in shown(Facts(UP, replace(spool(), attended=True)))
    assert "nobody drains it now" in shown(Facts(UP, spool()))
