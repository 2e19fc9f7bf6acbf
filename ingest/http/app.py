"""The gateway as an ASGI app, wired in one place: who sends, what a body holds, and the answer once Kafka has it."""

import logging
import re
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ingest.http.body import BodyBudget, BodyLimits, read_body
from ingest.http.refusal import Refused, json_answer
from ingest.http.routes import EventRoutes, digest_of_file, digest_of_object, graphql
from ingest.http.sending import Sending
from ingest.http.weave_bodies import NoBody
from ingest.http.weave_objects import OLDEST_CLIENT
from ingest.http.writers import Writer, Writers

log = logging.getLogger(__name__)

_Work = Callable[[Request, Writer, bytes], Awaitable[Response]]

PATHS = re.compile(
    r"/server_info|/graphql|/v2/[^/]+/[^/]+/(?:calls/complete|call/start|call/end)|/call/(?:start|end|upsert_batch)"
    r"|/obj/create|/file/create|(?:/agents/otel|/otel)?/v1/traces|/litellm"
)
"""The paths that are the gateway's where one address serves the api too."""


class GatewayLimits(msgspec.Struct, frozen=True):
    """What requests may cost, and whose spans and payloads are that name no project."""

    body: BodyLimits = BodyLimits()
    default_project: str = ""


def make_gateway(sending: Sending, writers: Writers, limits: GatewayLimits) -> Starlette:
    """The app. Its routes share only these and the room there is for bodies."""
    room = BodyBudget(limits.body.all_bytes_max)
    events = EventRoutes(sending, limits.default_project)
    posted: dict[str, _Work] = {
        "/graphql": graphql,
        "/v2/{entity}/{project}/calls/complete": events.complete,
        "/v2/{entity}/{project}/call/start": events.single,
        "/v2/{entity}/{project}/call/end": events.single,
        "/call/start": events.single,
        "/call/end": events.single,
        "/call/upsert_batch": events.upsert,
        "/obj/create": digest_of_object,
        "/file/create": digest_of_file,
        "/v1/traces": events.spans,
        "/otel/v1/traces": events.spans,
        "/agents/otel/v1/traces": events.spans,
        "/litellm": events.payloads,
    }
    routes = [
        Route(path, partial(_respond, work, writers, limits, room), methods=["POST"]) for path, work in posted.items()
    ]
    routes += [Route("/server_info", _server_version), Route("/health", _health)]
    routes += [Route("/ready", partial(_ready, sending))]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _no_such_route})
    app.router.redirect_slashes = False
    return app


async def _respond(
    work: _Work, writers: Writers, limits: GatewayLimits, room: BodyBudget, request: Request
) -> Response:
    """The response of a route, for every way it can fail too."""
    try:
        writer = await writers.writer(request.headers.get("authorization"))
        with room.holding() as take:
            body = await read_body(request, limits.body, take)
            return await work(request, writer, body)
    except NoBody as wrong:
        return json_answer(400, {"detail": str(wrong)})
    except Refused as refused:
        return json_answer(refused.status, {"detail": refused.sentence}, refused.headers)
    except Exception:
        log.exception("a request failed", extra={"path": request.url.path})
        return json_answer(500, {"detail": "The gateway made a mistake; it has been logged."})


async def _server_version(request: Request) -> Response:
    return json_answer(200, OLDEST_CLIENT)


async def _health(request: Request) -> Response:
    return json_answer(200, {"status": "ok"})


async def _ready(sending: Sending, request: Request) -> Response:
    why = await sending.why_unready()
    return json_answer(200, {"status": "ok"}) if why is None else json_answer(503, {"status": "not ready", "why": why})


async def _no_such_route(request: Request, refused: Exception) -> Response:
    """404 and 405, which the router raises."""
    assert isinstance(refused, HTTPException)
    return json_answer(refused.status_code, {"detail": refused.detail}, refused.headers)
