"""Many who ask share few connections: each gets the replies to what it has asked, whatever becomes of the others."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from aggregator.store import connection as redis_connection
from aggregator.store.connection import SharingClient, connect_readers
from aggregator.store.reader import StoreReader
from aggregator.store.shared_connections import SHARED_MAX, SharedConnections
from callmeter.local.embedded_redis import EmbeddedRedis

pytestmark = pytest.mark.single_redis
ASKERS, VALUES = 50, 30


@asynccontextmanager
async def reading(url: str) -> AsyncIterator[StoreReader]:
    """A reader whose connections are then closed."""
    client = connect_readers(url)
    assert isinstance(client, SharingClient)
    try:
        yield StoreReader(client, "callmeter")
    finally:
        await client.aclose()


def fill(url: str) -> None:
    """A hash with the squares of some numbers."""
    client = redis.Redis.from_url(url)
    client.hset("squares", mapping={str(number): number * number for number in range(ASKERS * VALUES)})
    client.close()


def squares_of(asker: int) -> list[tuple[Any, ...]]:
    """Commands that one asks at once, of as many fields as nobody else."""
    return [("HMGET", "squares", *range(asker * VALUES, asker * VALUES + count)) for count in range(1, VALUES)]


def expected(asker: int) -> list[list[bytes]]:
    """The replies to them."""
    return [[b"%d" % (number * number) for number in command[2:]] for command in squares_of(asker)]


def test_each_gets_its_own_replies(redis_url: str) -> None:
    """Replies go to who has asked, also beside those who leave before theirs come."""
    fill(redis_url)

    troubles: list[dict[str, Any]] = []

    async def ask() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, trouble: troubles.append(trouble))
        async with reading(redis_url) as reader:
            assert await reader.fetch(squares_of(1)) == expected(1)
            tasks = [asyncio.ensure_future(reader.fetch(squares_of(asker))) for asker in range(ASKERS)]
            for round_trips in range(3):
                for leaving in tasks[round_trips::5]:
                    leaving.cancel()
                await asyncio.sleep(0)
            for asker, task in enumerate(tasks):
                with suppress(asyncio.CancelledError):
                    assert await task == expected(asker)
            assert sum(task.cancelled() for task in tasks) == ASKERS * 3 // 5
            assert await reader.fetch(squares_of(1)) == expected(1)

    client = redis.Redis.from_url(redis_url)
    before = client.info("stats")["total_connections_received"]
    asyncio.run(ask())
    # Who leaves while a connection is made takes it along.
    assert client.info("stats")["total_connections_received"] - before <= 2 * SHARED_MAX
    assert not troubles
    client.close()


def test_no_more_connections_when_some_are_lost(redis_url: str) -> None:
    """All who had asked on a connection that is lost ask again on those that there may be, however often that is."""
    fill(redis_url)
    admin = redis.Redis.from_url(redis_url)
    not_ours = {one["id"] for one in admin.client_list()}  # this one, and what earlier tests have not closed yet

    async def ask() -> None:
        async with reading(redis_url) as reader:
            for _ in range(5):
                askers = (reader.fetch(squares_of(asker)) for asker in range(ASKERS))
                assert await asyncio.gather(*askers) == [expected(asker) for asker in range(ASKERS)]
                ours = [int(one["id"]) for one in admin.client_list() if one["id"] not in not_ours]
                assert len(ours) <= SHARED_MAX
                admin.client_kill_filter(_id=str(min(ours)))

    asyncio.run(ask())
    admin.close()


def test_a_command_that_is_refused(redis_url: str) -> None:
    """The error of a refused command is of the kind that the client raises; what follows is answered."""
    fill(redis_url)

    async def ask() -> None:
        async with reading(redis_url) as reader:
            with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
                await reader.fetch([("HLEN", "squares"), ("GET", "squares"), ("HLEN", "squares")])
            assert await reader.fetch([("HLEN", "squares"), ("HGETALL", "none")]) == [ASKERS * VALUES, {}]

    asyncio.run(ask())


def test_a_server_that_comes_back(tmp_path: Path) -> None:
    """The next question finds it on a new connection; while it is away that is said."""
    server = EmbeddedRedis(tmp_path)
    server.start()
    fill(server.url)

    async def ask() -> None:
        async with reading(server.url) as reader:
            await asyncio.gather(*(reader.fetch(squares_of(asker)) for asker in range(ASKERS)))
            server.stop()
            with pytest.raises(redis.ConnectionError):
                await reader.fetch(squares_of(1))
            server.start()
            found = await asyncio.gather(*(reader.fetch(squares_of(asker)) for asker in range(ASKERS)))
            assert found == [expected(asker) for asker in range(ASKERS)]

    try:
        asyncio.run(ask())
    finally:
        server.kill()


def test_a_connection_that_was_closed_unnoticed() -> None:
    """Commands whose connection is closed instead of an answer are sent on a new one, once."""
    closed: list[asyncio.StreamWriter] = []

    async def close_one(writer: asyncio.StreamWriter) -> None:
        if not closed:
            closed.append(writer)
            writer.close()
        else:
            writer.write(b":1\r\n" * len(squares_of(1)))

    ask_of(close_one)
    assert closed


def ask_of(answer: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> None:
    """Ask a server that takes connections as Redis does, and then sends what `answer` does, whatever is asked."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while asked := await reader.read(65_536):
            if b"squares" in asked:
                await answer(writer)
            else:
                writer.write(b"+OK\r\n" * asked.count(b"SETINFO"))
        writer.close()

    async def ask() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            async with reading(f"redis://127.0.0.1:{port}/0?protocol=2") as reader:
                await reader.fetch(squares_of(1))
        finally:
            server.close()

    asyncio.run(ask())


async def nothing(_: asyncio.StreamWriter) -> None:
    """Stay silent."""


async def nonsense(writer: asyncio.StreamWriter) -> None:
    """Send what is no reply."""
    writer.write(b"what?\r\n")


async def too_much(writer: asyncio.StreamWriter) -> None:
    """Send more replies than were asked for."""
    writer.write(b":1\r\n" * (VALUES + 1))


def test_a_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for longer than for an answer of Redis, and one more."""
    monkeypatch.setattr(redis_connection, "ANSWER_TIMEOUT_S", 0.2)
    with pytest.raises(redis.TimeoutError, match=r"not answered for 0\.2 s"):
        ask_of(nothing)


def test_a_reply_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for a large reply over a slow line gets it, as long as more of it comes."""
    monkeypatch.setattr(redis_connection, "ANSWER_TIMEOUT_S", 0.4)
    sent: list[bytes] = []

    async def slowly(writer: asyncio.StreamWriter) -> None:
        for _ in squares_of(1):
            await asyncio.sleep(0.04)
            sent.append(b":1\r\n")
            writer.write(sent[-1])

    ask_of(slowly)
    assert len(sent) == len(squares_of(1))


def test_a_server_that_is_no_redis() -> None:
    """Bytes that are no reply are an error of the kind that who asks knows."""
    with pytest.raises(redis.InvalidResponse, match="no reply"):
        ask_of(nonsense)


def test_replies_that_nobody_asked_for() -> None:
    """The connection is given up; what was asked before is answered."""
    ask_of(too_much)


class SilentPool:
    """Connections to a server that does not even refuse them."""

    def __init__(self) -> None:
        self.tried = 0

    async def get_connection(self) -> Any:
        """Fail after a while."""
        self.tried += 1
        await asyncio.sleep(0.05)
        raise redis.TimeoutError("no answer")


def test_a_server_that_does_not_even_refuse() -> None:
    """All who wait for a connection hear at once that there is none; who comes later tries again."""

    async def ask() -> int:
        pool = SilentPool()
        shared = SharedConnections(pool, 1)
        for _ in range(2):
            found = await asyncio.gather(*(shared.exchange([b""]) for _ in range(ASKERS)), return_exceptions=True)
            assert [str(one) for one in found] == ["no answer"] * ASKERS
        return pool.tried

    assert asyncio.run(ask()) <= 4
