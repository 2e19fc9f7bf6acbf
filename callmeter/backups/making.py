"""Makes a backup: copies all keys of a namespace, each shard's as they are at one instant, while workers go on."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import redis

from aggregator.layout.backup import (
    FORM_VERSION,
    MANIFEST,
    CopiedKey,
    CopiedPart,
    CopiedShard,
    Manifest,
    backups_prefix,
    encode_manifest,
    pack_part,
)
from aggregator.layout.keys import ShardKeys, ShardName, stored_element, stored_offset
from aggregator.layout.moved import OWNER, unpack_objects
from aggregator.objects.object_store import ObjectStore, ObjectStoreAway
from aggregator.store.backup_state import BackupState
from aggregator.store.generation import live_namespace
from aggregator.store.key_copying import KeyCopier, NoInstant, nodes
from aggregator.store.namespace import NamespaceKeys
from aggregator.timestamps import format_utc
from callmeter.backups.keeping import new_name

# Of dumps in one object, before they are compressed: held in memory twice, and read whole when they are restored.
PART_BYTES_MAX = 16 * 2**20

Progress = Callable[[int, int], object]
"""Is told how many keys were copied, and how many are left as far as is known."""


def make_backup(
    client: redis.Redis, namespace: str, objects: ObjectStore, now_us: int, progress: Progress = lambda *_: None
) -> tuple[str, Manifest]:
    """Make a backup; its name, and its manifest. Raises NoInstant, ObjectStoreAway, and what the client raises."""
    generation = live_namespace(client, namespace)
    lineage = BackupState(client, namespace).begin()
    name = new_name(now_us)
    parts = _Parts(objects, f"{backups_prefix(namespace)}{name}/")
    shards: list[CopiedShard] = []
    try:
        with ExitStack() as stack:
            keys = NamespaceKeys(namespace, generation)
            copiers = [stack.enter_context(KeyCopier(node, keys.prefixes, keys.group)) for node in nodes(client)]
            steps = _all_keys(copiers, keys, shards)
            for copies in steps:
                parts.add(copies)
                progress(len(copies), sum(copier.keys_left for copier in copiers))
        parts.finish()
        if live_namespace(client, namespace) != generation:
            raise NoInstant("a rebuild has switched over meanwhile; try again")
        manifest = Manifest(
            FORM_VERSION,
            namespace,
            generation,
            lineage,
            format_utc(now_us),
            _server(client),
            sorted(shards, key=_place),
            parts.put,
        )
        parts.put_object(MANIFEST, encode_manifest(manifest))
    except BaseException:
        parts.delete()
        raise
    return name, manifest


def _all_keys(copiers: list[KeyCopier], keys: NamespaceKeys, shards: list[CopiedShard]) -> Iterator[list[CopiedKey]]:
    """Yield all keys, those that shards share at last: what a shard says of itself there it says before it holds it."""
    for copier in copiers:
        for tag in copier.groups:
            if tag:
                shard = keys.named(tag)
                shards.append((yield from _shard_keys(copier, shard)))
    for copier in copiers:
        yield from copier.copy("")


def _shard_keys(copier: KeyCopier, shard: ShardName) -> Any:
    keys = ShardKeys(shard)
    reads = (("GET", keys.next), ("HMGET", keys.shard, "layout", "as_of_us"), ("HGETALL", keys.objects))
    fence, (layout, as_of_us), objects = yield from copier.copy(shard.tag, reads)
    return CopiedShard(
        shard.topic,
        shard.partition,
        stored_offset(fence),
        stored_element(fence),
        int(layout or 0),
        int(as_of_us or 0),
        objects.get(OWNER.encode(), b"").decode(),
        {name: entry.size_bytes for name, entry in unpack_objects(objects).items()},
    )


class _Parts:
    """The objects of keys of a backup, put as they are full."""

    def __init__(self, objects: ObjectStore, prefix: str) -> None:
        self.put: list[CopiedPart] = []
        self._objects = objects
        self._prefix = prefix
        self._names: list[str] = []
        self._copies: list[CopiedKey] = []
        self._size_bytes = 0

    def add(self, copies: list[CopiedKey]) -> None:
        """Add keys, in the order in which they are to be written."""
        for copy in copies:
            self._copies.append(copy)
            self._size_bytes += len(copy.key) + len(copy.dumped or b"")
            if self._size_bytes >= PART_BYTES_MAX:
                self.finish()

    def finish(self) -> None:
        """Put what was added last."""
        if self._copies:
            part, packed = pack_part(len(self.put), self._copies)
            self.put_object(part.name, packed)
            self.put.append(part)
            self._copies, self._size_bytes = [], 0

    def put_object(self, name: str, content: bytes) -> None:
        """Put an object below the backup's prefix."""
        self._names.append(self._prefix + name)
        self._objects.put(self._prefix + name, content)

    def delete(self) -> None:
        """Delete what was put, as far as the store lets us: what is left is pruned later."""
        with suppress(ObjectStoreAway):
            self._objects.delete(self._names)


def _place(shard: CopiedShard) -> tuple[str, int]:
    return shard.topic, shard.partition


def _server(client: redis.Redis) -> str:
    """Return which product, and which version of it, has copied."""
    asked: Any = nodes(client)[0]
    said = asked.info("server")
    product = said.get("server_name", "redis")
    return f"{product} {said.get(f'{product}_version', said.get('redis_version', 'of an unknown version'))}"
