"""Whatever happens to the api or to Redis, a stream ends with what a question answers then."""

import asyncio
import json
import random
import socket
from collections.abc import Generator
from contextlib import ExitStack, closing
from itertools import islice
from typing import Any
from urllib.parse import quote

import pytest
import redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aggregator.store.connection import connect_readers
from aggregator.store.reader import StoreReader
from api.access.basic_auth import OpenAccess
from api.app import ApiSettings, make_app
from api.http.connection import ConnectionLimits
from api.query.answers import StoreAnswers
from api.query.stream_watches import StreamLimits
from tests.support.folding import KEEP_ALL, PROJECT, T0_US, apply, complete, open_shard, tokens
from tests.support.serving import Serving, request, status_of

NOW_US = T0_US + 3_600_000_000
SOON_S = 0.05
STEPS = 12
# Answers and signs of life, five a second, until a stream must have caught up.
EVENTS_MAX = 300
SERVER_AND_THIS_REQUEST = 2  # tasks of the api's loop when nothing is watched any more
QUESTION = {"project_id": PROJECT, "start": "-2h", "dimension": "op_name", "call_metrics": [{"metric": "latency_ms"}]}


def app_on(redis_url: str) -> Starlette:
    """An api as after a start: nothing in its memory."""
    client = connect_readers(redis_url)
    answers = StoreAnswers(StoreReader(client, "callmeter"), KEEP_ALL, lambda: NOW_US)
    streams = StreamLimits(SOON_S, heartbeat_s=4 * SOON_S)
    app = make_app(answers, OpenAccess(), ApiSettings(clock=lambda: NOW_US, streams=streams))

    async def close(_: Request) -> Response:
        # A watch that goes on would connect again afterwards, and a loop with an open connection does not close.
        while len(asyncio.all_tasks()) > SERVER_AND_THIS_REQUEST:
            await asyncio.sleep(0.01)
        await client.aclose()
        return Response()

    app.router.routes.append(Route("/close", close, methods=["POST"]))
    return app


def events(connection: socket.socket) -> Generator[tuple[str, Any], None, None]:
    """Ids and answers as they come; an empty id for a sign of life."""
    as_of = ""
    with connection, connection.makefile("rb") as stream:
        while stream.readline().strip():
            pass
        while size := int(stream.readline() or b"0", 16):
            for line in stream.read(size).decode().splitlines():
                name, _, value = line.partition(": ")
                if name == "id":
                    as_of = value
                elif name == "data":
                    yield as_of, content(json.loads(value))
                elif line.startswith(":"):
                    yield "", None
            stream.readline()


def content(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without its instants."""
    return {name: value for name, value in answer.items() if name not in ("start", "end")}


def opened(serving: Serving, last_as_of: str) -> socket.socket:
    """A stream of the question, taken up again after the answer of this id."""
    path = f"/calls/stream?path=/calls/breakdown&question={quote(json.dumps(QUESTION))}"
    connection = serving.connect()
    connection.sendall(request(b"", path, "GET", f"last-event-id: {last_as_of}" if last_as_of else "x: y"))
    return connection


def asked(serving: Serving) -> dict[str, Any]:
    """Returns what the question itself answers now."""
    with serving.connect() as connection:
        connection.sendall(request(json.dumps(QUESTION).encode(), "/calls/breakdown", "POST", "connection: close"))
        answer = b""
        while more := connection.recv(65_536):
            answer += more
    return content(json.loads(answer.partition(b"\r\n\r\n")[2]))


@pytest.mark.parametrize("seed", range(3))
def test_a_stream_ends_with_what_a_question_answers(seed: int, redis_url: str) -> None:
    """Over restarts of the api, a Redis that is wiped and written again, and quiet times."""
    rng, client = random.Random(seed), redis.Redis.from_url(redis_url)
    shard, counted, seen, last_as_of = open_shard(client), 0, {}, ""
    for step in range(STEPS):
        with ExitStack() as entered:
            serving = entered.enter_context(Serving(app_on(redis_url), ConnectionLimits()))
            told = entered.enter_context(closing(events(opened(serving, last_as_of))))
            if rng.random() < 0.2:
                client.flushall()
                shard, counted = open_shard(client), 0
            for _ in range(rng.randrange(3)):
                counted += 1
                call = complete(f"{step}.{counted}", counted, counted + 1, {"m": tokens(1)}, op_name=rng.choice("abc"))
                apply(shard, [call], T0_US + counted * 1_000_000)
            final = asked(serving)
            for as_of, answer in islice(told, EVENTS_MAX):
                if answer is not None:
                    seen, last_as_of = answer, as_of
                if seen == final:
                    break
            assert seen == final
            told.close()
            with serving.connect() as connection:
                connection.sendall(request(b"", "/close"))
                assert status_of(connection) == 200
    client.close()
