"""The disk has time: how long an enqueue waits for it by itself, two seconds, is less than a busy machine may take."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _patient(no_settings_from_outside: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOOLQ_DISK_LIMIT", "20s")
