"""The limits of queues as settings say them, and the arithmetic of a rate."""

from __future__ import annotations

from typing import Any

import pytest

from spoolq import quotas
from spoolq.config import load
from spoolq.errors import ConfigError
from spoolq.quotas import PerQueue, Rate
from spoolq.store.quota import Quota


def test_limits_are_read_from_a_text_and_from_a_table() -> None:
    assert quotas.concurrency("mail=3, media = 1").pairs == (("mail", 3), ("media", 1))
    assert quotas.concurrency({"mail": 3}).pairs == (("mail", 3),)
    assert quotas.rates("mail=100/m,api=5 / s").pairs == (("mail", Rate(100, "m")), ("api", Rate(5, "s")))
    assert quotas.rates({"mail": "2/h"}).pairs == (("mail", Rate(2, "h")),)
    for none in ("", "none", {}):
        assert quotas.rates(none).pairs == quotas.concurrency(none).pairs == ()


@pytest.mark.parametrize("read", [quotas.concurrency, quotas.rates])
def test_what_is_written_is_read_again(read: Any) -> None:
    found = read("mail=3" if read is quotas.concurrency else "mail=100/m")
    assert read(str(found)) == read(found) == found
    assert str(read("none")) == "none"


@pytest.mark.parametrize("value", ["100/x", "100", "/m", "0/s", "-1/s", "1.5/s", "1/2m", "x/m", 100, None, True, "1/s/s", "١/s"])
def test_a_wrong_rate_is_named(value: object) -> None:
    with pytest.raises(ConfigError, match=r"rate_limits: mail = .*such as 100/m"):
        quotas.rates({"mail": value})


@pytest.mark.parametrize("value", [0, -1, "x", "1.5", 1.5, True, None, "100/m", 100_001])
def test_a_wrong_number_is_named(value: object) -> None:
    with pytest.raises(ConfigError, match=r"concurrency: mail = .*a whole number from 1"):
        quotas.concurrency({"mail": value})


@pytest.mark.parametrize("queue", ["a b", "a:b", "*", "", "a*"])
def test_a_wrong_queue_is_named(queue: str) -> None:
    with pytest.raises(ConfigError, match=r"rate_limits: queue="):
        quotas.rates({queue: "1/s"})


def test_a_queue_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="twice"):
        quotas.rates("mail=1/s,mail=2/s")


@pytest.mark.parametrize("value", [5, "mail", "mail:3", ["mail=3"]])
def test_what_is_no_list_says_what_is_expected(value: object) -> None:
    for name in ("concurrency", "rate_limits"):
        with pytest.raises(ConfigError, match=f"{name} = .*expected queues and how many"):
            load(env={}, **{name: value})


def test_they_are_settings(tmp_path: Any) -> None:
    file = tmp_path / "spoolq.toml"
    file.write_text('[concurrency]\nmail = 3\n[rate_limits]\nmail = "100/m"\n')
    settings, _ = load(file, {})
    assert (str(settings.concurrency), str(settings.rate_limits)) == ("mail=3", "mail=100/m")
    settings, _ = load(file, {"SPOOLQ_RATE_LIMITS": "api=1/s", "SPOOLQ_CONCURRENCY": "none"})
    assert (settings.concurrency.pairs, str(settings.rate_limits)) == ((), "api=1/s")


def test_what_claims_are_told() -> None:
    told = quotas.quotas(quotas.concurrency("mail=3,slow=1"), quotas.rates("mail=100/m,api=1000/s"))
    assert told == (Quota("mail", 3, 0.6, 0.0), Quota("slow", 1), Quota("api", 0, 0.001, 0.05))
    assert quotas.quotas(PerQueue(), PerQueue()) == ()


@pytest.mark.parametrize(("rate", "period"), [("100/m", 60.0), ("3/s", 1.0), ("7/h", 3600.0), ("1/d", 86_400.0), ("20/s", 1.0)])
def test_however_often_it_is_asked_no_period_sees_more_than_the_rate_and_a_busy_one_no_fewer(rate: str, period: float) -> None:
    [(_, said)] = quotas.rates(f"q={rate}").pairs
    quota, tat, now, begun = Quota("q", 0, said.interval, said.ahead), 0.0, 1_700_000_000.0, list[float]()
    end = now + 3 * period
    while now < end:
        jobs = quota.allows(tat, now)
        if jobs:
            begun += [now] * jobs
            tat = quota.begins(tat, now) + jobs * quota.interval
        now += period / 997
    most = max(sum(1 for at in begun if first <= at < first + period - 1e-6) for first in begun)
    assert most <= said.jobs
    assert len(begun) >= 3 * said.jobs * 0.85


def test_a_fast_one_goes_in_small_steps() -> None:
    quota = Quota("q", 0, 0.001, 0.05)
    assert quota.allows(0.0, 1000.0) == 51
    tat = quota.begins(0.0, 1000.0) + 51 * 0.001
    assert quota.allows(tat, 1000.0) == 0
    assert quota.allows(tat, 1000.0105) == 10


def test_a_clock_that_was_set_back_puts_nothing_off_for_longer_than_one_interval() -> None:
    quota = Quota("q", 0, 0.6)
    assert quota.begins(1_700_003_600.0, 1_700_000_000.0) == 1_700_000_000.6
    assert quota.allows(1_700_003_600.0, 1_700_000_000.0) == 0
