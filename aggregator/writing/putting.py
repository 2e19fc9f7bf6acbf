"""Putting an object beside the folding, after the one that says whose it is."""

import secrets
from collections.abc import Mapping
from concurrent.futures import Executor, Future
from functools import partial

from aggregator.layout.moved import OWNER
from aggregator.layout.sealed import object_prefix
from aggregator.layout.write import ShardWrite
from aggregator.objects.object_store import ObjectMissing, ObjectStore, ObjectStoreAway
from aggregator.segments.segment import Section, SectionKey, pack_segment
from aggregator.store.shard_store import ShardStore

# Random digits of a name: two never draw the same.
NAME_BYTES = 8


def begin_put(
    store: ShardStore, objects: ObjectStore, aside: Executor, name: str, contents: Mapping[SectionKey, bytes]
) -> "Future[tuple[int, list[Section]]]":
    """Let an object be put, after the one that says whose it is; comes to its size, and where its sections are."""
    objects_key = store.keys.objects
    names = store.field_names(objects_key)
    if OWNER.encode() not in names:
        store.replace(ShardWrite(fields={objects_key: {OWNER: secrets.token_hex(NAME_BYTES)}}))
    [[owner]] = store.read_fields({objects_key: [OWNER]}).values()
    assert owner is not None
    return aside.submit(partial(_put, objects, object_prefix(objects_key), name, contents, owner, len(names) > 1))


def _put(
    objects: ObjectStore, prefix: str, name: str, contents: Mapping[SectionKey, bytes], owner: bytes, has_objects: bool
) -> tuple[int, list[Section]]:
    """Put an object; its size, and where its sections are. Raises ObjectStoreAway, and AlreadyThere."""
    try:
        objects.read_whole(prefix + OWNER)
    except ObjectMissing:
        if has_objects:
            raise ObjectStoreAway(f"{prefix}{OWNER} is gone, which is put before all others: another store?") from None
        objects.put(prefix + OWNER, owner)
    packed, sections = pack_segment(prefix + name, contents)
    objects.put(prefix + name, packed)
    return len(packed), sections
