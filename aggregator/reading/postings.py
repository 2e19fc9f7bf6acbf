"""Reading postings: those that came lately, those on pages, and those on pages in objects, beside a writer that moves
them from one to the next.

They move on, never back, so what came lately is read first. How many pages there are, and which are in objects, is read
before the pages, and again with them: if it is another by then, the pages are others, and are read again.
"""

from collections.abc import Iterator, Sequence

import msgspec

from aggregator.layout.hash_pages import TABLE_FIELD, PageTable, place_of, unpack_table
from aggregator.layout.moved_postings import MOVED_FIELD, MovedPages, unpack_moved, unpack_section
from aggregator.layout.posting_pages import block_index, hash_of, numbers_on
from aggregator.layout.postings import block_field, unpack_block, unpack_latest
from aggregator.objects.frame_cache import DamagedObject, Located
from aggregator.objects.object_store import ObjectStoreAway
from aggregator.reading.ids import Numbers
from aggregator.reading.records import DamagedCalls
from aggregator.reading.rollups import TooMuchToRead
from aggregator.segments.compression import CorruptFrame
from aggregator.store.reader import Command, ProjectShard, StateLost, StoreReader

# About 1 KB of memory and 2 µs each; who needs more asks for rollups, or a shorter window.
CALLS_READ_MAX = 1_000_000
# What is read between two looks at what else there is to do: some milliseconds each.
BLOCKS_AT_ONCE_MAX = 20
BLOCK_READS_AT_ONCE_MAX = 5
# Of some hundred bytes to a few KB; so few that no command is cut in two.
PAGES_PER_COMMAND_MAX = 100
COMMANDS_AT_ONCE_MAX = 10
# Of some 10 KB each.
SECTIONS_AT_ONCE_MAX = 100
# Pages become more by some at a time, between two batches.
READS_MAX = 10


class Lookup(msgspec.Struct, frozen=True):
    """Values of one index that are looked up on a day of a shard."""

    shard: ProjectShard
    index: str
    day: int
    values: Sequence[bytes]

    @property
    def key_parts(self) -> tuple[int, str, int]:
        """Return what names the keys of its postings."""
        return self.shard.project, self.index, self.day

    @property
    def pages_key(self) -> str:
        """Return the key of the pages that the values may be on."""
        return self.shard.keys.posting_pages(self.shard.project, self.day)


def exists(shard: ProjectShard, index: str, day: int) -> Command:
    """The command that says whether a day of a shard may have postings of an index: how many keys have some."""
    return "EXISTS", shard.keys.postings(shard.project, index, day), shard.keys.posting_pages(shard.project, day)


class _Pages(msgspec.Struct, frozen=True):
    """Values that are looked up on pages: how many of these there are, and where those are that have moved."""

    lookup: Lookup
    table: PageTable
    moved: bytes | None
    are_counted: bool = False  # with those that came lately: full blocks

    @property
    def places(self) -> list[tuple[int, int]]:
        """Return the hash and the page of each value."""
        hashes = [hash_of(self.table.hash_key, self.lookup.index, value) for value in self.lookup.values]
        return [(hashed, place_of(hashed, self.table.pages)) for hashed in hashes]


class _Reading:
    """What is selected so far, within the limit of what one answer may read."""

    def __init__(self, reader: StoreReader, read: int) -> None:
        self.reader = reader
        self.selected: Numbers = {}
        self._read = read

    def add(self, shard: ProjectShard, numbers: Sequence[int], count: int) -> None:
        """Take in numbers; with what else belongs to them they are so many."""
        self._read += count
        if self._read > CALLS_READ_MAX:
            raise TooMuchToRead(
                f"more than {CALLS_READ_MAX:,} calls would be read one by one: let the filter select fewer, or the "
                "window begin and end with whole minutes"
            )
        self.selected.setdefault(shard, set()).update(numbers)

    def add_page(self, of: _Pages, page: bytes | None, number: int, pages: int, hashed: int) -> None:
        """Take in what a page, of so many, has of the value with this hash."""
        if page is not None:
            numbers = numbers_on(page, number, pages, hashed)
            self.add(of.lookup.shard, numbers, 0 if of.are_counted else len(numbers))


async def read_postings(reader: StoreReader, lookups: Sequence[Lookup], read: int = 0) -> Numbers:
    """The numbers behind these values. `read`: how many have been read for the same answer before.

    Raises TooMuchToRead, StateLost where postings are moved again and again, and DamagedCalls.
    """
    reading = _Reading(reader, read)
    replies = iter(
        await reader.fetch(
            [
                command
                for one in lookups
                for command in (
                    ("HMGET", one.shard.keys.postings(*one.key_parts), *one.values),
                    ("HMGET", one.pages_key, TABLE_FIELD, MOVED_FIELD),
                )
            ]
        )
    )
    paged: list[_Pages] = []
    blocks: list[Lookup] = []
    for lookup, latest, (table, moved) in zip(lookups, replies, replies, strict=True):
        blocks += _take_latest(lookup, latest, reading)
        for at in range(0, len(lookup.values), PAGES_PER_COMMAND_MAX):
            some = msgspec.structs.replace(lookup, values=lookup.values[at : at + PAGES_PER_COMMAND_MAX])
            paged.append(_Pages(some, unpack_table(table), moved))
    paged += await _read_blocks(blocks, reading)
    for _ in range(READS_MAX):
        paged = await _read_pages(paged, reading)
        if not paged:
            return reading.selected
    raise StateLost("postings were moved again and again while they were read")


def _take_latest(lookup: Lookup, stored: Sequence[bytes | None], reading: _Reading) -> Iterator[Lookup]:
    """Take in what came lately; yields the full blocks of these values, some at a time."""
    for postings, value in zip(stored, lookup.values, strict=True):
        if postings is None:
            continue
        latest = unpack_latest(postings)
        reading.add(lookup.shard, latest.numbers, latest.count_max)  # so that no block need be read to know
        for first in range(0, latest.full_blocks, BLOCKS_AT_ONCE_MAX):
            some = range(first, min(latest.full_blocks, first + BLOCKS_AT_ONCE_MAX))
            yield msgspec.structs.replace(lookup, values=[block_field(block, value) for block in some])


async def _read_blocks(blocks: Sequence[Lookup], reading: _Reading) -> list[_Pages]:
    """Take in full blocks; returns those that have moved to pages."""
    on_pages: list[Lookup] = []
    for at in range(0, len(blocks), BLOCK_READS_AT_ONCE_MAX):
        batch = blocks[at : at + BLOCK_READS_AT_ONCE_MAX]
        commands = [("HMGET", one.shard.keys.posting_blocks(*one.key_parts), *one.values) for one in batch]
        for one, found in zip(batch, await reading.reader.fetch(commands), strict=True):
            for block in found:
                if block is not None:
                    reading.add(one.shard, unpack_block(block), 0)
            absent = [field for field, block in zip(one.values, found, strict=True) if block is None]
            if absent:
                on_pages.append(msgspec.structs.replace(one, index=block_index(one.index), values=absent))
    # They may have moved there since these were read for others.
    stored = await reading.reader.fetch([("HMGET", one.pages_key, TABLE_FIELD, MOVED_FIELD) for one in on_pages])
    return [
        _Pages(one, unpack_table(table), moved, are_counted=True)
        for one, (table, moved) in zip(on_pages, stored, strict=True)
    ]


async def _read_pages(paged: Sequence[_Pages], reading: _Reading) -> list[_Pages]:
    """Take in what is on pages; returns those whose pages had become others, as they are now."""
    again: list[_Pages] = []
    in_redis = [(one, one.places) for one in paged if one.table.pages]
    done = [one for one in paged if not one.table.pages]
    for at in range(0, len(in_redis), COMMANDS_AT_ONCE_MAX):
        some = in_redis[at : at + COMMANDS_AT_ONCE_MAX]
        replies = await reading.reader.fetch(
            [
                ("HMGET", one.lookup.pages_key, TABLE_FIELD, MOVED_FIELD, *dict.fromkeys(page for _, page in places))
                for one, places in some
            ]
        )
        for (one, places), (stored, moved, *pages) in zip(some, replies, strict=True):
            table = unpack_table(stored)
            if moved != one.moved or not table.places_as(one.table):
                again.append(msgspec.structs.replace(one, table=table, moved=moved))
                continue
            done.append(one)
            by_number = dict(zip(dict.fromkeys(page for _, page in places), pages, strict=True))
            for hashed, number in places:
                reading.add_page(one, by_number[number], number, one.table.pages, hashed)
    await _read_moved(done, reading)
    return again


async def _read_moved(paged: Sequence[_Pages], reading: _Reading) -> None:
    """Take in what is on pages in objects."""
    by_section: dict[Located, list[tuple[_Pages, MovedPages, int, int]]] = {}
    for one in paged:
        for moved in unpack_moved(one.moved):
            for value in one.lookup.values:
                hashed = hash_of(moved.hash_key, one.lookup.index, value)
                if (found := moved.place(hashed)) is not None:
                    number, location = found
                    place = location.located(one.lookup.pages_key)
                    by_section.setdefault(place, []).append((one, moved, number, hashed))
    sections = list(by_section)
    for at in range(0, len(sections), SECTIONS_AT_ONCE_MAX):
        some = sections[at : at + SECTIONS_AT_ONCE_MAX]
        try:
            contents = await reading.reader.frames.read_aside(some)
            for section in some:
                pages = unpack_section(contents[section])
                for one, moved, number, hashed in by_section[section]:
                    page = pages[number % moved.pages_per_section]
                    reading.add_page(one, page, number, moved.pages, hashed)
        except (ObjectStoreAway, DamagedObject, CorruptFrame) as why:
            raise DamagedCalls(str(why)) from why
