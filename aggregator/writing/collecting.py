"""Collecting objects that nothing points into: retired first, deleted a grace later, by the fenced owner alone.

An object is retired in the step that takes its last pointer away; when its blocks have expired, which take no step; or
when it is found in the store though nothing ever named it (its writer ended between put and pointer, or Redis forgot).
A Redis that falls back to a state from within the grace still finds every object that it points into: whatever was
deleted since had been retired before that state, or before the fall-back at the latest.
"""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import NamedTuple

from aggregator.layout.moved import OWNER, MovedObject, drop_pointers, kept_until_s, unpack_objects
from aggregator.layout.sealed import object_prefix
from aggregator.layout.write import ShardWrite
from aggregator.objects.object_store import ObjectMissing, ObjectStore, ObjectStoreAway
from aggregator.rollups.levels import Retention
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import SECOND_US
from aggregator.writing.objects_access import ObjectsAccess
from aggregator.writing.pointers import read_pointers

log = logging.getLogger(__name__)

# The first pass comes so long after a shard was opened: one that is opened again and again does not list each time.
FIRST_AFTER_US = 60 * SECOND_US
# Looked at, retired or deleted in one pass; what is more waits for the next one. A day retires some three.
OBJECTS_PER_PASS_MAX = 100


class Listing(NamedTuple):
    """The objects of a shard as the store lists them, without `owner`, and what that one holds (None: it is gone)."""

    names: list[str]
    owner: bytes | None


class Findings(NamedTuple):
    """What is to be done: `expired` names which blocks do not point there any more, `orphans` were never pointed into,
    `due` are retired for longer than the grace. `is_shared`: the store has objects of another shard of this name.
    """

    expired: dict[str, tuple[MovedObject, list[tuple[int, int]]]]
    orphans: list[str]
    due: list[str]
    is_shared: bool


class Collecting:
    """The collection of one shard's objects, in passes. Methods raise what the store raises.

    `grace_s`: how long what is retired is kept. `every_s`: how long after a pass the next one begins.
    """

    def __init__(
        self, store: ShardStore, objects: ObjectsAccess, retention: Retention, grace_s: int, every_s: int
    ) -> None:
        self._store = store
        self._objects = objects.store
        self._aside = objects.aside
        self._retention = retention
        self._grace_us, self._every_us = grace_s * SECOND_US, every_s * SECOND_US
        self._prefix = object_prefix(store.keys.objects)
        self._next_us: int | None = None
        self._listing: Future[Listing] | None = None
        self._deleting: tuple[list[str], Future[None]] | None = None
        self._has_said_shared = False

    def step(self, now_us: int, under_way: Sequence[str]) -> int:
        """Do the next thing of a pass, if one is due and nothing is waited for; returns how many objects it was about.

        `under_way`: objects that are being put, which nothing points into yet.
        """
        if self._objects is None or self._aside is None:
            return 0
        try:
            if self._deleting is not None:
                return self._finish_deleting()
            if self._listing is not None:
                return self._finish_listing(now_us, under_way)
        except ObjectStoreAway as why:
            log.warning("objects are collected later: the object store is away", extra={"why": str(why)})
            return 0
        if self._next_us is None:
            self._next_us = now_us + min(FIRST_AFTER_US, self._every_us)
        if now_us >= self._next_us:
            self._next_us = now_us + self._every_us
            self._listing = self._aside.submit(partial(list_objects, self._objects, self._prefix))
        return 0

    def find(self, listing: Listing, now_us: int, under_way: Sequence[str] = ()) -> Findings:
        """Decide what is to be done, by what the store lists and Redis holds now."""
        keys = self._store.keys
        stored, retired = self._store.read_hashes([keys.objects, keys.retired])
        entries, retired_us = unpack_objects(stored), {name.decode(): int(since) for name, since in retired.items()}
        owner = stored.get(OWNER.encode())
        is_shared = listing.owner is not None and listing.owner != owner
        known = {*entries, *retired_us, *under_way}
        orphans = (
            [] if owner is None or listing.owner != owner else [name for name in listing.names if name not in known]
        )
        due = [
            name for name, since_us in retired_us.items() if since_us <= now_us - self._grace_us and name not in entries
        ]
        expired = self._expired(entries, now_us)
        return Findings(expired, orphans[:OBJECTS_PER_PASS_MAX], sorted(due)[:OBJECTS_PER_PASS_MAX], is_shared)

    def retire(self, found: Findings, now_us: int) -> int:
        """Note since when nothing points into what has expired, and into what never was pointed into."""
        write, keys = ShardWrite(), self._store.keys
        for name, (entry, blocks) in found.expired.items():
            drop_pointers(name, entry, blocks, keys, now_us, write)
        for name in found.orphans:
            write.set(keys.retired, name, now_us)
        if write.fields or write.deletions:
            self._store.replace(write)
        return len(found.expired) + len(found.orphans)

    def forget(self, deleted: Sequence[str]) -> None:
        """Note that these objects are gone from the store."""
        self._store.replace(ShardWrite(deletions={self._store.keys.retired: [*deleted]}))

    def _expired(
        self, entries: Mapping[str, MovedObject], now_us: int
    ) -> dict[str, tuple[MovedObject, list[tuple[int, int]]]]:
        """Objects into which blocks do not point any more that were kept for long enough."""
        found: dict[str, tuple[MovedObject, list[tuple[int, int]]]] = {}
        looked_at = 0
        for name, entry in entries.items():
            if kept_until_s(name, self._retention) * SECOND_US > now_us or looked_at >= OBJECTS_PER_PASS_MAX:
                continue
            looked_at += 1
            if gone := [at for at, pointers in read_pointers(self._store, name, entry).items() if not pointers]:
                found[name] = entry, gone
        return found

    def _finish_listing(self, now_us: int, under_way: Sequence[str]) -> int:
        assert self._listing is not None
        assert self._objects is not None
        assert self._aside is not None
        if not self._listing.done():
            return 0
        listing, self._listing = self._listing, None
        found = self.find(listing.result(), now_us, under_way)
        if found.is_shared and not self._has_said_shared:
            self._has_said_shared = True
            log.warning(
                "the object store has objects of another shard of this name; those are left",
                extra={"prefix": self._prefix},
            )
        retired = self.retire(found, now_us)
        if found.due:
            names = [self._prefix + name for name in found.due]
            self._deleting = found.due, self._aside.submit(partial(self._objects.delete, names))
        return retired + len(found.due)

    def _finish_deleting(self) -> int:
        assert self._deleting is not None
        names, deleting = self._deleting
        if not deleting.done():
            return 0
        self._deleting = None
        deleting.result()
        self.forget(names)
        log.info("deleted objects that nothing points into", extra={"prefix": self._prefix, "objects": len(names)})
        return len(names)


def list_objects(objects: ObjectStore, prefix: str) -> Listing:
    """List what a store has of a shard. Raises ObjectStoreAway."""
    try:
        owner: bytes | None = objects.read_whole(prefix + OWNER)
    except ObjectMissing:
        owner = None
    names = [one.name.removeprefix(prefix) for one in objects.listed(prefix)]
    return Listing([name for name in names if name != OWNER], owner)
