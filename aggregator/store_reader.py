"""Reading shards for answers: many commands in one round trip, from any number of shards, never a write."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import redis.asyncio

from aggregator.generation import LiveNamespace
from aggregator.redis_connection import READ_CONNECTIONS_MAX
from aggregator.redis_connection import StoreAway as StoreAway
from aggregator.redis_layout import (
    LAYOUT_VERSION,
    ShardKeys,
    ShardName,
    member_shard,
    project_registry,
    shard_registry,
    stored_offset,
)

Command = tuple[Any, ...]


class UnknownLayout(Exception):
    """A shard was written with a layout that this version does not know."""


class ProjectShard(NamedTuple):
    """A shard that holds calls of a project, the project's number in it, and its next offset when it was opened."""

    keys: ShardKeys
    project: int
    next_offset: int = 0


class OpenedProject(NamedTuple):
    """The shards of a project, and the time through which all that may hold it have been applied (None: not known)."""

    shards: list[ProjectShard]
    as_of_us: int | None


class StoreReader:
    """Reads the live generation of a namespace. Every method may raise one of StoreAway.

    `keyed_by_project`: it is known that all messages of a project go to one partition.
    """

    def __init__(
        self,
        client: "redis.asyncio.Redis | redis.asyncio.RedisCluster",
        namespace: str,
        keyed_by_project: bool = False,
    ) -> None:
        self._keyed_by_project = keyed_by_project
        self._turns = asyncio.Semaphore(READ_CONNECTIONS_MAX)
        self._client: Any = client
        self._live = LiveNamespace(client, namespace)

    async def fetch(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to `commands`, in order, in one round trip."""
        if not commands:
            return []
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        async with self._turns:
            replies: list[Any] = await pipeline.execute()
        return replies

    async def ping(self) -> None:
        """Return when Redis answers; raises UnknownLayout where a shard is not ours to read."""
        await self._client.ping()
        [known] = await self._members(shard_registry)
        await self._open(known, "")

    async def open_project(self, project_id: str) -> OpenedProject:
        """Where a project is; no shards for one that has never sent a call.

        A shard of its topics that does not hold it yet, because it lags or was wiped, is not as of now for it either,
        unless it is known that no shard but the one that holds it ever will.
        """
        holding, known = await self._members(partial(project_registry, project_id=project_id), shard_registry)
        if self._keyed_by_project and holding:
            return await self._open(holding, project_id)
        topics = {shard.topic for shard in holding}
        return await self._open([shard for shard in known if not topics or shard.topic in topics], project_id)

    async def forgot(self, project: OpenedProject) -> bool:
        """Whether Redis has lost something since it was opened: it was wiped, or is back from behind."""
        replies = await self.fetch([("GET", shard.keys.next) for shard in project.shards])
        return any(
            (stored_offset(now) or 0) < shard.next_offset for now, shard in zip(replies, project.shards, strict=True)
        )

    async def _members(self, *registries: Callable[[str], str]) -> list[list[ShardName]]:
        namespace = await self._live.look()
        found = await self.fetch([("SMEMBERS", registry(namespace)) for registry in registries])
        return [sorted(member_shard(namespace, member.decode()) for member in members) for members in found]

    async def _open(self, names: list[ShardName], project_id: str) -> OpenedProject:
        keys = [ShardKeys(name) for name in names]
        commands: list[Command] = []
        for shard in keys:
            commands += [
                ("GET", shard.next),
                ("HGET", shard.projects, project_id),
                ("HMGET", shard.shard, "as_of_us", "layout"),
            ]
        replies = await self.fetch(commands)
        shards: list[ProjectShard] = []
        as_of_us: list[int | None] = []
        for shard, next_offset, project, (as_of, layout) in zip(
            keys, replies[::3], replies[1::3], replies[2::3], strict=True
        ):
            if layout is not None and int(layout) != LAYOUT_VERSION:
                raise UnknownLayout(
                    f"shard {shard.shard} has layout {int(layout)}, this version reads {LAYOUT_VERSION}"
                )
            as_of_us.append(None if as_of is None else int(as_of))
            if project is not None:
                shards.append(ProjectShard(shard, int(project), stored_offset(next_offset) or 0))
        known_us = [of_shard for of_shard in as_of_us if of_shard is not None]
        return OpenedProject(shards, min(known_us) if known_us and len(known_us) == len(as_of_us) else None)
