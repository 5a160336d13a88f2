import pytest

from spoolq.alarm import EVERY, Alarm
from spoolq.breaker import LASTING


@pytest.mark.parametrize("reason", sorted(LASTING))
def test_it_is_said_at_once_and_again_each_minute_while_jobs_are_spooled(reason):
    alarm = Alarm()
    said = [alarm.spooled(1, reason, "Redis at r:1: mend it", now=100.0 + n, wall=0.0) for n in range(int(3 * EVERY))]
    assert [place for place, text in enumerate(said) if text] == [0, EVERY, 2 * EVERY]
    assert "1 job has" in (said[0] or "")
    assert "61 jobs have" in (said[int(EVERY)] or "")
    assert "mend it" in (said[0] or "")


@pytest.mark.parametrize("reason", ["refused", "timeout", "oom", "slow", None])
def test_what_ends_by_itself_is_no_alarm(reason):
    assert Alarm().spooled(1, reason, "", now=100.0, wall=0.0) is None


def test_the_next_time_it_happens_it_is_said_at_once():
    alarm = Alarm()
    assert alarm.spooled(5, "auth", "", now=100.0, wall=0.0)
    assert alarm.spooled(1, "refused", "", now=101.0, wall=0.0) is None
    assert "1 job has" in (alarm.spooled(1, "auth", "", now=102.0, wall=0.0) or "")
