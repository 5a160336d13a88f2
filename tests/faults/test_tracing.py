"""One trace from the request through an outage, the spool and the drain to the worker, over real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.traced import story


@pytest.mark.parametrize("wire", ["python", "resque"])
def test_one_trace_goes_through_an_outage(tmp_path: Path, wire: str) -> None:
    spans, went = story(tmp_path, wire)
    assert went == ["spool", "spool"]
    by_name: dict[str, list[dict[str, object]]] = {}
    for span in spans:
        by_name.setdefault(str(span["name"]), []).append(span)
    assert {name: len(found) for name, found in by_name.items()} == {
        "POST /orders": 1,
        "send mail": 2,
        "drain mail": len(by_name["drain mail"]),  # a drainer begins with small batches
        "process mail": 2,
    }
    [request] = by_name["POST /orders"]
    sent, ran, drained = by_name["send mail"], by_name["process mail"], by_name["drain mail"]
    assert {span["trace"] for span in (*sent, *ran)} == {request["trace"]}
    assert {span["parent"] for span in sent} == {request["id"]}
    assert sorted(str(span["parent"]) for span in ran) == sorted(str(span["id"]) for span in sent)
    links = [link for span in drained for link in span["links"]]  # type: ignore[attr-defined]
    assert sorted(links) == sorted(f"{span['trace']}-{span['id']}" for span in sent)
    assert {span["kind"] for span in drained} == {"CLIENT"}
    assert {span["attributes"]["messaging.operation.type"] for span in drained} == {"settle"}  # type: ignore[index]
    assert {span["attributes"]["spoolq.route"] for span in sent} == {"spool"}  # type: ignore[index]
    assert "a@example.com" not in str(spans)
