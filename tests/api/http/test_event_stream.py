"""Answers as server-sent events, over the real server: changes, signs of life, slow readers, restarts, refusals."""

import json
import socket
from collections.abc import Generator
from contextlib import ExitStack, closing
from typing import Any
from urllib.parse import quote

import pytest

from api.access.basic_auth import OpenAccess
from api.app import ApiSettings, make_app
from api.headers import Freshness
from api.http.connection import ConnectionLimits
from api.query.stream_watches import StreamLimits
from tests.pipeline.patience import wait_until
from tests.support.asking import NOW_US, FakeAnswers, app_of, ask, refused
from tests.support.serving import ANSWER_TIMEOUT_S, Serving, has_ended

QUESTION = {"project_id": "acme/agents", "start": "-1h"}
SOON_S = 0.05
SOON = ApiSettings(clock=lambda: NOW_US, streams=StreamLimits(SOON_S, heartbeat_s=4 * SOON_S, taken_s_max=10 * SOON_S))
LARGE = QUESTION | {"project_id": "acme/large"}
MANY_BYTES = 4 * 2**20


class ChangingAnswers(FakeAnswers):
    """Answers with whatever `body` is now; of another project with `large`."""

    def __init__(self) -> None:
        super().__init__(Freshness(NOW_US, 0.5, True))
        self.body = self.large = b'{"rows":[]}'

    async def stats(self, question: Any, now_us: int) -> tuple[bytes, Freshness]:
        await super().stats(question, now_us)
        return self.large if question.project_id == LARGE["project_id"] else self.body, self.freshness


def url(path: str = "/calls/stats", question: Any = QUESTION) -> str:
    """The path and query of a stream."""
    return f"/calls/stream?path={quote(path)}&question={quote(json.dumps(question))}"


def opened(serving: Serving, receive_buffer_bytes: int = 0, question: Any = QUESTION) -> socket.socket:
    """A connection that has asked for the stream."""
    connection = serving.connect(receive_buffer_bytes)
    connection.sendall(f"GET {url(question=question)} HTTP/1.1\r\nhost: callmeter\r\n\r\n".encode())
    return connection


def lines(connection: socket.socket) -> Generator[str, None, None]:
    """The lines of the body as they come, without those of the chunks around them."""
    with connection, connection.makefile("rb") as stream:
        while stream.readline().strip():
            pass
        while size := int(stream.readline() or b"0", 16):
            yield from stream.read(size).decode().splitlines()
            stream.readline()


def test_an_answer_at_once_and_again_when_it_changed() -> None:
    """A stream sends an answer at once and again when it changed, with the instant it is as of as its id; and a comment
    while nothing happens."""
    answers = ChangingAnswers()
    with ExitStack() as streams, Serving(make_app(answers, OpenAccess(), SOON), ConnectionLimits()) as serving:
        told = streams.enter_context(closing(lines(opened(serving))))
        assert [next(told) for _ in range(2)] == ["retry: 2000", ""]
        assert [next(told) for _ in range(4)] == [
            "event: answer",
            "id: 2026-05-28T20:26:40Z",
            'data: {"rows":[]}',
            "",
        ]
        assert [next(told) for _ in range(2)] == [": ", ""]
        answers.body = b'{"rows":[1]}'
        assert 'data: {"rows":[1]}' in [next(told) for _ in range(20)]


def test_a_slow_reader_is_dropped() -> None:
    """Others go on, who need not take as much in time."""
    answers = ChangingAnswers()
    with ExitStack() as streams, Serving(make_app(answers, OpenAccess(), SOON), ConnectionLimits()) as serving:
        slow = streams.enter_context(opened(serving, 4_096, LARGE))
        told = streams.enter_context(closing(lines(opened(serving))))
        next(told)
        assert slow.recv(1)
        answers.large = b'{"rows":["%b"]}' % (b"x" * MANY_BYTES)
        assert wait_until(lambda: serving.connections == 1, ANSWER_TIMEOUT_S)
        answers.body = b'{"rows":[2]}'
        assert 'data: {"rows":[2]}' in told


def test_a_server_that_is_told_to_stop_ends_streams() -> None:
    """A server that is told to stop ends streams at once: they have no end of their own to wait for."""
    app = make_app(ChangingAnswers(), OpenAccess(), SOON)
    with Serving(app, ConnectionLimits()) as serving, opened(serving) as connection:
        assert connection.recv(1)
        serving.stop_gracefully()
        while not has_ended(connection):
            pass


def test_relative_instants_of_stats_are_resolved_anew() -> None:
    """`/calls/stats` itself takes absolute ones only; a stream asks it for whole minutes, which rollups answer."""
    answers = ChangingAnswers()
    app = make_app(answers, OpenAccess(), SOON)
    with Serving(app, ConnectionLimits()) as serving, closing(lines(opened(serving))) as told:
        next(told)
    question: Any = answers.asked[0]
    assert (question.start_us, question.end_us) == (1_779_996_360_000_000, 1_780_000_020_000_000)


@pytest.mark.parametrize(
    ("target", "loc"),
    [
        ("/calls/stream", ["query", "path"]),
        (url("/calls/usage"), ["query", "path"]),
        ("/calls/stream?path=/calls/stats&question=%7B", ["query", "question"]),
        ("/calls/stream?path=/calls/stats&question=[]", ["query", "question"]),
        (url(question={"project_id": "p", "start": "yesterday"}), ["query", "question", "start"]),
        (url(question=QUESTION | {"what": 1}), ["query", "question", "what"]),
        (url() + "&more=1", ["query", "more"]),
    ],
)
def test_refused(target: str, loc: list[str]) -> None:
    """A question that its own endpoint would refuse is refused before anything is sent."""
    assert refused(ask(app_of(), "GET", target)) == (422, loc)
