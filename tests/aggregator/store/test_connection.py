"""Connections of readers: whatever event loop they are on, one that Redis has closed says that Redis is away."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis
import redis.asyncio
import uvloop

from aggregator.store.connection import StoreAway, connect_readers
from tests.conftest import CLUSTERED


async def _send_on_a_closed_connection(url: str) -> None:
    """Send a command over a connection that is closed between being made and being used."""
    readers = connect_readers(url, cluster=CLUSTERED)
    try:
        if isinstance(readers, redis.asyncio.RedisCluster):
            await readers.initialize()
            connection: Any = readers.get_primaries()[0].acquire_connection()
        else:
            pool: Any = readers.connection_pool
            connection = await pool.get_connection()
        await connection.connect()
        connection._writer.transport.abort()
        await asyncio.sleep(0.01)
        await connection.send_command("PING")
    finally:
        await readers.aclose()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_closed_connection_says_that_redis_is_away(
    redis_url: str, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Whoever asks at the very moment at which Redis dies gets a 503 and no 500."""
    with asyncio.Runner(loop_factory=new_loop) as runner, pytest.raises(StoreAway):
        runner.run(_send_on_a_closed_connection(redis_url))
