"""All that a shard keeps in Redis."""

from typing import Any


def keys_of(client: Any, tag: str) -> dict[str, Any]:
    """The shard's keys without its tag, in order (trace ids as Latin-1), and what they hold."""
    keys = sorted(key for key in client.keys("*") if key.startswith(tag.encode()))
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        if key.endswith(b":next"):
            pipeline.get(key)
        elif b":z:" in key:
            pipeline.zrange(key, 0, -1)
        else:
            pipeline.hgetall(key)
    return {key.decode("latin-1")[len(tag) + 1 :]: kept for key, kept in zip(keys, pipeline.execute(), strict=True)}
