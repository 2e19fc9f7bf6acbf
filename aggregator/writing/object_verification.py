"""Verifies a shard's objects: that each is what was put there, and that every pointer leads to what it says."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from aggregator.layout.moved import MovedObject, named_level_day, unpack_objects
from aggregator.layout.sealed import DIRECTORY_FIELD, object_prefix, unpack_directory
from aggregator.layout.slots import Block
from aggregator.objects.object_store import ObjectMissing, ObjectStore
from aggregator.segments.segment import DamagedSegment, check_segment
from aggregator.store.shard_store import ShardStore


class ObjectState(NamedTuple):
    """An object, how many pointers lead into it, and what is wrong (empty: nothing)."""

    name: str
    size_bytes: int
    pointers: int
    wrong: list[str]


def shard_objects(store: ShardStore) -> tuple[dict[str, MovedObject], dict[str, int]]:
    """Read what a shard points into, and since when what is retired is (microseconds since 1970)."""
    entries, retired = store.read_hashes([store.keys.objects, store.keys.retired])
    return unpack_objects(entries), {name.decode(): int(since_us) for name, since_us in retired.items()}


def verify_objects(
    store: ShardStore, objects: ObjectStore, entries: Mapping[str, MovedObject]
) -> Iterator[ObjectState]:
    """The state of each of these objects. Raises ObjectStoreAway, and what the store raises."""
    prefix = object_prefix(store.keys.objects)
    for name, entry in entries.items():
        wrong: list[str] = []
        sections: set[tuple[int, int, int, int, int, int]] = set()
        try:
            for key, offset, length, checksum in check_segment(prefix + name, objects.read_whole(prefix + name)):
                sections.add((key.project, key.block, key.number, offset, length, checksum))
        except ObjectMissing:
            wrong.append("is missing")
        except DamagedSegment as why:
            wrong.append(str(why))
        pointers = _pointers(store, name, entry, wrong)
        if sections and not pointers <= sections:
            wrong.append(f"{len(pointers - sections)} pointers lead to no section")
        yield ObjectState(prefix + name, entry.size_bytes, len(pointers), wrong)


def _pointers(
    store: ShardStore, name: str, entry: MovedObject, wrong: list[str]
) -> set[tuple[int, int, int, int, int, int]]:
    """The pointers into an object; blocks that have expired have none."""
    level = named_level_day(name).level
    keys = {store.keys.rollups(*Block(project, level, number)): (project, number) for project, number in entry.blocks}
    found = set()
    for key, [stored] in store.read_fields({key: [DIRECTORY_FIELD] for key in keys}).items():
        located = [one for one in unpack_directory(stored).ranges if one.location and one.location.name == name]
        if stored is not None and not located:
            wrong.append(f"block {key!s} does not point into it")
        for one in located:
            assert one.location is not None
            found.add((*keys[str(key)], one.number, *one.location[1:]))
    return found
