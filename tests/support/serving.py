"""The app behind its real server, in a thread: raw sockets reach it, and its limits are the test's."""

import socket
import threading
from types import TracebackType

import uvicorn
from starlette.applications import Starlette

from api.http.connection import ConnectionLimits
from api.server import http_config
from tests.pipeline.patience import wait_until

# Generous: nothing depends on how soon something is answered.
ANSWER_TIMEOUT_S = 60.0


class Serving:
    """Serves until left."""

    def __init__(self, app: Starlette, limits: ConnectionLimits) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1_024)
        self._server = uvicorn.Server(http_config(app, limits, "info"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listening]})

    def __enter__(self) -> "Serving":
        self._thread.start()
        assert wait_until(lambda: self._server.started, ANSWER_TIMEOUT_S)
        return self

    def __exit__(self, *raised: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.should_exit = True
        self._server.force_exit = True  # connections that tests leave open are not waited for
        self._thread.join(ANSWER_TIMEOUT_S)
        assert not self._thread.is_alive()

    def stop_gracefully(self) -> None:
        """Tell the server to stop, as SIGTERM does."""
        self._server.should_exit = True

    @property
    def connections(self) -> int:
        """How many there are, as the server knows."""
        return len(self._server.server_state.connections)

    @property
    def waiting(self) -> int:
        """How many of them have no request in work."""
        return sum(
            one.cycle is None or one.cycle.response_complete  # type: ignore[union-attr]  # no websockets here
            for one in list(self._server.server_state.connections)
        )

    def connect(self, receive_buffer_bytes: int = 0) -> socket.socket:
        """A connection; a small receive buffer makes what the client does not read stay with the server."""
        connection = socket.socket()
        if receive_buffer_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        connection.settimeout(ANSWER_TIMEOUT_S)
        connection.connect(self._listening.getsockname())
        return connection


def request(body: bytes = b"", path: str = "/calls/usage", method: str = "POST", *headers: str) -> bytes:
    """A request with its length."""
    lines = [f"{method} {path} HTTP/1.1", "host: callmeter", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def status_of(connection: socket.socket) -> int:
    """Read one answer whole; its status, 0 where the connection ended without one."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = _receive(connection)
        if not more:
            return 0
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    left = int(headers[b"content-length"]) - len(body)
    while left > 0:
        more = _receive(connection, left)
        assert more, f"{left} bytes of the answer did not come"
        left -= len(more)
    return int(head.split(b" ", 2)[1])


def has_ended(connection: socket.socket) -> bool:
    """Wait for the connection's end; False if something else comes first."""
    return _receive(connection) == b""


def _receive(connection: socket.socket, size: int = 65_536) -> bytes:
    """b"" when the connection has ended, in good order or not. Raises TimeoutError while it stays open and silent."""
    try:
        return connection.recv(size)
    except ConnectionError:
        return b""
