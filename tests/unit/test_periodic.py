"""When periodic jobs are due."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from spoolq.errors import ConfigError
from spoolq.job import Job
from spoolq.periodic import LATE, MOST, Cron, Entries, Entry, Every, Missed, due, entry_name, policy, timing

PARIS, HOWE, KOLKATA = "Europe/Paris", "Australia/Lord_Howe", "Asia/Kolkata"


def entry(when: object, missed: Missed = "latest", tz: str | None = None) -> Entry:
    return Entry("e", timing(when, tz), lambda id: Job(id, "t", "q"), missed)


def at(text: str, tz: str = "UTC", fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(tz), fold=fold).timestamp()


def shown(when: Any, since: float, count: int) -> list[str]:
    """The next ticks on a clock of the zone, with its offset."""
    zone = ZoneInfo(when.tz)
    return [datetime.fromtimestamp(tick, zone).isoformat() for tick in islice(when.after(since), count)]


# where clocks change


def test_a_time_that_clocks_skip_comes_right_after_the_gap() -> None:
    """Paris goes from 02:00 to 03:00 on 29 March 2026."""
    assert shown(timing("30 2 * * *", PARIS), at("2026-03-28T12:00", PARIS), 2) == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]
    assert shown(timing("0,30 2,3 * * *", PARIS), at("2026-03-29T00:00", PARIS), 3) == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-29T03:30:00+02:00",
        "2026-03-30T02:00:00+02:00",
    ]


def test_a_time_that_clocks_show_twice_comes_once() -> None:
    """Paris goes from 03:00 to 02:00 on 25 October 2026."""
    assert shown(timing("30 2 * * *", PARIS), at("2026-10-24T12:00", PARIS), 2) == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
    ]


def test_a_wildcard_follows_the_clocks() -> None:
    assert shown(timing("*/30 * * * *", PARIS), at("2026-10-25T02:00", PARIS), 4) == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-25T02:00:00+01:00",
        "2026-10-25T02:30:00+01:00",
        "2026-10-25T03:00:00+01:00",
    ]
    assert shown(timing("*/30 * * * *", PARIS), at("2026-03-29T01:30", PARIS), 2) == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-29T03:30:00+02:00",
    ]


def test_a_zone_whose_clocks_change_by_half_an_hour() -> None:
    """Lord Howe goes back from 02:00 to 01:30 on 5 April 2026, and on from 02:00 to 02:30 on 4 October."""
    assert shown(timing("*/20 5 * * *", HOWE), at("2026-04-05T00:00", HOWE), 3) == [
        "2026-04-05T05:00:00+10:30",
        "2026-04-05T05:20:00+10:30",
        "2026-04-05T05:40:00+10:30",
    ]
    assert shown(timing("*/15 1 * * *", HOWE), at("2026-04-05T01:15", HOWE), 4) == [
        "2026-04-05T01:30:00+11:00",
        "2026-04-05T01:45:00+11:00",
        "2026-04-05T01:30:00+10:30",
        "2026-04-05T01:45:00+10:30",
    ]
    assert shown(timing("45 1 * * *", HOWE), at("2026-04-05T00:00", HOWE), 2) == [
        "2026-04-05T01:45:00+11:00",
        "2026-04-06T01:45:00+10:30",
    ]
    assert shown(timing("10 2 * * *", HOWE), at("2026-10-04T00:00", HOWE), 2) == [
        "2026-10-04T02:30:00+11:00",
        "2026-10-05T02:10:00+11:00",
    ]


def test_a_zone_half_an_hour_off() -> None:
    assert shown(timing("0 9 * * *", KOLKATA), at("2026-11-26T00:00"), 1) == ["2026-11-26T09:00:00+05:30"]
    assert next(timing("0 9 * * *", KOLKATA).after(at("2026-11-26T00:00"))) == at("2026-11-26T03:30")


def test_a_day_that_a_zone_left_out() -> None:
    """Samoa went from 29 to 31 December 2011."""
    assert shown(timing("0 12 * * *", "Pacific/Apia"), at("2011-12-29T13:00", "Pacific/Apia"), 2) == [
        "2011-12-31T00:00:00+14:00",
        "2011-12-31T12:00:00+14:00",
    ]


EXPRESSIONS = [
    "*/5 * * * *",
    "30 2 * * *",
    "0,30 2 * * *",
    "0 0 * * *",
    "15 */2 * * *",
    "0 3 * * MON-FRI",
    "0 0 L * *",
    "45 1-3 * * *",
    "* 2 * * *",
    "0 12 * * mon#1",
    "10 2,3 * * SUN",
    "0 9 1 * 1",
    "0 9 * * 5L",
]


@pytest.mark.parametrize("tz", [PARIS, "UTC", "America/New_York", KOLKATA])
@pytest.mark.parametrize("text", EXPRESSIONS)
def test_a_year_is_as_cronsim_has_it_both_ways(text: str, tz: str) -> None:
    begin, end = at("2026-01-01T00:00", tz), at("2027-01-01T00:00", tz)
    known = set()
    for one in CronSim(text, datetime.fromtimestamp(begin, ZoneInfo(tz) if tz != "UTC" else UTC)):
        if one.timestamp() > end:
            break
        known.add(int(one.timestamp()))
    when = timing(text, tz)
    assert list(islice(when.after(begin), len(known))) == sorted(known)
    assert list(islice(when.until(end), len(known))) == sorted(known, reverse=True)


@given(
    st.sampled_from(EXPRESSIONS),
    st.sampled_from([PARIS, HOWE, "America/New_York", "Pacific/Apia"]),
    st.floats(at("2011-01-01T00:00"), at("2030-01-01T00:00")),
)
def test_no_moment_of_any_day_hides_a_tick(text: str, tz: str, moment: float) -> None:
    when = timing(text, tz)
    before, after = next(when.until(moment)), next(when.after(moment))
    assert before <= moment < after
    assert next(when.after(before)) == after
    assert next(when.until(after - 1)) == before


# intervals


def test_an_interval_counts_from_1970_on_every_host() -> None:
    when = timing(60)
    assert list(islice(when.after(119.9), 2)) == [120, 180]
    assert list(islice(when.after(120.0), 1)) == [180]
    assert list(when.until(120.5)) == [120, 60, 0]
    assert timing(timedelta(minutes=5)) == Every(300)
    assert (timing(90).words(), timing(timedelta(hours=1)).words()) == ("every 90s", "every 1h")


def test_a_tick_has_the_same_id_in_every_zone() -> None:
    tick = next(timing("0 9 * * *", PARIS).after(at("2026-07-01T00:00", PARIS)))
    assert entry(60).id(tick) == "e@2026-07-01T07:00:00Z"


# which are due

NOON = at("2026-11-26T12:00")


def minutes(ticks: list[int]) -> list[float]:
    return [(tick - NOON) / 60 for tick in ticks]


@pytest.mark.parametrize("missed", ["latest", "all", "skip"])
def test_what_is_late_by_five_minutes_at_most_is_always_enqueued(missed: Missed) -> None:
    assert minutes(due(entry("* * * * *", missed), NOON - 240, NOON)) == [-3, -2, -1, 0]
    assert minutes(due(entry("* * * * *", missed), NOON - LATE - 1, NOON)) == [-5, -4, -3, -2, -1, 0]


def test_of_older_ones_the_policy_decides() -> None:
    hour = NOON - 3600.0
    assert minutes(due(entry("*/10 * * * *", "latest"), hour, NOON + 400)) == [0]
    assert minutes(due(entry("*/10 * * * *", "all"), hour, NOON + 400)) == [-50, -40, -30, -20, -10, 0]
    assert minutes(due(entry("*/10 * * * *", "skip"), hour, NOON + 400)) == []
    assert minutes(due(entry("*/10 * * * *", "latest"), hour, NOON + 60)) == [0], "a newer one makes up for those before it"
    assert minutes(due(entry("*/10 * * * *", "skip"), hour, NOON + 60)) == [0]


def test_all_is_the_latest_thousand_at_most() -> None:
    found = due(entry("* * * * *", "all"), 0.0, NOON)
    assert len(found) == MOST + 6, "those of the last five minutes beside them"
    assert found == sorted(found)
    assert found[-1] == NOON


def test_nothing_is_due_twice_nor_before_its_time() -> None:
    assert due(entry("* * * * *"), NOON, NOON + 59.9) == []
    assert due(entry("* * * * *"), NOON + 100, NOON) == [], "a clock that was set back"
    assert minutes(due(entry("* * * * *"), NOON, NOON + 60)) == [1]


# what is refused


def test_names_for_what_people_want_most() -> None:
    assert timing("@daily") == timing("0 0 * * *") == Cron("0 0 * * *", "UTC")
    assert timing(" @Hourly ", PARIS) == Cron("0 * * * *", PARIS)
    assert timing("*/5  *  * * *") == timing("*/5 * * * *")
    assert timing("30 2 * * 1-5", PARIS).words() == "At 02:30 on Monday through Friday, Europe/Paris"


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("60 * * * *", "Bad minute"),
        ("* 24 * * *", "Bad hour"),
        ("* * 0 * *", "Bad day-of-month"),
        ("* * * 13 *", "Bad month"),
        ("* * * * 8", "Bad day-of-week"),
        ("*/0 * * * *", "Bad minute"),
        ("5-1 * * * *", "Bad minute"),
        ("a b c d e", "Bad minute"),
        ("L/2 * * * *", "Bad minute"),
        ("0 0 30 2 *", "day"),
        ("0 0 31 4,6 *", "day"),
        ("@reboot", "@yearly"),
        ("@dayly", "@daily"),
    ],
)
def test_an_expression_that_can_not_be_says_why_and_shows_a_right_one(when: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        timing(when)
    assert said in str(raised.value)
    assert repr(when) in str(raised.value)
    assert "'*/5 * * * *'" in str(raised.value)


@pytest.mark.parametrize(
    "when", [0, -1, 0.5, 1.5, float("nan"), float("inf"), 10**9, True, None, [60], timedelta(0), timedelta(milliseconds=5), b"1"]
)
def test_an_interval_that_can_not_be_shows_a_right_one(when: object) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"periodic({when!r}" if not isinstance(when, timedelta) else "periodic(0")):
        timing(when)
    with pytest.raises(ConfigError, match="such as 60"):
        timing(when)


@pytest.mark.parametrize("tz", ["Europe/Pariss", "CEST+1", "", "../etc/passwd", "/etc/passwd", "Europe", "a\0b", 5])
def test_a_zone_that_there_is_not_shows_a_right_one(tz: Any) -> None:
    with pytest.raises(ConfigError, match="such as 'Europe/Paris'"):
        timing("@daily", tz)


def test_an_interval_has_no_zone() -> None:
    with pytest.raises(ConfigError, match="leave tz out"):
        timing(60, PARIS)


def test_policies_and_names_are_checked() -> None:
    assert [policy(one) for one in ("latest", "all", "skip")] == ["latest", "all", "skip"]
    for wrong in ("none", "", None, 1):
        with pytest.raises(ConfigError, match="'latest'"):
            policy(wrong)
    assert entry_name("nightly:1") == "nightly:1"
    for bad in ("", "a b", "a\n", "x" * 101, None, 7):
        with pytest.raises(ConfigError, match="such as 'nightly'"):
            entry_name(bad)


def test_two_of_one_name_are_refused_and_the_same_again_is_not() -> None:
    entries = Entries()
    entries.add(entry(60))
    entries.add(entry(60))
    with pytest.raises(ConfigError, match=r"two schedules named 'e' \(every 1m, and every 2m\).*name='e-2'"):
        entries.add(entry(120))
    with pytest.raises(ConfigError, match="two schedules"):
        entries.add(Entry("e", timing(60), lambda id: Job(id, "t", "q", ("other",))))
