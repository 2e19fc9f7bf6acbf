"""Writes a backup's keys into Redis. Meanwhile all shards are closed; together, at last, they are opened.

The fence of a closed shard is what a rebuild without a lease leaves of one that has no message: no worker writes such a
shard, none takes it back, and each goes on by itself once it is open. So workers may run meanwhile, and a restore that
is cut off leaves nothing that could be taken for all there is.
"""

import secrets
from collections.abc import Iterable, Iterator
from typing import Any

import redis

from aggregator.layout.backup import CopiedKey, CopiedShard
from aggregator.layout.keys import MOVED, SEALED, SESSION_BYTES, ShardKeys, ShardName, fence_at
from aggregator.layout.namespace_keys import only_literally
from aggregator.store.generation import live_namespace, rebuild_key
from aggregator.store.namespace import NamespaceKeys
from aggregator.store.shard_store import SEAL_FENCE_BYTES

# Sent at once: the server is busy with them for some milliseconds.
BYTES_PER_STEP = 2**20
KEYS_PER_STEP = 500
KEYS_PER_SCAN = 1_000


class OtherServer(Exception):
    """Redis cannot read what another version, or another product, has copied; the message is what it says."""


class KeyLoader:
    """The keys of a namespace, to be replaced by those of a backup of one generation of it. Methods raise what the
    client raises; `write` also OtherServer.
    """

    def __init__(self, client: redis.Redis, namespace: str, generation: str) -> None:
        self._client: Any = client
        self._namespace = namespace
        # What is there may be of another generation.
        there = {live_namespace(client, namespace), generation}
        self._keys = [NamespaceKeys(namespace, one) for one in sorted(there)]

    def keys_there(self) -> int:
        """How many keys there are; closed fences do not count."""
        return sum(not (self._is_fence(name) and self._client.get(name) == MOVED) for name in self._found())

    def close(self, shards: Iterable[ShardName]) -> list[ShardName]:
        """Let no worker write these shards, nor any that is there; returns all of them."""
        there = {shard for name in self._found() for keys in self._keys if (shard := keys.shard(name)) is not None}
        closed = sorted({*there, *shards})
        for shard in closed:
            self._client.set(ShardKeys(shard).next, MOVED)
        return closed

    def clear(self) -> None:
        """Delete all keys but the fences.

        Those that shards share go first, and are written last: until all is there nobody finds a shard to answer from,
        and so none of which something is missing.
        """
        names = list(self._found())
        shared = [name for name in names if any(keys.is_shared(name) for keys in self._keys)]
        self._unlink(shared)
        self._unlink(name for name in names if not self._is_fence(name))

    def write(self, copies: Iterable[CopiedKey]) -> None:
        """Write keys, in this order; those that have expired meanwhile are not there afterwards."""
        pipeline = self._client.pipeline(transaction=False)
        size = 0
        for copy in copies:
            if self._is_fence(copy.key):
                continue
            if copy.dumped is None:
                pipeline.unlink(copy.key)
            else:
                pipeline.execute_command("RESTORE", copy.key, copy.expires_ms, copy.dumped, "REPLACE", "ABSTTL")
                size += len(copy.dumped)
            if size >= BYTES_PER_STEP or len(pipeline) >= KEYS_PER_STEP:
                self._execute(pipeline)
                size = 0
        self._execute(pipeline)

    def open(self, generation: str, copied: Iterable[CopiedShard], closed: Iterable[ShardName]) -> None:
        """Let workers go on with what was written: all shards that were closed, where they were copied."""
        self._client.hdel(rebuild_key(self._namespace), "building", "dropping", "seen_s")
        offsets = {
            ShardName(generation, one.topic, one.partition): (one.next_offset, one.next_element) for one in copied
        }
        for shard in closed:
            keys, (offset, element) = ShardKeys(shard), offsets.get(shard, (None, 0))
            if offset is None:
                self._client.delete(keys.next)
                continue
            # What is folded again may get other numbers than before, and nobody goes on who has read this state before.
            self._client.hset(keys.writer, "session", secrets.token_bytes(SESSION_BYTES))
            drawn = secrets.token_hex(SEAL_FENCE_BYTES).encode()
            self._client.set(keys.next, fence_at(offset, element) + SEALED + drawn)

    def _unlink(self, names: Iterable[bytes]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.unlink(name)
            if len(pipeline) >= KEYS_PER_STEP:
                pipeline.execute()
        pipeline.execute()

    def _execute(self, pipeline: Any) -> None:
        try:
            pipeline.execute()
        except redis.ResponseError as why:
            if "DUMP payload" not in str(why) and "Bad data format" not in str(why):
                raise
            raise OtherServer(str(why)) from None

    def _found(self) -> Iterator[bytes]:
        for name in self._client.scan_iter(match=f"*{only_literally(self._namespace)}*", count=KEYS_PER_SCAN):
            if any(keys.group(name) is not None for keys in self._keys):
                yield name

    def _is_fence(self, name: bytes) -> bool:
        shards = (keys.shard(name) for keys in self._keys)
        return any(shard is not None and name == ShardKeys(shard).next.encode() for shard in shards)
