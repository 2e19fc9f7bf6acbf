"""Moving sealed frames of finished days out of Redis into objects, one object at a time.

The frames of a level and a day are read, put as one object under a name that was never used, beside the folding, and
then, in one fenced step, the directories of their blocks point into it and Redis holds the frames no more. Whatever
ends this before that step leaves an object that nothing points into, which is collected later (collecting.py).
"""

import secrets
from collections.abc import Callable, Iterator, Sequence

from aggregator.layout.moved import (
    ALL_NOTED,
    LevelDay,
    MovedObject,
    block_field,
    level_day_of,
    named_block,
    pack_object,
)
from aggregator.layout.sealed import (
    DIRECTORY_FIELD,
    SEAL_BYTES,
    Location,
    SealedDirectory,
    pack_directory,
    unpack_directory,
)
from aggregator.layout.slots import Block
from aggregator.layout.write import Field, Key, ShardWrite
from aggregator.rollups.levels import LEVELS, Retention
from aggregator.segments.segment import SectionKey
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import SECOND_US
from aggregator.writing.due import NEVER_US
from aggregator.writing.objects_access import ObjectsAccess
from aggregator.writing.pointers import no_longer
from aggregator.writing.putting import OBJECT_BYTES_MAX, RETRY_US, Put, Putting

# Small projects share an object; its entry, which names them, is written again when one of them is sealed anew.
BLOCKS_PER_OBJECT_MAX = 1_000
# Of some 16 KB each.
FRAMES_PER_READ = 100
# Blocks that are asked for what was sealed of them before an object store was set: a few milliseconds.
LOOKED_AT_ONCE_MAX = 300


class Moving:
    """What of a shard is to be moved, and what is on its way. Methods raise what the store raises.

    `wait_s`: how long after its day is over, and after it was sealed, a block is left as it is, so that what comes late
    for many blocks goes into one object.
    """

    def __init__(
        self, store: ShardStore, objects: ObjectsAccess, retention: Retention, after_day_s: int, wait_s: int
    ) -> None:
        self._store = store
        self._is_moved = objects.store is not None
        self._putting: Putting[list[Block]] = Putting(store, objects, "sealed rollups")
        self._retention = retention
        self._after_day_us, self._wait_us = after_day_s * SECOND_US, wait_s * SECOND_US
        self._unmoved: dict[Block, int] = {}  # by block, when it was noted by this writer; 0: before
        self._unlooked: Iterator[list[Block]] | None = None  # may have been sealed while no object store was set
        self._not_before_us = 0
        if self._is_moved:
            projects, unmoved = store.read_hashes([store.keys.projects, store.keys.unmoved])
            self._projects = sorted(map(int, projects.values()))
            self._all_noted = ALL_NOTED in unmoved
            self._unmoved = {named_block(field): 0 for field in unmoved if field != ALL_NOTED}

    def note_new(self, write: ShardWrite) -> None:
        """Note of a shard that holds nothing yet that all that is to be moved will have been noted."""
        if self._is_moved and not self._projects and not self._all_noted:
            write.set(self._store.keys.unmoved, ALL_NOTED, b"")
            self._all_noted = True

    def note(self, block: Block, now_us: int, write: ShardWrite) -> None:
        """Frames of this block are to be moved, once its day is over."""
        if not self._is_moved:
            write.deletions.setdefault(self._store.keys.unmoved, []).append(ALL_NOTED)
        else:
            write.set(self._store.keys.unmoved, block_field(block), b"")
            self._unmoved[block] = now_us
            self._not_before_us = min(self._not_before_us, self._due_us(block))

    def drop(self, names: Sequence[str], block: Block, now_us: int, write: ShardWrite) -> None:
        """Note in `write` that a block points into these objects no more."""
        no_longer(self._store, names, (block.project, block.number), now_us, write)

    def step(self, now_us: int, is_waiting: Callable[[Block], bool]) -> int:
        """Do the next thing that is due, and quick; returns 0 where there is none. `is_waiting`: to be sealed first."""
        if self._putting.is_off or self._putting.is_busy:
            return 0
        if self._putting.under_way is not None:
            return self._finish(now_us)
        if not self._all_noted:
            self._look_through_next(now_us)
            return 1
        if now_us < self._not_before_us:
            return 0
        blocks = self._next_due(now_us, is_waiting)
        if blocks:
            self._begin(blocks, now_us)
        return len(blocks)

    @property
    def under_way(self) -> str | None:
        """An object that has been begun, and that nothing points into yet."""
        return self._putting.under_way

    def _due_us(self, block: Block) -> int:
        return max(level_day_of(block).end_s * SECOND_US + self._after_day_us, self._unmoved[block] + self._wait_us)

    def _next_due(self, now_us: int, is_waiting: Callable[[Block], bool]) -> list[Block]:
        """Blocks of one level and day, the oldest first."""
        by_day: dict[LevelDay, list[Block]] = {}
        self._not_before_us = NEVER_US
        for block in self._unmoved:
            due_us = self._due_us(block)
            if due_us > now_us or is_waiting(block):
                self._not_before_us = min(self._not_before_us, max(due_us, now_us + RETRY_US))
            else:
                by_day.setdefault(level_day_of(block), []).append(block)
        if not by_day:
            return []
        self._not_before_us = now_us
        oldest = min(by_day, key=lambda of: (of.day, of.level.letter))
        return sorted(by_day[oldest], key=lambda block: (block.project, block.number))[:BLOCKS_PER_OBJECT_MAX]

    def _look_through_next(self, now_us: int) -> None:
        """Note some of what was sealed while no object store was set, as far as it is kept."""
        if self._unlooked is None:
            self._unlooked = _kept_blocks(self._projects, self._retention, now_us // SECOND_US)
        write = ShardWrite()
        some = next(self._unlooked, None)
        if some is None:
            write.set(self._store.keys.unmoved, ALL_NOTED, b"")
            self._all_noted = True
        blocks = {self._key(block): block for block in some or ()}
        for key, [stored] in self._store.read_fields({key: [DIRECTORY_FIELD] for key in blocks}).items():
            if stored is not None and unpack_directory(stored).in_redis:
                self._unmoved.setdefault(blocks[str(key)], 0)
                write.set(self._store.keys.unmoved, block_field(blocks[str(key)]), b"")
        if write.fields:
            self._store.replace(write)

    def _begin(self, blocks: list[Block], now_us: int) -> None:
        contents = self._read_frames(blocks)
        keys = self._store.keys
        if not contents:
            self._store.replace(ShardWrite(deletions={keys.unmoved: [block_field(block) for block in blocks]}))
            for block in blocks:
                del self._unmoved[block]
            return
        of = level_day_of(blocks[0])
        self._putting.begin(of.day, of.level.letter, contents, blocks)

    def _read_frames(self, blocks: Sequence[Block]) -> dict[SectionKey, bytes]:
        """Frames that are in Redis, as many as an object may hold."""
        keys = {self._key(block): block for block in blocks}
        stored = self._store.read_fields({key: [DIRECTORY_FIELD] for key in keys})
        frames = [(key, one) for key in keys for one in unpack_directory(stored[key][0]).in_redis]
        contents: dict[SectionKey, bytes] = {}
        size_bytes = 0
        for at in range(0, len(frames), FRAMES_PER_READ):
            some = frames[at : at + FRAMES_PER_READ]  # block by block, as they come back
            wanted: dict[Key, list[Field]] = {}
            for key, one in some:
                wanted.setdefault(key, []).append(one.field)
            found = self._store.read_fields(wanted)
            for (key, one), frame in zip(some, [frame for of_key in wanted for frame in found[of_key]], strict=True):
                project, level, block = keys[key]
                if frame is not None:
                    contents[SectionKey(project, level.letter, block, one.number)] = frame
                    size_bytes += len(frame)
            if size_bytes >= OBJECT_BYTES_MAX:
                break
        return contents

    def _finish(self, now_us: int) -> int:
        """Let directories point into what has been put."""
        put = self._putting.take()
        if put is None:
            self._not_before_us = now_us + RETRY_US
            return 0
        self._point(put, now_us)
        return len(put.sections)

    def _point(self, put: Put[list[Block]], now_us: int) -> None:
        """Make the blocks point into an object; a frame that has been replaced meanwhile is left out."""
        sections = {section.key: section for section in put.sections}
        write, keys = ShardWrite(), self._store.keys
        by_key = {self._key(block): block for block in put.of}
        pointing: list[tuple[int, int]] = []
        moved_whole: list[Block] = []
        for key, [stored] in self._store.read_fields({key: [DIRECTORY_FIELD] for key in by_key}).items():
            block, directory = by_key[str(key)], unpack_directory(stored)
            ranges = list(directory.ranges)
            moved: list[Field] = []
            for at, one in enumerate(ranges):
                section = sections.get(SectionKey(block.project, block.level.letter, block.number, one.number))
                if one.location is None and section is not None:
                    location = Location(put.name, section.offset, section.length, section.checksum)
                    ranges[at] = one._replace(location=location)
                    moved.append(one.field)
            if moved:
                now = SealedDirectory(secrets.token_bytes(SEAL_BYTES), directory.next_number, tuple(ranges))
                write.set(key, DIRECTORY_FIELD, pack_directory(now))
                write.deletions[key] = moved
                pointing.append((block.project, block.number))
            if all(one.location is not None for one in ranges):
                write.deletions.setdefault(keys.unmoved, []).append(block_field(block))
                moved_whole.append(block)
        if pointing:
            write.set(keys.objects, put.name, pack_object(MovedObject(put.size_bytes, tuple(pointing))))
        else:
            write.set(keys.retired, put.name, now_us)
        self._store.replace(write)
        for block in moved_whole:
            self._unmoved.pop(block, None)

    def _key(self, block: Block) -> str:
        return self._store.keys.rollups(*block)


def _kept_blocks(projects: Sequence[int], retention: Retention, now_s: int) -> Iterator[list[Block]]:
    """All blocks that projects may have, some at a time."""
    for project in projects:
        for level in LEVELS:
            numbers = range(max(0, now_s - retention.level_s(level)) // level.block_s, now_s // level.block_s + 1)
            for at in range(0, len(numbers), LOOKED_AT_ONCE_MAX):
                yield [Block(project, level, number) for number in numbers[at : at + LOOKED_AT_ONCE_MAX]]
