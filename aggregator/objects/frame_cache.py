"""Parts of objects that were read, kept in memory by name: what a name stands for never changes."""

import asyncio
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from aggregator.objects.object_store import ObjectStore, ObjectStoreAway, Span

# Frames of a month of hours of one view take a few megabytes; beyond, the object store is read again.
CACHE_BYTES_MAX = 64 * 2**20
# Threads that one answer reads in. To wake one takes as long as some reads of a directory; a bucket is waited for.
READERS_MAX = 6


class NoObjectStore(ObjectStoreAway):
    """A pointer leads into an object store, and none is set."""


class DamagedObject(Exception):
    """Bytes of an object are not those that were put there; the message names it."""


class Located(NamedTuple):
    """Where a section lies: the object's whole name, its place in it, and the checksum of its bytes."""

    name: str
    span: Span
    checksum: int


class FrameCache:
    """Reads sections of objects; the last ones, up to so many bytes, without the store. For one thread.

    Methods raise ObjectStoreAway (ObjectMissing, where there is no such object) and DamagedObject.
    """

    def __init__(self, store: ObjectStore | None, bytes_max: int = CACHE_BYTES_MAX) -> None:
        self._store = store
        self._bytes_max = bytes_max
        self._kept: OrderedDict[Located, bytes] = OrderedDict()
        self.size_bytes = 0

    def read(self, wanted: Sequence[Located]) -> dict[Located, bytes]:
        """Return these sections, checked."""
        found = self._at_hand(wanted)
        for name, sections in _by_object(wanted, found).items():
            found |= self._keep(sections, self._opened(name).read(name, [one.span for one in sections]))
        return found

    async def read_aside(self, wanted: Sequence[Located]) -> dict[Located, bytes]:
        """Return these sections, checked, while the event loop goes on: objects are read in threads, at once."""
        found = self._at_hand(wanted)
        by_object = list(_by_object(wanted, found).items())
        shares = [by_object[at::READERS_MAX] for at in range(min(READERS_MAX, len(by_object)))]
        for share, contents in zip(
            shares, await asyncio.gather(*(asyncio.to_thread(self._read_each, share) for share in shares)), strict=True
        ):
            for (_, sections), of_object in zip(share, contents, strict=True):
                found |= self._keep(sections, of_object)
        return found

    def _read_each(self, by_object: Sequence[tuple[str, list[Located]]]) -> list[list[bytes]]:
        return [self._opened(name).read(name, [one.span for one in sections]) for name, sections in by_object]

    def _opened(self, name: str) -> ObjectStore:
        if self._store is None:
            raise NoObjectStore(f"{name} lies in an object store; say which by CALLMETER_SEGMENTS__URL")
        return self._store

    def _at_hand(self, wanted: Sequence[Located]) -> dict[Located, bytes]:
        found = {}
        for one in wanted:
            if one in self._kept:
                self._kept.move_to_end(one)
                found[one] = self._kept[one]
        return found

    def _keep(self, sections: Sequence[Located], contents: Sequence[bytes]) -> dict[Located, bytes]:
        for one, content in zip(sections, contents, strict=True):
            if len(content) != one.span.length or zlib.crc32(content) != one.checksum:
                raise DamagedObject(f"{one.name} is damaged at byte {one.span.offset}")
            if one not in self._kept:
                self._kept[one] = content
                self.size_bytes += len(content)
        while self.size_bytes > self._bytes_max and self._kept:
            _, dropped = self._kept.popitem(last=False)
            self.size_bytes -= len(dropped)
        return dict(zip(sections, contents, strict=True))


def _by_object(wanted: Sequence[Located], known: dict[Located, bytes]) -> dict[str, list[Located]]:
    by_object: dict[str, list[Located]] = {}
    for one in dict.fromkeys(wanted):
        if one not in known:
            by_object.setdefault(one.name, []).append(one)
    return by_object
