"""Spans that are kept in memory, by OpenTelemetry's SDK."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def kept() -> tuple[TracerProvider, InMemorySpanExporter]:
    """A provider, to be set, and the exporter in which its spans end."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


def written(span: ReadableSpan) -> dict[str, Any]:
    """What a test looks at, as JSON can hold it."""
    context, parent = span.get_span_context(), span.parent
    assert context is not None
    return {
        "name": span.name,
        "kind": span.kind.name,
        "trace": f"{context.trace_id:032x}",
        "id": f"{context.span_id:016x}",
        "parent": None if parent is None else f"{parent.span_id:016x}",
        "links": [f"{link.context.trace_id:032x}-{link.context.span_id:016x}" for link in span.links],
        "status": span.status.status_code.name,
        "attributes": dict(span.attributes or {}),
        "events": [{"name": event.name, **dict(event.attributes or {})} for event in span.events],
        "start": span.start_time,
        "end": span.end_time,
    }


def tree(spans: Sequence[dict[str, Any]]) -> str:
    """The traces as people read them: each span under its parent, its links beside it."""
    ids = {span["id"] for span in spans}
    begun = min(span["start"] for span in spans)
    lines: list[str] = []

    def show(span: dict[str, Any], depth: int) -> None:
        at, took = (span["start"] - begun) / 1e6, (span["end"] - span["start"]) / 1e6
        attributes = {key.removeprefix("messaging."): value for key, value in span["attributes"].items()}
        lines.append(f"{'  ' * depth}{span['name']} [{span['kind'].lower()}] +{at:.1f} ms, {took:.2f} ms {attributes}")
        lines.extend(f"{'  ' * depth}  ~ linked to trace {link[:8]}… span {link[33:41]}…" for link in span["links"])
        for child in sorted((one for one in spans if one["parent"] == span["id"]), key=lambda one: one["start"]):
            show(child, depth + 1)

    for root in sorted((span for span in spans if span["parent"] not in ids), key=lambda one: one["start"]):
        lines.append(f"trace {root['trace'][:8]}… (root span {root['id'][:8]}…)")
        show(root, 1)
    return "\n".join(lines)


def dump(path: str) -> Callable[[], None]:
    """What appends all spans of this process to a file, one JSON a line, when it is called: at the end of a process."""
    provider, exporter = kept()
    trace.set_tracer_provider(provider)

    def write() -> None:
        with open(path, "a") as file:
            for span in exporter.get_finished_spans():
                file.write(json.dumps(written(span)) + "\n")
        sys.stdout.flush()

    return write
