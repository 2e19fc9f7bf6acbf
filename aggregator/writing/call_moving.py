"""Moving sealed call records out of Redis into objects, as moving.py does with rollups.

A chunk is due when the UTC day of its newest call has been over for a while, and it has been sealed for a while; or as
soon as so many of a day have been sealed for a while that they fill an object. The
frames of many chunks of a day are put as one object, beside the folding; then, in one fenced step, a pointer takes the
place of each frame that is still as it was put. Whatever ends this before leaves an object that nothing points into.
"""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

from aggregator.layout.keys import day_of
from aggregator.layout.moved import CALLS_LETTER, NO_PROJECT, MovedObject, pack_object
from aggregator.layout.sealed import Location
from aggregator.layout.sealed_calls import CALL_FRAME_FIELD, MovedCalls, pack_pointer, unpack_pointer
from aggregator.layout.write import ShardWrite
from aggregator.segments.segment import Section, SectionKey
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_US, SECOND_US
from aggregator.writing.due import NEVER_US
from aggregator.writing.objects_access import ObjectsAccess
from aggregator.writing.pointers import no_longer
from aggregator.writing.putting import OBJECT_BYTES_MAX, RETRY_US, Put, Putting

# Frames of some 13 KB that are read in one round trip.
CHUNKS_PER_READ = 100
# A step looks through no more; an object is full before.
CHUNKS_PER_OBJECT_MAX = 1_000
# About as many as fill an object: they need not wait for the end of their day, which would make no fewer objects.
CHUNKS_PER_FULL_OBJECT = 600


class _Waiting(NamedTuple):
    """A chunk that waits: when the newest of its calls began, and when it was noted by this writer (0: before)."""

    newest_us: int
    noted_us: int


class CallMoving:
    """The chunks of a shard that are to be moved, and those on their way. Methods raise what the store raises.

    `wait_s`, `after_day_s`: how long a chunk is left as it is after it was sealed, and after its newest call's day.
    """

    def __init__(self, store: ShardStore, objects: ObjectsAccess, after_day_s: int, wait_s: int) -> None:
        self._store = store
        self._is_moved = objects.store is not None
        self._putting: Putting[list[int]] = Putting(store, objects, "sealed calls")
        self._after_day_us, self._wait_us = after_day_s * SECOND_US, wait_s * SECOND_US
        self._unmoved: dict[int, _Waiting] = {}
        self._not_before_us = 0
        if self._is_moved:
            [unmoved] = store.read_hashes([store.keys.unmoved_calls])
            self._unmoved = {int(chunk): _Waiting(int(newest_us), 0) for chunk, newest_us in unmoved.items()}

    def note(self, chunk: int, newest_us: int, now_us: int, write: ShardWrite) -> None:
        """The chunk has been sealed; noted also where no object store is set, for when one is."""
        write.set(self._store.keys.unmoved_calls, chunk, newest_us)
        if self._is_moved:
            self._unmoved[chunk] = _Waiting(newest_us, now_us)
            self._not_before_us = min(self._not_before_us, self._due_us(chunk))
            if len(self._unmoved) >= CHUNKS_PER_FULL_OBJECT:
                self._not_before_us = min(self._not_before_us, self._settled_us(chunk))

    def drop(self, stored: bytes | None, chunk: int, now_us: int, write: ShardWrite) -> None:
        """Note in `write` that a chunk points into an object no more, if what its frame's field held is a pointer."""
        moved = unpack_pointer(stored)
        if moved is not None:
            no_longer(self._store, [moved.location.name], (NO_PROJECT, chunk), now_us, write)

    def step(self, now_us: int) -> int:
        """Do the next thing that is due, and quick; returns 0 where there is none."""
        if self._putting.is_off or self._putting.is_busy:
            return 0
        if self._putting.under_way is not None:
            return self._finish(now_us)
        if now_us < self._not_before_us:
            return 0
        chunks = self._next_due(now_us)
        if chunks:
            self._begin(chunks)
        return len(chunks)

    @property
    def under_way(self) -> str | None:
        """An object that has been begun, and that nothing points into yet."""
        return self._putting.under_way

    @staticmethod
    def is_as_it_was_put(stored: bytes | None, section: Section) -> bool:
        """Whether a chunk still has the frame that a section was made of."""
        return stored is not None and (len(stored), zlib.crc32(stored)) == (section.length, section.checksum)

    def _due_us(self, chunk: int) -> int:
        over_us = (self._day(chunk) + 1) * DAY_US + self._after_day_us
        return max(over_us, self._settled_us(chunk))

    def _settled_us(self, chunk: int) -> int:
        return self._unmoved[chunk].noted_us + self._wait_us

    def _day(self, chunk: int) -> int:
        return day_of(self._unmoved[chunk].newest_us)

    def _next_due(self, now_us: int) -> list[int]:
        """Chunks of one day, the oldest first."""
        by_day: dict[int, list[int]] = {}
        for chunk in sorted(self._unmoved):
            by_day.setdefault(self._day(chunk), []).append(chunk)
        later_us = [NEVER_US]
        for _, chunks in sorted(by_day.items()):
            due = [chunk for chunk in chunks if self._due_us(chunk) <= now_us]
            settled = [chunk for chunk in chunks if self._settled_us(chunk) <= now_us]
            if len(settled) >= CHUNKS_PER_FULL_OBJECT:
                due = settled
            if due:
                return due[:CHUNKS_PER_OBJECT_MAX]
            later_us.append(min(map(self._due_us, chunks)))
            if len(chunks) >= CHUNKS_PER_FULL_OBJECT:
                later_us.append(sorted(map(self._settled_us, chunks))[CHUNKS_PER_FULL_OBJECT - 1])
        self._not_before_us = min(later_us)
        return []

    def _begin(self, chunks: list[int]) -> None:
        contents = self._read_frames(chunks)
        taken = [key.block for key in contents]
        if not contents:  # they have moved, or are dropped
            self._store.replace(ShardWrite(deletions={self._store.keys.unmoved_calls: [*chunks]}))
            for chunk in chunks:
                del self._unmoved[chunk]
            return
        day = day_of(self._unmoved[taken[0]].newest_us)
        self._putting.begin(day, CALLS_LETTER, contents, taken)

    def _read_frames(self, chunks: Sequence[int]) -> dict[SectionKey, bytes]:
        """Frames that are in Redis, as many as an object may hold."""
        contents: dict[SectionKey, bytes] = {}
        size_bytes = 0
        for at in range(0, len(chunks), CHUNKS_PER_READ):
            keys = {self._store.keys.calls(chunk): chunk for chunk in chunks[at : at + CHUNKS_PER_READ]}
            for key, [frame] in self._store.read_fields({key: [CALL_FRAME_FIELD] for key in keys}).items():
                if frame is not None and unpack_pointer(frame) is None:
                    contents[SectionKey(NO_PROJECT, CALLS_LETTER, keys[str(key)], 0)] = frame
                    size_bytes += len(frame)
            if size_bytes >= OBJECT_BYTES_MAX:
                break
        return contents

    def _finish(self, now_us: int) -> int:
        """Let chunks point into what has been put."""
        put = self._putting.take()
        if put is None:
            self._not_before_us = now_us + RETRY_US
            return 0
        self._point(put, now_us)
        return len(put.sections)

    def _point(self, put: Put[list[int]], now_us: int) -> None:
        """Make the chunks point into an object; a frame that has been replaced meanwhile is left out."""
        sections = {section.key.block: section for section in put.sections}
        write, keys = ShardWrite(), self._store.keys
        by_key = {keys.calls(chunk): chunk for chunk in put.of}
        moved: list[int] = []
        for key, [stored] in self._store.read_fields({key: [CALL_FRAME_FIELD] for key in by_key}).items():
            chunk = by_key[str(key)]
            section = sections[chunk]
            if not self.is_as_it_was_put(stored, section):
                continue
            location = Location(put.name, section.offset, section.length, section.checksum)
            pointer = pack_pointer(MovedCalls(location, self._unmoved[chunk].newest_us))
            write.set(key, CALL_FRAME_FIELD, pointer)
            moved.append(chunk)
        if moved:
            entry = MovedObject(put.size_bytes, tuple((NO_PROJECT, chunk) for chunk in moved))
            write.set(keys.objects, put.name, pack_object(entry))
            write.deletions[keys.unmoved_calls] = [*moved]
        else:
            write.set(keys.retired, put.name, now_us)
        self._store.replace(write)
        for chunk in moved:
            del self._unmoved[chunk]
