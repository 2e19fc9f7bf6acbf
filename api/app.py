"""The HTTP app, wired in one place: who asks, what is asked, the answer, and what to say when there is none."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from api.access.basic_auth import Access, forbidden, wall_clock_us
from api.contract.docs_page import docs_page
from api.contract.openapi import openapi_document
from api.contract.stats_request import read_stats_question
from api.contract.usage_request import read_usage_question
from api.headers import Freshness, freshness_headers
from api.http.admission import Admission
from api.http.body import BodyLimits, read_body
from api.http.loopback_names import LoopbackNamesOnly
from api.page.serving import page_routes
from api.query.questions import StatsQuestion, UsageQuestion
from api.refusals import Refusal, StoreAway, away_response, json_response, refusal_response

log = logging.getLogger(__name__)

_Endpoint = Callable[[Request], Awaitable[Response]]
# The page needs no script and nothing from elsewhere; so nothing else may run in it.
_PAGE_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


class Answers(Protocol):
    """Where the answers come from. Raises Refusal for what it cannot answer, StoreAway while Redis is away."""

    async def stats(self, question: StatsQuestion, now_us: int) -> tuple[bytes, Freshness]:
        """The JSON of a CallStatsRes."""
        ...

    async def usage(self, question: UsageQuestion) -> tuple[bytes, Freshness]:
        """The JSON of a CallsUsageRes."""
        ...

    async def ready(self) -> None:
        """Returns when Redis answers and its layout is ours."""
        ...


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """`clock` is the `now` of all answers, in microseconds since the epoch."""

    clock: Callable[[], int] = wall_clock_us
    body: BodyLimits = field(default_factory=BodyLimits)
    # Questions that are being answered; those beyond 64 wait for a connection to Redis, a few milliseconds each.
    answers_max: int = 1_000
    # Without access keys any page in a browser on this machine could ask, under a name of its own that leads here.
    loopback_names_only: bool = False
    # Redis is back within seconds of a restart or a failover.
    retry_after_s: int = 2


def make_app(answers: Answers, access: Access, settings: ApiSettings) -> Starlette:
    """The app. Its routes share nothing but these three, and the room there is for all requests."""
    bodies = Admission("bytes of large bodies", settings.body.large_bytes_max)
    answering = Admission("questions", settings.answers_max)

    async def stats(request: Request) -> Response:
        reader = await access.reader(request.headers.get("authorization"))
        body = await read_body(request, settings.body, bodies)
        now_us = settings.clock()
        question = read_stats_question(body, now_us)
        if not reader.may_read(question.project_id):
            raise forbidden()
        with answering.holding(1):
            return _answer(*await answers.stats(question, now_us))

    async def usage(request: Request) -> Response:
        reader = await access.reader(request.headers.get("authorization"))
        question = read_usage_question(await read_body(request, settings.body, bodies))
        if not reader.may_read(question.project_id):
            raise forbidden()
        with answering.holding(1):
            return _answer(*await answers.usage(question))

    async def ready(request: Request) -> Response:
        await answers.ready()
        return json_response(200, {"status": "ok"})

    guarded = partial(_guarded, retry_after_s=settings.retry_after_s)
    app = Starlette(
        routes=[
            Route("/calls/stats", guarded(stats), methods=["POST"]),
            Route("/calls/usage", guarded(usage), methods=["POST"]),
            Route("/health", _health),
            Route("/ready", guarded(ready)),
            Route("/openapi.json", _openapi),
            Route("/docs", _docs),
            *page_routes(),
        ],
        exception_handlers={HTTPException: _no_such_route},
        middleware=[Middleware(LoopbackNamesOnly)] if settings.loopback_names_only else [],
    )
    app.router.redirect_slashes = False  # a wrong path is a 404, not a detour
    return app


def _guarded(endpoint: _Endpoint, retry_after_s: int) -> _Endpoint:
    """The endpoint with a response for every way it can fail."""

    async def respond(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Refusal as refusal:
            return refusal_response(refusal)
        except StoreAway as trouble:
            log.warning("%s: the store is away: %s", request.url.path, trouble)
            return away_response(retry_after_s)
        except Exception:
            log.exception("%s failed", request.url.path)
            return json_response(500, {"detail": "The server made a mistake; it has been logged."})

    return respond


def _answer(body: bytes, freshness: Freshness) -> Response:
    headers = freshness_headers(freshness) | {"Cache-Control": "no-store"}
    return Response(body, headers=headers, media_type="application/json")


async def _health(request: Request) -> Response:
    return json_response(200, {"status": "ok"})


async def _openapi(request: Request) -> Response:
    return json_response(200, openapi_document())


async def _docs(request: Request) -> Response:
    return HTMLResponse(docs_page(), headers=_PAGE_HEADERS)


async def _no_such_route(request: Request, refused: Exception) -> Response:
    """404 and 405, which the router raises."""
    assert isinstance(refused, HTTPException)
    return json_response(refused.status_code, {"detail": refused.detail}, refused.headers)
