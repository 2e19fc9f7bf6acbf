"""What other shards of a topic know of calls: which of them holds a call's start.

Messages of one call may come through several partitions: producers without keys, and topics that got more partitions.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

import redis

from aggregator.layout.id_search import READS_MAX, IdSearch, IdsInShard
from aggregator.layout.keys import (
    CALLS_PER_CHUNK,
    ShardKeys,
    ShardName,
    claims_key,
    grown_topics,
    id_field,
    member_shard,
    project_registry,
)
from aggregator.layout.sealed_calls import CALL_FRAME_FIELD, calls_among, read_call_frames
from aggregator.objects.frame_cache import FrameCache
from aggregator.time_units import DAY_S, DAY_US

# Claims of one day of a topic lie in so many keys, so that they spread over a cluster.
CLAIM_KEYS = 64


class Elsewhere:
    """The other shards of one shard's topic. Methods raise what the client raises, and what `frames` do."""

    def __init__(
        self, client: redis.Redis, shard: ShardName, retention_s: int, frames: FrameCache | None = None
    ) -> None:
        self._client: Any = client
        self._frames = frames or FrameCache(None)
        self._shard = shard
        self._retention_s = retention_s

    def started(self, project_id: str, ids: Sequence[bytes]) -> dict[bytes, int]:
        """Return which other partition holds a call's start, for those of these packed ids that one holds."""
        members = self._client.smembers(project_registry(self._shard.namespace, project_id))
        shards = [member_shard(self._shard.namespace, member.decode()) for member in members]
        others = sorted(one for one in shards if one.topic == self._shard.topic and one != self._shard)
        if not others or not ids:
            return {}
        numbers = self._pipelined(("HGET", ShardKeys(one).projects, project_id) for one in others)
        holding = [(one, int(number)) for one, number in zip(others, numbers, strict=True) if number is not None]
        wanted = [IdsInShard(ShardKeys(one), [id_field(number, packed) for packed in ids]) for one, number in holding]
        found = self._numbers(wanted)
        by_chunk: dict[tuple[int, int], list[int]] = {}
        for at, record in found:
            by_chunk.setdefault((at, record // CALLS_PER_CHUNK), []).append(record)
        calls = self._pipelined(
            (
                "HMGET",
                wanted[at].keys.calls(chunk),
                CALL_FRAME_FIELD,
                *(record % CALLS_PER_CHUNK for record in records),
            )
            for (at, chunk), records in by_chunk.items()
        )
        started: dict[bytes, int] = {}
        asked = set(ids)
        for ((at, chunk), records), (stored, *own) in zip(by_chunk.items(), calls, strict=True):
            one, number = holding[at]
            key = wanted[at].keys.calls(chunk)
            frame = read_call_frames({key: stored}, self._frames)[key] if None in own else None
            for call in calls_among(key, records, own, frame).values():
                if call.is_started and call.packed_id in asked and call.project == number:
                    started[call.packed_id] = one.partition
        return started

    def _numbers(self, wanted: Sequence[IdsInShard]) -> list[tuple[int, int]]:
        """The numbers of all records that have one of the ids, and of a few others, each with the shard it is in."""
        search = IdSearch(wanted, {})
        for _ in range(READS_MAX):
            commands = search.commands()
            if not commands:
                found = (search.known, search.possible)
                return sorted((at, number) for each in found for at, numbers in each.items() for number in numbers)
            search.take(self._pipelined(commands))
        raise redis.RedisError("ids were moved again and again while they were read")

    def claim(self, starts: Mapping[tuple[str, bytes], int]) -> dict[tuple[str, bytes], int]:
        """The partition that counts each of these calls, by project and packed id, with when they started: this one
        where no other has claimed the call before.
        """
        commands: list[tuple[Any, ...]] = []
        expiries: dict[str, int] = {}
        for (project_id, packed), started_us in starts.items():
            field = project_id.encode() + b"\0" + packed
            day = started_us // DAY_US
            key = claims_key(self._shard.namespace, self._shard.topic, day, crc32(field) % CLAIM_KEYS)
            commands += [("HSETNX", key, field, self._shard.partition), ("HGET", key, field)]
            expiries[key] = (day + 1) * DAY_S + self._retention_s
        replies = self._pipelined([*commands, *(("EXPIREAT", key, at_s) for key, at_s in expiries.items())])
        return dict(zip(starts, map(int, replies[1 : len(commands) : 2]), strict=True))

    def grown_us(self, partitions: int, now_us: int) -> int:
        """Return when the topic last got more partitions, as far as is known; it has so many at this instant."""
        key = grown_topics(self._shard.namespace)
        stored = self._client.hget(key, self._shard.topic)
        known, since_us = map(int, stored.split(b":")) if stored else (partitions, 0)
        if stored is None or partitions > known:
            since_us = now_us if stored else 0
            self._client.hset(key, self._shard.topic, f"{partitions}:{since_us}")
        return since_us

    def _pipelined(self, commands: Any) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        replies: list[Any] = pipeline.execute()
        return replies
