"""How much memory each node of Redis uses, and how much it may."""

from typing import Any, NamedTuple

import redis


class NodeMemory(NamedTuple):
    """Bytes that a node uses, and its `maxmemory`; 0: none is set. `node`: `host:port` in a cluster, else empty."""

    node: str
    used_bytes: int
    limit_bytes: int


def node_memories(client: redis.Redis) -> list[NodeMemory]:
    """One for each master. Raises redis.RedisError and OSError."""
    asked: Any = client
    if not isinstance(client, redis.RedisCluster):
        return [_memory("", asked.info("memory"))]
    by_node = asked.info("memory", target_nodes=redis.RedisCluster.PRIMARIES)
    if "used_memory" in by_node:  # of a cluster of one node redis-py gives what that node said
        return [_memory("", by_node)]
    return [_memory(node, said) for node, said in by_node.items()]


def _memory(node: str, said: dict[str, Any]) -> NodeMemory:
    return NodeMemory(node, int(said["used_memory"]), int(said.get("maxmemory", 0)))
