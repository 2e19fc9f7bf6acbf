"""The api as a process, with ten thousand connections that want nothing, and with few files to open."""

import resource
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from api.http.connection import ConnectionLimits
from api.http.open_files import allow_open_files
from api.server import CONNECTIONS_MIN, OTHER_FILES_MAX
from callmeter.local.loopback_port import LOOPBACK
from tests.pipeline.pipeline import Api, Pipeline
from tests.support.serving import ANSWER_TIMEOUT_S, status_of

CONNECTIONS_MAX = ConnectionLimits().connections_max
QUESTION = {"project_id": "p", "call_ids": []}
FEW = "the limit of open files allows few connections; raise it (ulimit -Hn, LimitNOFILE)"
NO_BROKER = "127.0.0.1:1"


@pytest.fixture
def api(redis_url: str, tmp_path: Path) -> Iterator[Api]:
    """An api of its own."""
    with Pipeline(tmp_path, NO_BROKER, redis_url, {}) as pipeline:
        yield pipeline.start_api()


def connect(api: Api) -> socket.socket:
    """A connection."""
    connection = socket.create_connection((LOOPBACK, api.port), ANSWER_TIMEOUT_S)
    connection.settimeout(ANSWER_TIMEOUT_S)
    return connection


def test_ten_thousand_connections(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    """Half have been answered and are kept, half have begun a request that does not go on: who comes then is answered.

    One more than are allowed is answered too: the one that has waited longest leaves.
    """
    if allow_open_files(CONNECTIONS_MAX + OTHER_FILES_MAX) < CONNECTIONS_MAX + OTHER_FILES_MAX:
        pytest.skip("the limit of open files (ulimit -Hn) is too low")
    with ExitStack() as opened:
        kept = [opened.enter_context(connect(api)) for _ in range(CONNECTIONS_MAX // 2)]
        for connection in kept:
            connection.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert {status_of(connection) for connection in kept} == {200}
        begun = [opened.enter_context(connect(api)) for _ in range(CONNECTIONS_MAX - len(kept))]
        for connection in begun:
            connection.sendall(b"POST /calls/us")
        # a new connection: the one that waited for the start has waited longest, and leaves whenever the last is let in
        newcomer = opened.enter_context(
            httpx.Client(base_url=f"http://{LOOPBACK}:{api.port}", timeout=ANSWER_TIMEOUT_S)
        )
        took_ms = []
        for _ in range(20):
            began_s = time.perf_counter()
            assert newcomer.post("/calls/usage", json=QUESTION).status_code == 200
            took_ms.append(1_000 * (time.perf_counter() - began_s))
        with connect(api) as one_more:
            one_more.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert status_of(one_more) == 200
        assert kept[0].recv(1) == b""
        with capsys.disabled():
            sys.stdout.write(f"\nbeside 10,000 connections: answers in {sorted(took_ms)[10]:.1f} ms (median)\n")


def test_few_files(redis_url: str, tmp_path: Path) -> None:
    """An api that may open few files says so, and keeps fewer connections: it never runs out of files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Pipeline(tmp_path, NO_BROKER, redis_url, {}) as pipeline, ExitStack() as opened:
        api = pipeline.api()
        api.program.command[:0] = ["/bin/sh", "-c", f'ulimit -n {OTHER_FILES_MAX}; exec "$@"', "sh"]
        api.start()
        [said] = api.program.logged(
            "the limit of open files allows few connections; raise it (ulimit -Hn, LimitNOFILE)"
        )
        assert (said["open_files_max"], said["connections_max"]) == (OTHER_FILES_MAX, CONNECTIONS_MIN)
        first, *others = (opened.enter_context(connect(api)) for _ in range(CONNECTIONS_MIN + 2))
        assert first.recv(1) == b""
        assert api.ask("/calls/usage", QUESTION).status_code == 200
        assert len(others) > CONNECTIONS_MIN
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)


def test_the_limit_of_files_is_raised() -> None:
    """A low limit that may be raised is raised, to what is needed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard))
        assert allow_open_files(300) == 300
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (400, hard)
        assert allow_open_files(401) == 401
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (401, hard)
        if hard != resource.RLIM_INFINITY:
            assert allow_open_files(hard + 1) == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
