"""Generations: which namespace of keys is the live one, while a rebuild folds another beside it.

The settings name the base namespace. `<base>:live` holds the namespace of the live generation; without that key it is
the base itself. Setting it is one command, so everyone sees the switch at once, each at its next look.
"""

import time
from typing import Any

import redis
import redis.asyncio

# How long an answer may still come from the generation before. Whoever drops that one must wait longer.
LOOK_INTERVAL_S = 1.0


def live_key(base: str) -> str:
    """The key that names the live generation's namespace."""
    return f"{base}:live"


def live_namespace(client: redis.Redis, base: str) -> str:
    """The namespace of the live generation. Raises what the client raises."""
    return _namespace(client.get(live_key(base)), base)


class LiveNamespace:
    """The same for readers, who ask often: looked up at most once in LOOK_INTERVAL_S."""

    def __init__(self, client: "redis.asyncio.Redis | redis.asyncio.RedisCluster", base: str) -> None:
        self._client: Any = client
        self._base = base
        self._namespace = base
        self._looked_s: float | None = None

    async def look(self) -> str:
        """The namespace to read. Raises what the client raises."""
        now_s = time.perf_counter()
        if self._looked_s is None or now_s - self._looked_s >= LOOK_INTERVAL_S:
            self._namespace = _namespace(await self._client.get(live_key(self._base)), self._base)
            self._looked_s = now_s
        return self._namespace


def _namespace(stored: Any, base: str) -> str:
    return base if stored is None else str(stored.decode())
