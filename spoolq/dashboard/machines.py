"""What machines ask: probes and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from spoolq import metrics, probes
from spoolq.dashboard.desk import ASKING, Desk
from spoolq.dashboard.serving import document
from spoolq.errors import ConfigError
from spoolq.facts import gather
from spoolq.units import MANY

if TYPE_CHECKING:
    from starlette.requests import Request

    from spoolq.app import SpoolQ


def routes(q: SpoolQ, desk: Desk) -> list[Route]:
    """`/livez` and `/readyz`, which ask for no password, and `/metrics`, which is a page like others."""
    readiness = probes.Readiness(lambda: gather(q, ASKING, connect=0.0, most=MANY))

    async def livez(_: Request) -> Response:
        answer = probes.livez()
        return document(answer.body, answer.status)

    async def readyz(_: Request) -> Response:
        answer = await run_in_threadpool(readiness.readyz)
        return document(answer.body, answer.status)

    async def scrape(request: Request) -> Response:
        if not await run_in_threadpool(desk.may, request.scope["spoolq.visitor"], "view"):
            return PlainTextResponse("You may not see this.\n", 403)
        try:
            body, kind = await run_in_threadpool(metrics.page, q, request.headers.get("accept", ""))
        except ConfigError as error:
            return PlainTextResponse(f"{error}\n", 501)
        return Response(body, headers={"Content-Type": kind})

    return [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", scrape)]
