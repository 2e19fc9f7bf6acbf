"""What other shards of a topic know of calls: which of them holds a call's start.

Messages of one call may come through several partitions: producers without keys, and topics that got more partitions.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

import redis

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
from aggregator.layout.sealed_calls import CALL_FRAME_FIELD, calls_among
from aggregator.time_units import DAY_S, DAY_US

# Claims of one day of a topic lie in so many keys, so that they spread over a cluster.
CLAIM_KEYS = 64


class Elsewhere:
    """The other shards of one shard's topic. Methods raise what the client raises."""

    def __init__(self, client: redis.Redis, shard: ShardName, retention_s: int) -> None:
        self._client: Any = client
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
        records = self._pipelined(
            ("HMGET", ShardKeys(one).ids, *(id_field(number, packed) for packed in ids)) for one, number in holding
        )
        found = [
            (one, packed, int(record))
            for (one, _), of_shard in zip(holding, records, strict=True)
            for packed, record in zip(ids, of_shard, strict=True)
            if record is not None
        ]
        calls = self._pipelined(
            ("HMGET", ShardKeys(one).calls(record // CALLS_PER_CHUNK), record % CALLS_PER_CHUNK, CALL_FRAME_FIELD)
            for one, _, record in found
        )
        return {
            packed: one.partition
            for (one, packed, record), (own, frame) in zip(found, calls, strict=True)
            if any(call.is_started for call in calls_among(ShardKeys(one).shard, [record], [own], frame).values())
        }

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
