"""Round trips to Redis for readers: over connections that they share, or, of a cluster, as the client makes them."""

from typing import Any

import redis.asyncio

from aggregator.store.connection import SharingClient
from aggregator.store.pieces import Piece
from aggregator.store.shared_connections import CommandRefused


class RoundTrips:
    """Sends commands and returns their replies, in the forms of the client of Redis."""

    def __init__(self, client: "redis.asyncio.Redis | redis.asyncio.RedisCluster") -> None:
        self._client: Any = client
        self._shared = client.shared if isinstance(client, SharingClient) else None

    async def exchange(self, piece: Piece) -> list[Any]:
        """Return the replies to these commands. Raises what the client raises."""
        if self._shared is None:
            return await self._exchange_by_client(piece)
        try:
            found = await self._shared.exchange(piece.packed)
        except CommandRefused:
            return await self._exchange_by_client(piece)  # which knows what each error of Redis means
        form_of = self._client.response_callbacks
        return [
            form_of[command[0]](reply) if command[0] in form_of else reply
            for command, reply in zip(piece.commands, found, strict=True)
        ]

    async def _exchange_by_client(self, piece: Piece) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for command in piece.commands:
            pipeline.execute_command(*command)
        found: list[Any] = await pipeline.execute()
        return found
