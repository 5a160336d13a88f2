"""The application: the guard in front, the views' routes, the stream, what is static, and what machines ask."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Collection
from typing import TYPE_CHECKING, Any

from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from spoolq.dashboard import machines, views
from spoolq.dashboard.access import Door
from spoolq.dashboard.desk import Desk
from spoolq.dashboard.guard import HEADERS, Guard
from spoolq.dashboard.serving import Serving
from spoolq.units import when

if TYPE_CHECKING:
    from starlette.requests import Request

    from spoolq.app import SpoolQ
    from spoolq.dashboard.access import Visitor

STREAMS = 200
"""Open at the same time; who comes later gets a page that doesn't move."""

INTERVALS = (2, 5, 15, 60)


def assemble(
    q: SpoolQ,
    *,
    password: str | None,
    authorize: Callable[[Visitor, str], bool] | None,
    read_only: bool,
    hosts: Collection[str] | None,
    redact: Callable[[str, Any], Any] | None,
    prefix: str = "",
) -> Starlette:
    """As `create_app`, which has checked the arguments. `prefix`: under which a proxy in front shows it."""
    desk = Desk(q, read_only=read_only, authorize=authorize, redact=redact)
    serving = Serving(desk, views.VIEWS, views.ACTIONS)
    app = Starlette(
        routes=[
            *serving.routes(),
            Route("/live", _live(desk), methods=["GET"]),
            *machines.routes(q, desk),
            Mount("/static", _Static(packages=[("spoolq.dashboard", "static")]), name="static"),
        ],
        middleware=[Middleware(Guard, door=None if password is None else Door(password), hosts=hosts, prefix=prefix)],
        exception_handlers={
            Exception: lambda *_: PlainTextResponse(  # outside of the guard, which gives all others their headers
                "This failed; the log of the dashboard says why. No job is touched by that.\n",
                500,
                {**HEADERS, "Cache-Control": "no-store"},
            ),
            404: lambda request, _: serving.problem(request, 404, "There is no such page."),
            405: lambda request, _: serving.problem(request, 405, "That can't be done here."),
        },
    )
    app.state.desk = desk
    return app


def own_paths() -> set[str]:
    """Those that no prefix may be: one couldn't tell whether the proxy has taken that away, or asks for the page."""
    return {
        "/live",
        "/livez",
        "/readyz",
        "/metrics",
        "/static",
        *(view.path for view in views.VIEWS),
        *(one.path for one in views.ACTIONS),
    }


def _live(desk: Desk) -> Callable[[Request], Any]:
    """The stream: an event at each new sample, in words; the page then fetches what it shows anew."""

    async def events(every: float) -> AsyncIterator[dict[str, str]]:
        async for sample in desk.sampler.samples(every):
            verdict = desk.judge(sample.facts)
            facts = {"at": when(sample.facts.at), "state": verdict.word, "lost": verdict.lost, "do": verdict.todo}
            facts["sentence"] = verdict.sentence
            yield {"event": "sample", "id": str(sample.number), "data": json.dumps(facts)}

    async def live(request: Request) -> Response:
        if not await run_in_threadpool(desk.may, request.scope["spoolq.visitor"], "view"):
            return PlainTextResponse("You may not see this.\n", 403)
        if desk.sampler.streams >= STREAMS:
            return PlainTextResponse("Too many pages are open.\n", 503, {"Retry-After": "60"})
        asked = request.query_params.get("every", "")
        every = next((one for one in INTERVALS if str(one) == asked), INTERVALS[0])
        return EventSourceResponse(events(every), ping=15, send_timeout=10)

    return live


class _Static(StaticFiles):
    """Files of the package, which a browser asks for again only when they may have changed."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response
