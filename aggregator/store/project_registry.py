"""Which projects there are, and which shards hold each: sets that expire, and the list of their names.

A set is extended before a shard holds something for longer, never shortened, and nobody takes a member out of it: so a
crash, a writer that has been overtaken, or one that comes late only lets it live longer than it must.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aggregator.layout.keys import ShardName, project_registry, projects_by_name, shard_member, shard_registry

# Looked up at once when the list of names is swept.
NAMES_PER_SWEEP = 100


def register_projects(client: Any, shard: ShardName, siblings: Sequence[str], seconds: Mapping[str, int]) -> None:
    """Make it known that a shard, one of `siblings`, holds these projects for at least so many seconds from now."""
    namespace, member = shard.namespace, shard_member(shard)
    pipeline = client.pipeline(transaction=False)
    pipeline.sadd(shard_registry(namespace), *siblings)
    for project_id, kept_s in seconds.items():
        registry = project_registry(namespace, project_id)
        pipeline.sadd(registry, member)
        pipeline.expire(registry, kept_s, nx=True)
        pipeline.expire(registry, kept_s, gt=True)
    if seconds:
        pipeline.zadd(projects_by_name(namespace), dict.fromkeys(seconds, 0))
    pipeline.execute()


def sweep_projects(client: Any, namespace: str, cursor: int) -> int:
    """Take some names out of the list whose sets have expired; where to go on, 0 at the end.

    Whoever registers a project writes its set first and its name then; who takes the name out looks at the set once
    more after that. So whichever comes between, the name is there when the set is.
    """
    key = projects_by_name(namespace)
    cursor, found = client.zscan(key, cursor, count=NAMES_PER_SWEEP)
    if gone := _without_set(client, namespace, [name for name, _ in found]):
        client.zrem(key, *gone)
        if back := set(gone) - set(_without_set(client, namespace, gone)):
            client.zadd(key, dict.fromkeys(back, 0))
    return int(cursor)


def _without_set(client: Any, namespace: str, names: Sequence[bytes]) -> list[bytes]:
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.exists(project_registry(namespace, name.decode()))
    return [name for name, is_there in zip(names, pipeline.execute(), strict=True) if not is_there]
