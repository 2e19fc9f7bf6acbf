"""Verifies a shard's objects: that each is what was put there, and that every pointer leads to what it says."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from aggregator.layout.moved import MovedObject, unpack_objects
from aggregator.layout.sealed import object_prefix
from aggregator.objects.object_store import ObjectMissing, ObjectStore
from aggregator.segments.segment import DamagedSegment, check_segment
from aggregator.store.shard_store import ShardStore
from aggregator.writing.pointers import read_pointers


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
    found = set()
    for at, (exists, frames) in read_pointers(store, name, entry).items():
        if exists and not frames:
            wrong.append(f"block {at[1]} of project {at[0]} does not point into it")
        found |= {(*at, number, *location[1:]) for number, location in frames.items()}
    return found
