"""Whether Redis may drop keys by itself when its memory is full: answers would then be wrong without a sign."""

import time
from collections.abc import Mapping
from typing import Any

import redis
import redis.asyncio

# A policy that is changed while the api runs is noticed after that; asking takes Redis some 50 µs.
POLICY_BELIEVED_S_MAX = 5.0


class MayEvict(Exception):
    """Redis may drop keys; the message says which setting makes it so, and which one ends it."""


def check_eviction(memory: Mapping[str, Any]) -> None:
    """Raise MayEvict if the section `memory` of Redis's INFO says that keys may be dropped."""
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction" and memory.get("maxmemory", 0):
        raise MayEvict(
            f"Redis has maxmemory-policy {policy} and may drop keys when its memory is full; "
            "set `maxmemory-policy noeviction`"
        )


class EvictionWatch:
    """Knows Redis' policy for readers, who ask often: it is looked up at most once in POLICY_BELIEVED_S_MAX."""

    def __init__(self, client: "redis.asyncio.Redis | redis.asyncio.RedisCluster") -> None:
        self._client: Any = client
        self._looked_s: float | None = None

    async def check(self) -> None:
        """Raise MayEvict while any node may drop keys, and what the client raises."""
        now_s = time.perf_counter()
        if self._looked_s is not None and now_s - self._looked_s < POLICY_BELIEVED_S_MAX:
            return
        try:
            for memory in await self._memories():
                check_eviction(memory)
        except redis.exceptions.NoPermissionError:
            pass  # who may not ask is not told; the worker asks at its start
        self._looked_s = now_s

    async def _memories(self) -> list[dict[str, Any]]:
        if isinstance(self._client, redis.asyncio.RedisCluster):
            by_node = await self._client.info("memory", target_nodes=redis.asyncio.RedisCluster.PRIMARIES)
            found = list(by_node.values())
            return found if found and isinstance(found[0], dict) else [by_node]
        return [await self._client.info("memory")]
