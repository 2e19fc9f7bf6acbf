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

from ingest.http.body import BodyLimits, BodyRoom, read_body
from ingest.http.refusal import Refused, json_answer
from ingest.http.sending import Sending
from ingest.http.weave_bodies import NoBody, ReadBody, read_batch, read_single
from ingest.http.weave_objects import OLDEST_CLIENT, file_digest, graphql_answer, object_digest
from ingest.http.writers import Writer, Writers

log = logging.getLogger(__name__)

_Work = Callable[[Request, Writer, bytes], Awaitable[Response]]
_Ready = Callable[[], None]

PATHS = re.compile(
    r"/server_info|/graphql|/v2/[^/]+/[^/]+/(?:calls/complete|call/start|call/end)|/call/(?:start|end|upsert_batch)"
    r"|/obj/create|/file/create"
)
"""The paths that are the gateway's where one address serves the api too."""


class GatewayLimits(msgspec.Struct, frozen=True):
    """What requests may cost."""

    body: BodyLimits = BodyLimits()


def make_gateway(sending: Sending, writers: Writers, limits: GatewayLimits) -> Starlette:
    """The app. Its routes share only these and the room there is for bodies."""
    room = BodyRoom(limits.body.all_bytes_max)

    def route(path: str, work: _Work, *methods: str) -> Route:
        return Route(path, partial(_respond, work, writers, limits, room), methods=methods or ("POST",))

    async def complete(request: Request, writer: Writer, body: bytes) -> Response:
        await _send(writer, read_batch(body, bare=True))
        return json_answer(200, {})

    async def upsert(request: Request, writer: Writer, body: bytes) -> Response:
        read = read_batch(body, bare=False)
        await _send(writer, read)
        return json_answer(200, {"res": [{}] * (len(read.events) + len(read.bad))})

    async def single(request: Request, writer: Writer, body: bytes) -> Response:
        read = read_single(body)
        await _send(writer, read)
        return json_answer(200, _ids(read))

    async def _send(writer: Writer, read: ReadBody) -> None:
        await sending.send(writer, read.events, read.bad)

    app = Starlette(
        routes=[
            Route("/server_info", _server_version),
            route("/graphql", _graphql),
            route("/v2/{entity}/{project}/calls/complete", complete),
            route("/v2/{entity}/{project}/call/start", single),
            route("/v2/{entity}/{project}/call/end", single),
            route("/call/start", single),
            route("/call/end", single),
            route("/call/upsert_batch", upsert),
            route("/obj/create", _object),
            route("/file/create", _file),
            Route("/health", _health),
        ],
        exception_handlers={HTTPException: _no_such_route},
    )
    app.router.redirect_slashes = False
    return app


async def _respond(work: _Work, writers: Writers, limits: GatewayLimits, room: BodyRoom, request: Request) -> Response:
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
        log.exception("%s failed", request.url.path)
        return json_answer(500, {"detail": "The gateway made a mistake; it has been logged."})


def _ids(read: ReadBody) -> dict[str, str]:
    """What a start is answered with: its ids, as clients of older versions expect them."""
    for event in read.events:
        fields = next(iter(msgspec.json.decode(event.value).values()))
        return {"id": str(fields["id"]), "trace_id": str(fields.get("trace_id") or fields["id"])}
    return {}


async def _object(request: Request, writer: Writer, body: bytes) -> Response:
    return _digest_answer(partial(object_digest, body))


async def _file(request: Request, writer: Writer, body: bytes) -> Response:
    return _digest_answer(partial(file_digest, body, request.headers.get("content-type", "")))


async def _graphql(request: Request, writer: Writer, body: bytes) -> Response:
    try:
        return json_answer(200, graphql_answer(body))
    except ValueError as wrong:
        raise NoBody(str(wrong)) from None


def _digest_answer(digest: Callable[[], str]) -> Response:
    try:
        return json_answer(200, {"digest": digest()})
    except ValueError as wrong:
        raise NoBody(str(wrong)) from None


async def _server_version(request: Request) -> Response:
    return json_answer(200, OLDEST_CLIENT)


async def _health(request: Request) -> Response:
    return json_answer(200, {"status": "ok"})


async def _no_such_route(request: Request, refused: Exception) -> Response:
    """404 and 405, which the router raises."""
    assert isinstance(refused, HTTPException)
    return json_answer(refused.status_code, {"detail": refused.detail}, refused.headers)
