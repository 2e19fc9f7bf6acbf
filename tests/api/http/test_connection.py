"""Slow clients, greedy ones and too many of them, on real sockets: they are cut off, and the others do not wait.

A limit that a test waits for is short; every other stays so long that it cannot be what ended the wait.
"""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import msgspec
import pytest
from starlette.applications import Starlette

from api.access.basic_auth import OpenAccess
from api.app import ApiSettings, make_app
from api.http.body import BodyLimits
from api.http.connection import ConnectionLimits
from tests.pipeline.patience import wait_until
from tests.support.asking import NOW_US, FakeAnswers, app_of
from tests.support.serving import ANSWER_TIMEOUT_S, Serving, has_ended, request, status_of

USAGE = json.dumps({"project_id": "p", "call_ids": []}).encode()
SOON_S = 0.3
NEVER_S = 1_000.0
PATIENT = ConnectionLimits(head_s_max=NEVER_S, idle_s_max=NEVER_S, discard_s_max=NEVER_S, taken_look_s=NEVER_S)
MIB = 2**20
UNREAD = 25 * MIB  # more than the kernel takes off the server's hands


class LargeAnswers(FakeAnswers):
    """Answers of 25 MiB."""

    def _answer(self, question: object, body: bytes) -> tuple[bytes, object]:  # type: ignore[override]
        return b"x" * UNREAD, self.freshness


def limits(**changed: float) -> ConnectionLimits:
    """Patient in everything but this."""
    return msgspec.structs.replace(PATIENT, **changed)


def answers(connection: socket.socket) -> bool:
    """Whether it is still served."""
    try:
        connection.sendall(request(USAGE))
    except ConnectionError:
        return False
    return status_of(connection) == 200


def served(serving: Serving, opened: ExitStack) -> socket.socket:
    """A connection that has been answered: where the limit is short, another one if this machine was too slow."""
    found = []

    def is_answered() -> bool:
        found.append(opened.enter_context(serving.connect()))
        return answers(found[-1])

    assert wait_until(is_answered, ANSWER_TIMEOUT_S)
    return found[-1]


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """A place for connections that closes them at the end."""
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("begun", [b"", b"POST /calls/usage HT", request(USAGE)[:-40], b"\r\n"])
def test_a_head_that_does_not_come(begun: bytes, opened: ExitStack) -> None:
    """A client that does not send a whole head in time is cut off; others are answered before and after."""
    with Serving(app_of(), limits(head_s_max=SOON_S)) as serving:
        other, slow = served(serving, opened), opened.enter_context(serving.connect())
        with suppress(ConnectionError):  # already, on a slow machine
            slow.sendall(begun.partition(b"content-length")[0])
        assert answers(other)
        assert has_ended(slow)
        assert answers(other)


def test_a_second_head_that_does_not_come(opened: ExitStack) -> None:
    """A client that was answered before and sends one byte of its next head is cut off as well."""
    with Serving(app_of(), limits(head_s_max=SOON_S)) as serving:
        slow = served(serving, opened)
        slow.sendall(b"P")
        assert has_ended(slow)


def test_a_head_byte_by_byte(opened: ExitStack) -> None:
    """Bytes that keep coming do not put off the end."""
    with Serving(app_of(), limits(head_s_max=SOON_S)) as serving:
        slow = opened.enter_context(serving.connect())
        slow.setblocking(False)
        with suppress(ConnectionError):
            slow.sendall(b"POST /calls/usage HTTP/1.1\r\nx: ")

        def cut_off() -> bool:
            try:
                slow.send(b"x")
                return slow.recv(1) == b""
            except BlockingIOError:
                return False
            except ConnectionError:
                return True

        assert wait_until(cut_off, ANSWER_TIMEOUT_S)


def test_a_head_of_many_bytes(opened: ExitStack) -> None:
    """A head may be as large as the limit before it is complete; with one byte more it is refused, 431."""
    begun = request(USAGE, "/calls/usage", "POST", "x: ").partition(b"\r\n\r\n")[0]
    bytes_max = 65_536
    with Serving(app_of(), limits(head_bytes_max=bytes_max)) as serving:
        fitting, larger = (opened.enter_context(serving.connect()) for _ in range(2))
        fitting.sendall(begun.ljust(bytes_max, b"x"))
        larger.sendall(begun.ljust(bytes_max + 1, b"x"))
        assert status_of(larger) == 431
        assert has_ended(larger)
        fitting.sendall(b"\r\n\r\n" + USAGE)
        assert status_of(fitting) == 200


def test_a_body_that_does_not_come(opened: ExitStack) -> None:
    """408, and the connection's end; others are answered meanwhile."""
    app = make_app(FakeAnswers(), OpenAccess(), ApiSettings(body=BodyLimits(wait_s_max=SOON_S)))
    with Serving(app, limits(discard_s_max=SOON_S)) as serving:
        slow, other = (opened.enter_context(serving.connect()) for _ in range(2))
        slow.sendall(request(USAGE)[:-1])
        assert answers(other)
        assert status_of(slow) == 408
        assert has_ended(slow)
        assert answers(other)


def chunked(body: bytes) -> bytes:
    """A request whose length is only found out."""
    head = b"POST /calls/usage HTTP/1.1\r\nhost: callmeter\r\ntransfer-encoding: chunked\r\n\r\n"
    pieces = [body[at : at + 65_536] for at in range(0, len(body), 65_536)]
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("whole", [request, chunked])
@pytest.mark.parametrize(("size_bytes", "status"), [(MIB, 200), (MIB + 1, 413), (10 * MIB, 413)])
def test_large_bodies(whole: object, size_bytes: int, status: int, opened: ExitStack) -> None:
    """1 MiB is read, a byte more is refused; after 10 MB the same connection still is good for the next request."""
    assert callable(whole)
    with Serving(app_of(), PATIENT) as serving:
        connection = opened.enter_context(serving.connect())
        connection.sendall(whole(USAGE.ljust(size_bytes)))
        assert status_of(connection) == status
        assert answers(connection)


@pytest.mark.parametrize("whole", [request, chunked])
def test_a_refusal_does_not_wait_for_the_rest(whole: object, opened: ExitStack) -> None:
    """413 comes while the body is under way, and who goes on sending is cut off."""
    assert callable(whole)
    with Serving(app_of(), limits(discard_s_max=SOON_S)) as serving:
        connection = opened.enter_context(serving.connect())
        connection.sendall(whole(USAGE.ljust(10 * MIB))[: 2 * MIB])
        assert status_of(connection) == 413
        assert has_ended(connection)


@pytest.mark.parametrize("size_bytes", [len(USAGE), 2 * MIB])
def test_idle_connections(size_bytes: int, opened: ExitStack) -> None:
    """A client that does not ask again is let go, also when the rest of a refused body came after its answer."""
    with Serving(app_of(), limits(idle_s_max=SOON_S)) as serving:
        connection = opened.enter_context(serving.connect())
        body = request(USAGE.ljust(size_bytes))
        connection.sendall(body[:-1])
        if size_bytes > MIB:
            assert status_of(connection) == 413
            connection.sendall(body[-1:])
        else:
            connection.sendall(body[-1:])
            assert status_of(connection) == 200
        assert has_ended(connection)


def test_room_for_large_bodies(opened: ExitStack) -> None:
    """Large bodies that come slowly share what room there is: the last that fits, the first that does not; small ones
    are read all the same."""
    body_limits = BodyLimits(small_bytes_max=1_000, large_bytes_max=2_000, wait_s_max=NEVER_S)
    app = make_app(FakeAnswers(), OpenAccess(), ApiSettings(body=body_limits, clock=lambda: NOW_US))
    with Serving(app, PATIENT) as serving:
        slow, fitting, larger, small = (opened.enter_context(serving.connect()) for _ in range(4))
        slow.sendall(request(USAGE.ljust(2_001))[:-1])  # holds 1,000 bytes of the room
        fitting.sendall(request(USAGE.ljust(2_000)))
        assert status_of(fitting) == 200
        larger.sendall(request(USAGE.ljust(2_001)))
        assert status_of(larger) == 503
        small.sendall(request(USAGE.ljust(1_000)))
        assert status_of(small) == 200
        slow.sendall(b" ")
        assert status_of(slow) == 200
        assert answers(larger)


@pytest.fixture
def large_app() -> Starlette:
    """Answers more than the kernel keeps for a client."""
    return app_of(LargeAnswers())


@pytest.mark.parametrize("headers", [(), ("connection: close",)])
def test_an_answer_that_is_not_taken(headers: tuple[str, ...], large_app: Starlette, opened: ExitStack) -> None:
    """A client that does not read is cut off, also when the connection was to be closed anyway; its memory is free
    again."""
    with Serving(large_app, limits(taken_look_s=SOON_S)) as serving:
        slow = opened.enter_context(serving.connect(4_096))
        slow.sendall(request(USAGE, "/calls/usage", "POST", *headers))
        assert wait_until(lambda: serving.connections == 1, ANSWER_TIMEOUT_S)
        assert wait_until(lambda: serving.connections == 0, ANSWER_TIMEOUT_S)


def test_an_answer_that_is_taken_slowly(large_app: Starlette, opened: ExitStack) -> None:
    """A client that takes enough between two looks gets all of its answer, over any number of looks."""
    with Serving(large_app, limits(taken_look_s=0.01, taken_bytes_min=0)) as serving:
        slow = opened.enter_context(serving.connect(4_096))
        slow.sendall(request(USAGE))
        assert status_of(slow) == 200


def test_room_for_answers(large_app: Starlette, opened: ExitStack) -> None:
    """Beyond what may wait to be taken, who was slow first is cut off; who came last and reads gets the answer."""
    with Serving(large_app, limits(untaken_bytes_max=40 * MIB)) as serving:
        first = opened.enter_context(serving.connect(4_096))
        first.sendall(request(USAGE))
        small = opened.enter_context(serving.connect())
        small.sendall(b"GET /health HTTP/1.1\r\nhost: callmeter\r\n\r\n")
        assert status_of(small) == 200
        assert serving.connections == 2
        second = opened.enter_context(serving.connect(4_096))
        second.sendall(request(USAGE))
        assert status_of(second) == 200
        assert wait_until(lambda: serving.connections == 2, ANSWER_TIMEOUT_S)
        assert len(first.recv(4)) == 4  # what the kernel had
        assert answers(small)


def test_too_many_connections(opened: ExitStack) -> None:
    """Connections are kept up to the limit; one more is let in, and the one that has waited longest without a request
    leaves."""
    with Serving(app_of(), limits(connections_max=4)) as serving:
        longest, asking, *others = (opened.enter_context(serving.connect()) for _ in range(4))
        assert all(answers(one) for one in (longest, asking, *others))
        asking.sendall(request(USAGE)[:-1])
        assert answers(longest)
        assert wait_until(lambda: serving.waiting == 3, ANSWER_TIMEOUT_S)
        one_more = opened.enter_context(serving.connect())
        assert answers(one_more)
        assert has_ended(others[0])  # the others asked before `longest` did again, and `asking` has a request in work
        asking.sendall(USAGE[-1:])
        assert status_of(asking) == 200
        assert all(answers(one) for one in (longest, others[1], one_more))


def test_too_many_requests_in_work(opened: ExitStack) -> None:
    """A new connection is turned away where every other has a request in work, and none of them suffers."""
    with Serving(app_of(), limits(connections_max=2)) as serving:
        asking = [opened.enter_context(serving.connect()) for _ in range(2)]
        for one in asking:
            one.sendall(b"GET /health HTTP/1.1\r\n\r\n")
            assert status_of(one) == 200
            one.sendall(request(USAGE)[:-1])
        assert wait_until(lambda: not serving.waiting, ANSWER_TIMEOUT_S)
        assert has_ended(opened.enter_context(serving.connect()))
        for one in asking:
            one.sendall(USAGE[-1:])
            assert status_of(one) == 200
