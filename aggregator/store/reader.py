"""Reading shards for answers: many commands in one round trip, from any number of shards, never a write."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

import redis
import redis.asyncio

from aggregator.layout.hash_pages import PageTable
from aggregator.layout.kept import decode_retention
from aggregator.layout.keys import (
    ShardKeys,
    ShardName,
    alert_keys,
    counted_topics,
    member_shard,
    project_registry,
    projects_by_name,
    refused_layout,
    shard_registry,
    stored_offset,
)
from aggregator.layout.shown_rules import ShownRules, decode_shown
from aggregator.objects.frame_cache import FrameCache
from aggregator.rollups.levels import Retention
from aggregator.store.connection import READ_CONNECTIONS_MAX
from aggregator.store.eviction import EvictionWatch, MayEvict
from aggregator.store.generation import LiveNamespace
from aggregator.store.pieces import Command as Command
from aggregator.store.pieces import pieces
from aggregator.store.recent_records import RecentRecords
from aggregator.store.round_trips import RoundTrips

# Projects of which it is remembered where they were, some 200 bytes each; forgotten all at once.
OPENED_LAST_MAX = 10_000

StoreAway = (redis.RedisError, OSError, MayEvict)
"""Redis cannot be reached, or does not answer what is asked, for whatever reason: the same may succeed later."""


class UnknownLayout(Exception):
    """A shard was written with a layout that this version does not know."""


class StateLost(Exception):
    """Redis has lost something while it was read: it was wiped, or is back from behind."""


class ProjectShard(NamedTuple):
    """A shard that holds calls of a project, the project's number in it, its next offset when it was opened, and the
    session of its writer then (None: not known).
    """

    keys: ShardKeys
    project: int
    next_offset: int = 0
    session: bytes | None = None


class OpenedProject(NamedTuple):
    """The shards of a project, and the time through which all that may hold it have been applied (None: not known).

    `retention`: what the writers of all these keep (None: none of them has said so).
    """

    shards: list[ProjectShard]
    as_of_us: int | None
    project_id: str = ""
    retention: Retention | None = None


class ProjectState(NamedTuple):
    """A project of which events have been applied, and the time through which (None: not known)."""

    project_id: str
    as_of_us: int | None


class StoreReader:
    """Reads the live generation of a namespace. Every method may raise one of StoreAway.

    `keyed_by_project`: it is known that all messages of a project go to one partition. `frames`: what of the shards is
    in objects.
    """

    def __init__(
        self,
        client: "redis.asyncio.Redis | redis.asyncio.RedisCluster",
        namespace: str,
        keyed_by_project: bool = False,
        frames: FrameCache | None = None,
    ) -> None:
        self.frames = frames or FrameCache(None)
        self._keyed_by_project = keyed_by_project
        self._turns = asyncio.Semaphore(READ_CONNECTIONS_MAX)
        self._client: Any = client
        self._round_trips = RoundTrips(client)
        self._live = LiveNamespace(client, namespace)
        *_, self._shown_rules = alert_keys(namespace)
        self._eviction = EvictionWatch(client)
        self._opened_last: dict[str, list[ShardName]] = {}
        # By key, as they were when they were last read: for who finds ids with them.
        self.id_tables: dict[str, PageTable] = {}
        # For who reads records.
        self.recent_records = RecentRecords()

    async def fetch(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to `commands`, in order: in one round trip, or in as many as they are pieces."""
        replies: list[Any] = []
        for piece in pieces(commands):
            async with self._turns:
                found = await self._round_trips.exchange(piece)
            for position, reply in zip(piece.positions, found, strict=True):
                if position < len(replies):
                    replies[position] += reply
                else:
                    replies.append(reply)
        return replies

    async def fetch_of(self, project: OpenedProject, commands: Sequence[Command]) -> list[Any]:
        """Answer commands about an opened project, in one round trip.

        Raises StateLost if Redis has lost something since the project was opened: what was read before these
        commands, or with them, is then of different states, even if as much has been applied again.
        """
        fences = [fence for shard in project.shards for fence in _fences(shard.keys, project.project_id)]
        replies = await self.fetch([*commands, *fences])
        now = iter(replies[len(commands) :])
        for shard, offset, number, (session,) in zip(project.shards, now, now, now, strict=True):
            lost = (stored_offset(offset) or 0) < shard.next_offset or session != shard.session
            if lost or number is None or int(number) != shard.project:
                raise StateLost("Redis has lost data while it was read")
        return replies[: len(commands)]

    async def shards_as_of(self) -> list[tuple[ShardName, int | None]]:
        """All shards there are, with how far each is (None: not known), once Redis answers.

        Raises UnknownLayout where a shard is not ours to read.
        """
        await self._client.ping()
        await self._eviction.check()
        namespace = await self._live.look()
        [members] = await self.fetch([("SMEMBERS", shard_registry(namespace))])
        names = _names(namespace, members)
        fields = (await self.fetch(_opening(names, "")))[OPENING_COMMANDS - 1 :: OPENING_COMMANDS]
        return [(name, _as_of_us(name.tag, *of_shard)) for name, of_shard in zip(names, fields, strict=True)]

    async def shown_rules(self) -> ShownRules | None:
        """Return what an alerter that runs shows of its rules, of all projects; None where none runs."""
        [record] = await self.fetch([("GET", self._shown_rules)])
        return None if record is None else decode_shown(record)

    async def open_project(self, project_id: str) -> OpenedProject:
        """Return where a project is; no shards for one that has never sent a call.

        A shard of its topics that does not hold it yet, because it lags or was wiped, is not as of now for it either,
        unless it is known that no shard but the one that holds it ever will; nor is a shard that nobody knows yet, so
        that a topic is as of the instant when its partitions were last counted, at the latest.
        """
        await self._eviction.check()
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
            return _opened(project_id, names, replies[2:], bounds_us)
        if holding:  # of what is not there, any number may be asked for
            if len(self._opened_last) >= OPENED_LAST_MAX:
                self._opened_last.clear()
            self._opened_last[registries[0]] = names
        return _opened(project_id, names, await self.fetch(_opening(names, project_id)), bounds_us)

    async def fences(self, project_ids: Iterable[str]) -> dict[str, list[bytes | None]]:
        """Return what the fences of the shards of projects hold, where these were opened: others after each batch."""
        namespace = await self._live.look()
        shards = {one: self._opened_last.get(project_registry(namespace, one), []) for one in project_ids}
        fences = iter(await self.fetch([("GET", ShardKeys(name).next) for names in shards.values() for name in names]))
        return {one: [next(fences) for _ in names] for one, names in shards.items()}

    async def project_ids(self, prefix: str, count_max: int) -> list[str]:
        """The first projects that begin so, by name: those of which events have been applied, or are about to be."""
        key, begin = projects_by_name(await self._live.look()), prefix.encode()
        [names] = await self.fetch([("ZRANGEBYLEX", key, b"[" + begin, b"(" + begin + b"\xff", "LIMIT", 0, count_max)])
        return [name.decode() for name in names]

    async def project_states(self, project_ids: Sequence[str]) -> list[ProjectState]:
        """How far each of these projects is known, as `open_project` says it; without those that are not known."""
        namespace = await self._live.look()
        counted_us, members, *of_projects = await self.fetch(
            [
                ("HGETALL", counted_topics(namespace)),
                ("SMEMBERS", shard_registry(namespace)),
                *(("SMEMBERS", project_registry(namespace, project_id)) for project_id in project_ids),
            ]
        )
        shards = _names(namespace, members)
        holding = [_names(namespace, of_project) for of_project in of_projects]
        asked = [(name, project_id) for project_id, names in zip(project_ids, holding, strict=True) for name in names]
        every = list(dict.fromkeys([*shards, *(name for name, _ in asked)]))
        replies = await self.fetch(
            [
                *(("HMGET", ShardKeys(name).shard, "as_of_us", "layout") for name in every),
                *(("HEXISTS", ShardKeys(name).projects, project_id) for name, project_id in asked),
            ]
        )
        as_of_us = {name: _as_of_us(name.tag, *fields) for name, fields in zip(every, replies, strict=False)}
        known = {project_id for (_, project_id), held in zip(asked, replies[len(every) :], strict=True) if held}
        states = []
        for project_id, names in zip(project_ids, holding, strict=True):
            if project_id in known:
                opened = names if self._keyed_by_project else _to_open(names, shards)
                bounds_us = [] if self._keyed_by_project else _counted_us(opened, counted_us)
                states.append(ProjectState(project_id, _earliest([as_of_us[name] for name in opened], bounds_us)))
        return states


def _names(namespace: str, members: Iterable[bytes]) -> list[ShardName]:
    return sorted(member_shard(namespace, member.decode()) for member in members)


def _to_open(holding: list[ShardName], known: list[ShardName]) -> list[ShardName]:
    """All shards of the topics of those that hold a project; of all topics where none does."""
    topics = {shard.topic for shard in holding}
    return [shard for shard in known if not topics or shard.topic in topics]


def _counted_us(names: Sequence[ShardName], counted_us: Mapping[bytes, bytes]) -> list[int]:
    topics = {shard.topic for shard in names}
    return [int(at_us) for topic, at_us in counted_us.items() if topic.decode() in topics]


OPENING_COMMANDS = 4  # of each shard, the last of which is how far it is


def _opening(names: Sequence[ShardName], project_id: str) -> list[Command]:
    commands: list[Command] = []
    for keys in map(ShardKeys, names):
        commands += [
            *_fences(keys, project_id, "retention"),
            ("HMGET", keys.shard, "as_of_us", "layout"),
        ]
    return commands


def _fences(keys: ShardKeys, project_id: str, *more: str) -> tuple[Command, ...]:
    """Return what is the same, or larger, as long as nothing is lost."""
    return (
        ("GET", keys.next),
        ("HGET", keys.projects, project_id),
        ("HMGET", keys.writer, "session", *more),
    )


def _opened(
    project_id: str, names: Sequence[ShardName], replies: Sequence[Any], bounds_us: Sequence[int] = ()
) -> OpenedProject:
    shards: list[ProjectShard] = []
    as_of_us: list[int | None] = []
    retentions: set[bytes] = set()
    rows = iter(replies)
    for keys, next_offset, project, (session, retention), (as_of, layout) in zip(
        map(ShardKeys, names), rows, rows, rows, rows, strict=True
    ):
        as_of_us.append(_as_of_us(keys.shard, as_of, layout))
        if retention is not None:
            retentions.add(retention)
        if project is not None:
            shards.append(ProjectShard(keys, int(project), stored_offset(next_offset) or 0, session))
    return OpenedProject(shards, _earliest(as_of_us, bounds_us), project_id, _shortest(retentions))


def _shortest(stored: Iterable[bytes]) -> Retention | None:
    found = [decode_retention(one) for one in stored]
    return reduce(Retention.shortest, found) if found else None


def _as_of_us(shard: str, as_of: bytes | None, layout: bytes | None) -> int | None:
    """How far a shard is, of its own fields. Raises UnknownLayout."""
    if layout is not None and (why := refused_layout(shard, int(layout))) is not None:
        raise UnknownLayout(why)
    return None if as_of is None else int(as_of)


def _earliest(as_of_us: Sequence[int | None], bounds_us: Sequence[int]) -> int | None:
    """The time through which all shards are known; None where one of them is not."""
    known_us = [of_shard for of_shard in as_of_us if of_shard is not None]
    known = known_us and len(known_us) == len(as_of_us)
    return min([*known_us, *bounds_us]) if known else None
