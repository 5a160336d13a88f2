"""Probes and metrics on the dashboard."""

from __future__ import annotations

import pytest

from spoolq import SpoolQ, metrics
from spoolq.errors import ConfigError
from tests.unit.dashboard.hands import browser
from tests.waiting import eventually


def test_an_outage_that_the_spool_absorbs_is_ready_and_degraded(q: SpoolQ) -> None:
    client = browser(q)
    assert client.get("/livez").json() == {"schema": 1, "live": True}
    eventually(lambda: client.get("/readyz").status_code == 200)  # the first look is a slow one
    assert client.get("/readyz").json()["state"] == "degraded"


def test_what_readiness_says_of_jobs_is_their_number(q: SpoolQ) -> None:
    for n in range(5):
        q.remote("send", "mail").enqueue(n)
    client = browser(q)
    eventually(lambda: "5 jobs are safe in the spool" in client.get("/readyz").json()["summary"])


def test_metrics_are_those_of_the_exporter(q: SpoolQ) -> None:
    q.spool.ready(2.0)  # type: ignore[union-attr]
    answer = browser(q).get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "spoolq_build_info" in answer.text
    assert "spoolq_spool_bytes" in answer.text
    opened = browser(q).get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert opened.headers["content-type"].startswith("application/openmetrics-text")


def test_metrics_ask_for_the_password_and_for_leave(q: SpoolQ) -> None:
    assert browser(q, password="tiger").get("/metrics").status_code == 401
    assert browser(q, authorize=lambda visitor, action: False).get("/metrics").status_code == 403


def test_without_their_package_metrics_are_one_line(q: SpoolQ, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise ConfigError("metrics need: pip install 'spoolq[metrics]'")

    monkeypatch.setattr(metrics, "page", missing)
    answer = browser(q).get("/metrics")
    assert (answer.status_code, answer.text) == (501, "metrics need: pip install 'spoolq[metrics]'\n")
