"""The peers themselves work: what the other interop tests stand on."""

from __future__ import annotations

import pytest

from tests.interop.conftest import Node

pytestmark = pytest.mark.node


def test_a_stock_worker_runs_what_a_stock_producer_enqueued(node: Node) -> None:
    assert node.run("producer", "--queue", "mail", "--class", "SendMail", "--count", "3")["accepted"] == 3
    assert node.inspect()["queues"]["mail"]["length"] == 3
    worker = node.work("--idle-ms", "2000")
    assert [event["job"]["args"] for event in worker.of("performed")] == [[0], [1], [2]]
    assert node.inspect()["queues"]["mail"]["length"] == 0


def test_a_stock_failure_is_seen_and_removed(node: Node) -> None:
    node.run("producer", "--queue", "mail", "--class", "SendMail")
    node.work("--idle-ms", "2000", "--fail", "--fail-name", "TypeError")
    assert [entry["exception"] for entry in node.inspect()["failed"]] == ["TypeError"]
    assert node.inspect("--remove-failed", "0")["actions"]["removeFailed"] == {"ok": True, "value": 1}
    assert node.inspect()["failedCount"] == 0
