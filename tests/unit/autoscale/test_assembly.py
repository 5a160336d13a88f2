"""From the settings to a policy, and what is refused at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from spoolq.app import SpoolQ
from spoolq.autoscale.assembly import policy
from spoolq.autoscale.load import Load
from spoolq.autoscale.multiworker import MultiWorker
from spoolq.config import Settings
from spoolq.errors import ConfigError


def test_the_policy_is_the_settings_or_the_one_that_is_named() -> None:
    assert isinstance(policy(Settings()), Load)
    assert isinstance(policy(Settings(scale_policy="multiworker")), MultiWorker)
    assert isinstance(policy(Settings(scale_policy="multiworker"), "load"), Load)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"scale_policy": "magic"}, "scale_policy = 'magic': expected load or multiworker"),
        ({"scale_target": 0}, "scale_target = 0: expected a duration"),
        ({"scale_target": "soon"}, "scale_target = 'soon'"),
        ({"scale_idle": 0}, "scale_idle = 0"),
        ({"scale_cpu": 0}, "scale_cpu = 0: expected a share of the processor"),
        ({"scale_cpu": 90}, "more than 0 and up to 1"),
        ({"scale_delay": 0}, "scale_delay = 0"),
        ({"scale_check": 0}, "scale_check = 0"),
    ],
)
def test_settings_that_are_none_are_refused_where_the_application_is_made(
    settings: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        SpoolQ(f"sqlite:///{tmp_path}/jobs.db", **settings)


def test_a_share_may_be_none(tmp_path: Path) -> None:
    assert Settings(scale_cpu="none").scale_cpu is None  # type: ignore[arg-type]
