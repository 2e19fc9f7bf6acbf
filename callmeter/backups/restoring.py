"""Restores a backup: looks at all of it and at what it needs, then replaces what Redis holds of the namespace."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from aggregator.layout.backup import CopiedKey, DamagedBackup, Manifest, backups_prefix, unpack_part
from aggregator.layout.keys import LAYOUTS_READ, ShardKeys, ShardName
from aggregator.layout.moved import OWNER
from aggregator.layout.sealed import object_prefix
from aggregator.objects.object_store import ObjectMissing, ObjectStore
from aggregator.store.key_loading import KeyLoader

Logs = Mapping[str, Mapping[int, tuple[int, int]]]
"""By topic and partition: the oldest offset there is, and the one that the next message will get."""


class RestoredShard(msgspec.Struct, frozen=True):
    """Where a shard will go on in its log, which holds offsets from `log_begins` up to, not with, `log_ends` (None: its
    topic or partition is not there, or no broker has said).
    """

    topic: str
    partition: int
    next_offset: int
    log_begins: int | None
    log_ends: int | None

    @property
    def offsets_lost(self) -> int:
        """Offsets from the one to go on at that the log does not hold any more."""
        return 0 if self.log_begins is None else max(0, self.log_begins - self.next_offset)

    @property
    def offsets_to_read(self) -> int:
        """Offsets that will be read, those of messages that had been folded after the backup among them."""
        return 0 if self.log_ends is None else max(0, self.log_ends - max(self.next_offset, self.log_begins or 0))

    @property
    def is_other_log(self) -> bool:
        """Whether the log ends before the offset: it is not the one that was folded, and no worker will read it."""
        return self.log_ends is not None and self.next_offset > self.log_ends


class Faults(NamedTuple):
    """Objects that a backup points into and that are not there, or not of the size that they had; and prefixes below
    which there are objects of others.
    """

    objects: list[str]
    owners: list[str]


class Plan(NamedTuple):
    """What a restore would do. `keys_there`: keys that Redis holds of the namespace now; `why_unknown`: why it is not
    known what the logs hold (empty: it is).
    """

    name: str
    manifest: Manifest
    shards: list[RestoredShard]
    keys_there: int
    faults: Faults
    why_unknown: str

    def refusal(self, replaces: bool, despite_missing: bool) -> str | None:
        """Why it must not be done, as things are, in one sentence; None: it may be."""
        if self.faults.owners:
            return "the object store is not the one of this backup, or is shared with another deployment"
        if self.faults.objects and not despite_missing:
            count = len(self.faults.objects)
            return f"{count} objects that the backup points into are missing; --despite-missing goes on without them"
        if self.keys_there and not replaces:
            return f"Redis holds {self.keys_there:,} keys of this namespace; --replace deletes them"
        return None


def check_parts(objects: ObjectStore, name: str, manifest: Manifest) -> Iterator[list[CopiedKey]]:
    """Yield the keys of each part. Raises DamagedBackup, for an object that is missing too, and ObjectStoreAway."""
    prefix = f"{backups_prefix(manifest.namespace)}{name}/"
    for part in manifest.parts:
        try:
            packed = objects.read_whole(prefix + part.name)
        except ObjectMissing as missing:
            raise DamagedBackup(f"the backup {name} is not whole: {missing}") from None
        yield unpack_part(part, packed, prefix + part.name)


def find_faults(objects: ObjectStore, manifest: Manifest) -> Faults:
    """Look for all objects that the shards of a backup point into, by name. Raises ObjectStoreAway."""
    faults = Faults([], [])
    for shard in manifest.shards:
        prefix = object_prefix(ShardKeys(ShardName(manifest.generation, shard.topic, shard.partition)).objects)
        there = {one.name: one.size_bytes for one in objects.listed(prefix)}
        wanted = sorted(shard.objects.items())
        faults.objects.extend(prefix + name for name, size in wanted if there.get(prefix + name) != size)
        if shard.owner and _owner(objects, prefix) != shard.owner:
            faults.owners.append(prefix)
    return faults


def other_layout(manifest: Manifest) -> int | None:
    """The layout of the shards of a backup that this version does not write; None where there is none."""
    layouts = {shard.layout for shard in manifest.shards if shard.next_offset is not None}
    return next((layout for layout in layouts if layout not in LAYOUTS_READ), None)


def restored_shards(manifest: Manifest, logs: Logs) -> list[RestoredShard]:
    """Return where each shard that has a next offset will go on."""
    return [
        RestoredShard(
            one.topic, one.partition, one.next_offset, *logs.get(one.topic, {}).get(one.partition, (None, None))
        )
        for one in manifest.shards
        if one.next_offset is not None
    ]


def restore(
    loader: KeyLoader,
    objects: ObjectStore,
    name: str,
    manifest: Manifest,
    logs: Logs,
    progress: Callable[[int], object] = lambda _: None,
) -> None:
    """Replace all that Redis holds of the namespace by a backup. `progress` is told how many keys were written.

    Raises DamagedBackup, ObjectStoreAway, OtherServer and what the client raises: all shards are closed then, until a
    restore is done.
    """
    generation = manifest.generation
    # A worker may be about to begin with any partition that there is.
    partitions = [(topic, partition) for topic, log in logs.items() for partition in log]
    copied = [(shard.topic, shard.partition) for shard in manifest.shards]
    closed = loader.close(ShardName(generation, *place) for place in {*partitions, *copied})
    loader.clear()
    for copies in check_parts(objects, name, manifest):
        loader.write(copies)
        progress(len(copies))
    loader.open(generation, manifest.shards, closed)


def _owner(objects: ObjectStore, prefix: str) -> str | None:
    try:
        return objects.read_whole(prefix + OWNER).decode(errors="replace")
    except ObjectMissing:
        return None
