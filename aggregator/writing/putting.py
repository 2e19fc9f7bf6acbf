"""Putting objects beside the folding, one at a time, after the one that says whose they are."""

import logging
import secrets
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from aggregator.layout.moved import OWNER, object_name
from aggregator.layout.sealed import object_prefix
from aggregator.layout.write import ShardWrite
from aggregator.objects.object_store import AlreadyThere, ObjectMissing, ObjectStore, ObjectStoreAway
from aggregator.segments.segment import Section, SectionKey, pack_segment
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import SECOND_US
from aggregator.writing.objects_access import ObjectsAccess

log = logging.getLogger(__name__)

# Random digits of a name: two never draw the same.
_NAME_BYTES = 8


# Read between two batches, in some 10 ms, and held in memory until it is put. A day of 864,000 calls has 32 MiB.
OBJECT_BYTES_MAX = 8 * 2**20
# How long an object store that was away is left alone, and a block that is not sealed to its end.
RETRY_US = 60 * SECOND_US

Of = TypeVar("Of")


class Put(NamedTuple, Generic[Of]):
    """An object that has been put: its name, what it is of, its size, and where its sections are."""

    name: str
    of: Of
    size_bytes: int
    sections: list[Section]


class _Under(NamedTuple, Generic[Of]):
    name: str
    of: Of
    put: "Future[tuple[int, list[Section]]]"


class Putting(Generic[Of]):
    """Puts a shard's objects of one kind, one at a time. `what`: what is in them, as the log calls it."""

    def __init__(self, store: ShardStore, objects: ObjectsAccess, what: str) -> None:
        self._store = store
        self._objects, self._aside = objects.store, objects.aside
        self._what = what
        self._under: _Under[Of] | None = None
        self._is_away = False

    @property
    def is_off(self) -> bool:
        """Whether no object store is set, or none may be written to."""
        return self._objects is None or self._aside is None

    @property
    def under_way(self) -> str | None:
        """The name of the object that has been begun, and that nothing points into yet."""
        return None if self._under is None else self._under.name

    @property
    def of(self) -> Of | None:
        """The contents of the object under way; None where there is none."""
        return None if self._under is None else self._under.of

    @property
    def is_busy(self) -> bool:
        """Whether one is under way that is not there yet."""
        return self._under is not None and not self._under.put.done()

    def begin(self, day: int, letter: str, contents: Mapping[SectionKey, bytes], of: Of) -> None:
        """Let an object be put, after the one that says whose all are; `letter`: that of its level, or other kind.

        Raises what the shard's store raises.
        """
        assert self._objects is not None
        assert self._aside is not None
        name = object_name(day, letter, self._store.continued_offset, secrets.token_hex(_NAME_BYTES))
        objects_key = self._store.keys.objects
        names = self._store.field_names(objects_key)
        if OWNER.encode() not in names:
            self._store.replace(ShardWrite(fields={objects_key: {OWNER: secrets.token_hex(_NAME_BYTES)}}))
        [[owner]] = self._store.read_fields({objects_key: [OWNER]}).values()
        assert owner is not None
        put = partial(_put, self._objects, object_prefix(objects_key), name, contents, owner, len(names) > 1)
        self._under = _Under(name, of, self._aside.submit(put))

    def take(self) -> Put[Of] | None:
        """Return the object under way, which is so no longer; None where the object store did not take it."""
        under, self._under = self._under, None
        assert under is not None
        try:
            size_bytes, sections = under.put.result()
        except (ObjectStoreAway, AlreadyThere) as why:
            if not self._is_away:
                self._is_away = True
                extra = {"what": self._what, "why": str(why)}
                log.warning("what is to be moved stays in Redis until the object store takes it", extra=extra)
            return None
        if self._is_away:
            self._is_away = False
            log.info("the object store takes what is to be moved again", extra={"what": self._what})
        return Put(under.name, under.of, size_bytes, sections)


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
