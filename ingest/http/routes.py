"""What each route does with a body that has come whole, of a writer who is known."""

from collections.abc import Callable
from functools import partial

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ingest.decoding.otlp_span import SpanProjects
from ingest.http.litellm_bodies import read_payloads
from ingest.http.otlp_bodies import answer, read_request
from ingest.http.refusal import json_answer
from ingest.http.sending import Sending
from ingest.http.weave_bodies import NoBody, ReadBody, read_batch, read_single
from ingest.http.weave_objects import file_digest, graphql_answer, object_digest
from ingest.http.writers import Writer

PROJECT_HEADER = "project_id"
"""The header of a request with the project of its spans and payloads."""
_NO_TRACE = (b"null", b'""')


class _CallIds(msgspec.Struct):
    """All that is looked at of a call here, as it came: the worker checks it, and what else there is."""

    id: msgspec.Raw
    trace_id: msgspec.Raw = msgspec.Raw(b"null")


class EventRoutes:
    """The routes that send events. `default_project`: whose spans and payloads are that name no project."""

    def __init__(self, sending: Sending, default_project: str) -> None:
        self._sending = sending
        self._default_project = default_project

    async def complete(self, request: Request, writer: Writer, body: bytes) -> Response:
        """Weave's batch of whole calls."""
        await self._send(writer, read_batch(body, bare=True))
        return json_answer(200, {})

    async def upsert(self, request: Request, writer: Writer, body: bytes) -> Response:
        """Weave's batch of starts and ends."""
        read = read_batch(body, bare=False)
        await self._send(writer, read)
        return json_answer(200, {"res": [{}] * (len(read.events) + len(read.bad))})

    async def single(self, request: Request, writer: Writer, body: bytes) -> Response:
        """Weave's start or end of its own."""
        read = read_single(body)
        await self._send(writer, read)
        return json_answer(200, _ids(read))

    async def spans(self, request: Request, writer: Writer, body: bytes) -> Response:
        """OTLP's spans."""
        projects = SpanProjects(request.headers.get(PROJECT_HEADER, ""), self._fallback(writer))
        read = read_request(body, projects, self._sending.clock())
        await self._sending.send(writer, read.events)
        content, media_type = answer(read, request.headers.get("content-type", ""))
        return Response(content, media_type=media_type)

    async def payloads(self, request: Request, writer: Writer, body: bytes) -> Response:
        """LiteLLM's payloads."""
        project_id = request.headers.get(PROJECT_HEADER) or self._fallback(writer)
        if not project_id:
            raise NoBody(f"Say whose calls these are: by the header {PROJECT_HEADER}, or a key of one project.")
        await self._send(writer, read_payloads(body, project_id))
        return json_answer(200, {})

    async def _send(self, writer: Writer, read: ReadBody) -> None:
        await self._sending.send(writer, read.events, read.bad)

    def _fallback(self, writer: Writer) -> str:
        """The one project that the key is for, else the one that is set."""
        return writer.projects[0] if writer.projects and len(writer.projects) == 1 else self._default_project


async def digest_of_object(request: Request, writer: Writer, body: bytes) -> Response:
    """Weave's publishing of an object, such as an op; nothing of it is kept."""
    return _digest_answer(partial(object_digest, body))


async def digest_of_file(request: Request, writer: Writer, body: bytes) -> Response:
    """Weave's upload of a file, such as an op's code; nothing of it is kept."""
    return _digest_answer(partial(file_digest, body, request.headers.get("content-type", "")))


async def graphql(request: Request, writer: Writer, body: bytes) -> Response:
    """The queries that Weave's clients begin with."""
    try:
        return json_answer(200, graphql_answer(body))
    except ValueError as wrong:
        raise NoBody(str(wrong)) from None


def _ids(read: ReadBody) -> dict[str, msgspec.Raw]:
    """Return what a start is answered with: its ids, as clients of older versions expect them."""
    for event in read.events:
        (call,) = msgspec.json.decode(event.value, type=dict[str, _CallIds]).values()
        return {"id": call.id, "trace_id": call.id if bytes(call.trace_id) in _NO_TRACE else call.trace_id}
    return {}


def _digest_answer(digest: Callable[[], str]) -> Response:
    try:
        return json_answer(200, {"digest": digest()})
    except ValueError as wrong:
        raise NoBody(str(wrong)) from None
