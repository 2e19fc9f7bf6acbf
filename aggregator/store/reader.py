"""Reading shards for answers: many commands in one round trip, from any number of shards, never a write."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import redis.asyncio

from aggregator.layout.keys import (
    LAYOUT_VERSION,
    ShardKeys,
    ShardName,
    counted_topics,
    member_shard,
    project_registry,
    shard_registry,
    stored_offset,
)
from aggregator.store.connection import READ_CONNECTIONS_MAX
from aggregator.store.connection import StoreAway as StoreAway
from aggregator.store.generation import LiveNamespace

Command = tuple[Any, ...]

# Projects of which it is remembered where they were, some 200 bytes each; forgotten all at once.
OPENED_LAST_MAX = 10_000


class UnknownLayout(Exception):
    """A shard was written with a layout that this version does not know."""


class StateLost(Exception):
    """Redis has lost something while it was read: it was wiped, or is back from behind."""


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
        self._opened_last: dict[str, list[ShardName]] = {}

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

    async def fetch_of(self, project: OpenedProject, commands: Sequence[Command]) -> list[Any]:
        """Answer commands about an opened project, in one round trip.

        Raises StateLost if Redis has lost something since the project was opened: what was read before these
        commands, or with them, is then of different states.
        """
        fences = [("GET", shard.keys.next) for shard in project.shards]
        replies = await self.fetch([*commands, *fences])
        now = replies[len(commands) :]
        if any(
            (stored_offset(fence) or 0) < shard.next_offset for fence, shard in zip(now, project.shards, strict=True)
        ):
            raise StateLost("Redis has lost data while it was read")
        return replies[: len(commands)]

    async def ping(self) -> None:
        """Return when Redis answers; raises UnknownLayout where a shard is not ours to read."""
        await self._client.ping()
        namespace = await self._live.look()
        [members] = await self.fetch([("SMEMBERS", shard_registry(namespace))])
        names = _names(namespace, members)
        _opened(names, await self.fetch(_opening(names, "")))

    async def open_project(self, project_id: str) -> OpenedProject:
        """Where a project is; no shards for one that has never sent a call.

        A shard of its topics that does not hold it yet, because it lags or was wiped, is not as of now for it either,
        unless it is known that no shard but the one that holds it ever will; nor is a shard that nobody knows yet, so
        that a topic is as of the instant when its partitions were last counted, at the latest.
        """
        namespace = await self._live.look()
        registries = [project_registry(namespace, project_id), shard_registry(namespace)]
        # Who counts writes the instant last, so it is read first.
        counted = ("HGETALL", counted_topics(namespace))
        # In one round trip, as nearly always it is where it was.
        guessed = self._opened_last.get(registries[0], [])
        counted_us, *replies = await self.fetch(
            [counted, *(("SMEMBERS", one) for one in registries), *_opening(guessed, project_id)]
        )
        holding, known = (_names(namespace, members) for members in replies[:2])
        certain = self._keyed_by_project and bool(holding)
        names = holding if certain else _to_open(holding, known)
        bounds_us = [] if certain else _counted_us(names, counted_us)
        if names == guessed:
            return _opened(names, replies[2:], bounds_us)
        if len(self._opened_last) >= OPENED_LAST_MAX:
            self._opened_last.clear()
        self._opened_last[registries[0]] = names
        return _opened(names, await self.fetch(_opening(names, project_id)), bounds_us)


def _names(namespace: str, members: Iterable[bytes]) -> list[ShardName]:
    return sorted(member_shard(namespace, member.decode()) for member in members)


def _to_open(holding: list[ShardName], known: list[ShardName]) -> list[ShardName]:
    """All shards of the topics of those that hold a project; of all topics where none does."""
    topics = {shard.topic for shard in holding}
    return [shard for shard in known if not topics or shard.topic in topics]


def _counted_us(names: Sequence[ShardName], counted_us: Mapping[bytes, bytes]) -> list[int]:
    topics = {shard.topic for shard in names}
    return [int(at_us) for topic, at_us in counted_us.items() if topic.decode() in topics]


def _opening(names: Sequence[ShardName], project_id: str) -> list[Command]:
    commands: list[Command] = []
    for keys in map(ShardKeys, names):
        commands += [
            ("GET", keys.next),
            ("HGET", keys.projects, project_id),
            ("HMGET", keys.shard, "as_of_us", "layout"),
        ]
    return commands


def _opened(names: Sequence[ShardName], replies: Sequence[Any], bounds_us: Sequence[int] = ()) -> OpenedProject:
    shards: list[ProjectShard] = []
    as_of_us: list[int | None] = []
    for keys, next_offset, project, (as_of, layout) in zip(
        map(ShardKeys, names), replies[::3], replies[1::3], replies[2::3], strict=True
    ):
        if layout is not None and int(layout) != LAYOUT_VERSION:
            raise UnknownLayout(f"shard {keys.shard} has layout {int(layout)}, this version reads {LAYOUT_VERSION}")
        as_of_us.append(None if as_of is None else int(as_of))
        if project is not None:
            shards.append(ProjectShard(keys, int(project), stored_offset(next_offset) or 0))
    known_us = [of_shard for of_shard in as_of_us if of_shard is not None]
    known = known_us and len(known_us) == len(as_of_us)
    return OpenedProject(shards, min([*known_us, *bounds_us]) if known else None)
