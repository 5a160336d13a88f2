"""Spans of OpenTelemetry: `send` where a job is enqueued, `drain` where it goes from a spool into the primary, `process` where it
runs. docs/tracing.md shows them.

Only for who has set up OpenTelemetry: callers look for `LOADED` in `sys.modules`, call nothing here without, and then ask
whether it is `active`. What an SDK, or whatever is plugged into one, fails at is told once, and keeps no job from its way. Names
are those of the semantic conventions (https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/), the context
travels as W3C Trace Context (https://www.w3.org/TR/trace-context/), in the payload beside `class` and `args`.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, wraps
from sys import modules
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from spoolq.errors import Discard, Retry
from spoolq.job import Job, Receipt, Trace
from spoolq.version import VERSION

if TYPE_CHECKING:
    from concurrent.futures import Future

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, SpanContext, Tracer

log = logging.getLogger("spoolq")

P = ParamSpec("P")
T = TypeVar("T")

LOADED = "opentelemetry.trace"
"""In `sys.modules` where anybody in this process uses OpenTelemetry."""

LONG = 60.0
"""Seconds of waiting after which a run begins a trace of its own, linked to the one that enqueued it."""

LINKS = 128
"""Of one span, as many as SDKs keep."""

_PARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_LONGEST_STATE = 512  # characters that everybody has to pass on


def active() -> bool:
    """Where it is loaded: whether anybody has set it up. redis-py 8, for one, loads what it finds installed."""
    # As the API keeps it. Its own question (get_tracer_provider) reads the environment each time, 3 microseconds of an enqueue
    api = modules[LOADED]
    provider = getattr(api, "_TRACER_PROVIDER", api)
    if provider is api:  # another thread loads it still, which an import here would wait for; or an API that keeps it elsewhere
        return not getattr(api.__spec__, "_initializing", False)
    return provider is not None


def read(fields: Mapping[str, Any]) -> Trace | None:
    """From a payload's fields; None where there is none, or what is there is none."""
    parent, state = fields.get("traceparent"), fields.get("tracestate")
    if not isinstance(parent, str) or len(parent) > _LONGEST_STATE or not _PARENT.fullmatch(parent):
        return None
    return Trace(parent, state if isinstance(state, str) and state.isprintable() and len(state) <= _LONGEST_STATE else "")


def written(trace: Trace) -> dict[str, str]:
    """The fields for a payload."""
    return {"traceparent": trace.parent, "tracestate": trace.state} if trace.state else {"traceparent": trace.parent}


def stamped(job: Job, trace: Trace | None) -> Job:
    """With this context, or none, as all that comes after it: a chain is one trace."""
    after = tuple(stamped(one, trace) for one in job.after)
    batch = None if job.batch is None else job.batch._replace(then=stamped(job.batch.then, trace))
    return replace(job, trace=trace, after=after, batch=batch)


def _spared(step: Callable[P, object]) -> Callable[P, None]:
    """The step, which raises nothing."""

    @wraps(step)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            step(*args, **kwargs)
        except Exception as error:
            _tell(type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))

    return call


@cache
def _tell(name: str, where: str) -> None:
    log.warning("tracing failed (%s), and jobs go on without a span; it is told once\n%s", name, where)


class Sending:
    """The span of one call of enqueue. `jobs` are those to be stored, with its context, as are all that are to follow them."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        from opentelemetry.trace import INVALID_SPAN

        self.jobs = jobs
        self._span: Span = INVALID_SPAN
        self._begin(jobs)

    @_spared
    def _begin(self, jobs: Sequence[Job]) -> None:
        from opentelemetry.trace import SpanKind, set_span_in_context

        queues = {job.queue for job in jobs}
        self._span = _tracer().start_span(
            _named("send", queues),
            kind=SpanKind.PRODUCER,
            attributes=_attributes("send", "send", queues, [job.id for job in jobs]),
        )
        trace = _trace_of(set_span_in_context(self._span))
        self.jobs = jobs if trace is None else tuple(stamped(job, trace) for job in jobs)

    @_spared
    def stored(self, receipts: Sequence[Receipt]) -> None:
        """They are stored; the span has ended."""
        if receipts:
            self._span.set_attribute("spoolq.route", receipts[-1].route)
        self._span.end()

    @_spared
    def failed(self, error: BaseException) -> None:
        """They are not; the span has ended."""
        _failed(self._span, error)
        self._span.end()

    @_spared
    def done(self, call: Future[list[Receipt]]) -> None:
        """One of these, by how the call on another thread has ended."""
        from concurrent.futures import CancelledError

        error = CancelledError() if call.cancelled() else call.exception()
        if error is not None:
            self.failed(error)
        else:
            self.stored(call.result())


class Processing:
    """The span of one run of a job, the current one until `leave`; a coroutine that is to go on keeps it in its own context."""

    def __init__(self, job: Job, now: float) -> None:
        from opentelemetry.trace import INVALID_SPAN

        self._span: Span = INVALID_SPAN
        self._token: Any = None
        self._begin(job, now)

    @_spared
    def _begin(self, job: Job, now: float) -> None:
        from opentelemetry import context
        from opentelemetry.trace import SpanKind, set_span_in_context

        sent = None if job.trace is None else _extracted(job.trace)
        waited = 0.0 if job.enqueued_at is None else now - job.enqueued_at
        apart = job.ended > 0 or job.run > 0 or waited > LONG
        self._span = _tracer().start_span(
            _named("process", {job.queue}),
            context=_root() if sent is None or apart else sent,
            kind=SpanKind.CONSUMER,
            links=_links([sent]) if sent is not None and apart else (),
            attributes={
                **_attributes("process", "process", {job.queue}, [job.id]),
                "spoolq.task": job.task,
                "spoolq.attempt": job.ended + 1,
            },
        )
        self._token = context.attach(set_span_in_context(self._span))

    @_spared
    def leave(self) -> None:
        """The thread goes on to other things."""
        from opentelemetry import context

        if self._token is not None:
            context.detach(self._token)

    @_spared
    def end(self, error: BaseException | None = None) -> None:
        """The task has returned, or raised this. A retry or discard that it asked for is no error."""
        if error is not None and not isinstance(error, Retry | Discard):
            _failed(self._span, error)
        self._span.end()


def draining(traces: Iterable[Trace | None], queues: set[str], rows: int, put: Callable[[], T]) -> T:
    """Put rows of a spool into the primary, as a span that is linked to where each was enqueued. Raises what that raises."""
    span = _Draining()
    span.begin(traces, queues, rows)
    try:
        result = put()
    except BaseException as error:
        span.end(error)
        raise
    span.end()
    return result


class _Draining:
    _span: Span | None = None

    @_spared
    def begin(self, traces: Iterable[Trace | None], queues: set[str], rows: int) -> None:
        from opentelemetry.trace import SpanKind

        sent = [_extracted(trace) for trace in traces if trace is not None][:LINKS]
        self._span = _tracer().start_span(
            _named("drain", queues),
            context=_root(),
            kind=SpanKind.CLIENT,
            links=_links(sent),
            attributes={**_attributes("drain", "settle", queues, ()), "messaging.batch.message_count": rows},
        )

    @_spared
    def end(self, error: BaseException | None = None) -> None:
        if self._span is not None:
            if error is not None:
                _failed(self._span, error)
            self._span.end()


def _tracer() -> Tracer:
    from opentelemetry import trace

    return trace.get_tracer("spoolq", VERSION)


def _root() -> Context:
    from opentelemetry.context import Context

    return Context()


def _named(operation: str, queues: set[str]) -> str:
    return f"{operation} {next(iter(queues))}" if len(queues) == 1 else operation


def _attributes(operation: str, kind: str, queues: set[str], ids: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "messaging.system": "spoolq",
        "messaging.operation.name": operation,
        "messaging.operation.type": kind,
    }
    if len(queues) == 1:
        found["messaging.destination.name"] = next(iter(queues))
    if len(ids) == 1:
        found["messaging.message.id"] = ids[0]
    elif ids:
        found["messaging.batch.message_count"] = len(ids)
    return found


def _trace_of(current: Context) -> Trace | None:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, current)  # nothing, where no SDK makes a context
    return read(carrier)


def _extracted(trace: Trace) -> Context:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract(written(trace), _root())


def _links(sent: Sequence[Context]) -> list[Link]:
    from opentelemetry.trace import Link, get_current_span

    contexts: list[SpanContext] = [get_current_span(each).get_span_context() for each in sent]
    return [Link(each) for each in contexts if each.is_valid]


def _failed(span: Span, error: BaseException) -> None:
    """What was raised, and where: its text is left out, which may hold a job's arguments."""
    from opentelemetry.trace import Status, StatusCode

    name = type(error).__name__
    span.set_status(Status(StatusCode.ERROR, name))
    span.set_attribute("error.type", name)
    where = "".join(traceback.format_tb(error.__traceback__))
    span.add_event("exception", {"exception.type": name, "exception.stacktrace": where})
