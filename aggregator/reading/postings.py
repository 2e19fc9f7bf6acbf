"""Reading postings: those that came lately, and those on pages, beside a writer that moves them from one to the other.

They move to pages, never back, so what came lately is read first. How many pages there are is read before them, and
again with them: if it is another by then, the pages are others, and are read again.
"""

from collections.abc import Iterator, Sequence

import msgspec

from aggregator.layout.id_pages import TABLE_FIELD, IdTable, place_of, unpack_table
from aggregator.layout.posting_pages import hash_of, numbers_on
from aggregator.layout.postings import block_field, unpack_block, unpack_latest
from aggregator.reading.ids import Numbers
from aggregator.reading.rollups import TooMuchToRead
from aggregator.store.reader import Command, ProjectShard, StateLost, StoreReader

# About 1 KB of memory and 2 µs each; who needs more asks for rollups, or a shorter window.
CALLS_READ_MAX = 1_000_000
# What is read between two looks at what else there is to do: some milliseconds each.
BLOCKS_AT_ONCE_MAX = 20
BLOCK_READS_AT_ONCE_MAX = 5
# Of some hundred bytes to a few KB; so few that no command is cut in two.
PAGES_PER_COMMAND_MAX = 100
COMMANDS_AT_ONCE_MAX = 10
# Pages become more by some at a time, between two batches.
READS_MAX = 10


class Lookup(msgspec.Struct, frozen=True):
    """Values of one index that are looked up on a day of a shard."""

    shard: ProjectShard
    index: str
    day: int
    values: Sequence[bytes]

    @property
    def pages_key(self) -> str:
        """Return the key of the pages that the values may be on."""
        return self.shard.keys.posting_pages(self.shard.project, self.day)


def exists(shard: ProjectShard, index: str, day: int) -> Command:
    """The command that says whether a day of a shard may have postings of an index: how many keys have some."""
    return "EXISTS", shard.keys.postings(shard.project, index, day), shard.keys.posting_pages(shard.project, day)


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
            raise TooMuchToRead(f"the filter selects more than {CALLS_READ_MAX:,} calls")
        self.selected.setdefault(shard, set()).update(numbers)


async def read_postings(reader: StoreReader, lookups: Sequence[Lookup], read: int = 0) -> Numbers:
    """The numbers behind these values. `read`: how many have been read for the same answer before.

    Raises TooMuchToRead, and StateLost where postings are moved again and again.
    """
    reading = _Reading(reader, read)
    replies = iter(
        await reader.fetch(
            [
                command
                for one in lookups
                for command in (
                    ("HMGET", one.shard.keys.postings(one.shard.project, one.index, one.day), *one.values),
                    ("HGET", one.pages_key, TABLE_FIELD),
                )
            ]
        )
    )
    tables: list[tuple[Lookup, IdTable]] = []
    blocks: list[tuple[ProjectShard, Command]] = []
    for lookup, latest, table in zip(lookups, replies, replies, strict=True):
        blocks += _take_latest(lookup, latest, reading)
        if table is not None:
            tables.append((lookup, unpack_table(table)))
    await _read_blocks(blocks, reading)
    for _ in range(READS_MAX):
        if not tables:
            return reading.selected
        tables = await _read_pages(tables, reading)
    raise StateLost("postings were moved again and again while they were read")


def _take_latest(
    lookup: Lookup, stored: Sequence[bytes | None], reading: _Reading
) -> Iterator[tuple[ProjectShard, Command]]:
    """Take in what came lately; yields the commands that read the full blocks of these values."""
    shard = lookup.shard
    for postings, value in zip(stored, lookup.values, strict=True):
        if postings is None:
            continue
        latest = unpack_latest(postings)
        reading.add(shard, latest.numbers, latest.count_max)  # so that no block need be read to know
        if latest.full_blocks:
            key = shard.keys.posting_blocks(shard.project, lookup.index, lookup.day)
            for first in range(0, latest.full_blocks, BLOCKS_AT_ONCE_MAX):
                some = range(first, min(latest.full_blocks, first + BLOCKS_AT_ONCE_MAX))
                yield shard, ("HMGET", key, *(block_field(block, value) for block in some))


async def _read_blocks(blocks: Sequence[tuple[ProjectShard, Command]], reading: _Reading) -> None:
    for at in range(0, len(blocks), BLOCK_READS_AT_ONCE_MAX):
        batch = blocks[at : at + BLOCK_READS_AT_ONCE_MAX]
        replies = await reading.reader.fetch([command for _, command in batch])
        for found, (shard, _) in zip(replies, batch, strict=True):
            for block in found:
                reading.add(shard, unpack_block(block or b""), 0)


async def _read_pages(tables: Sequence[tuple[Lookup, IdTable]], reading: _Reading) -> list[tuple[Lookup, IdTable]]:
    """Take in what is on pages; returns the look-ups whose pages had become others, with the tables of now."""
    again: list[tuple[Lookup, IdTable]] = []
    pieces = [
        (msgspec.structs.replace(lookup, values=lookup.values[at : at + PAGES_PER_COMMAND_MAX]), table)
        for lookup, table in tables
        for at in range(0, len(lookup.values), PAGES_PER_COMMAND_MAX)
    ]
    for at in range(0, len(pieces), COMMANDS_AT_ONCE_MAX):
        some = [(lookup, table, _places(lookup, table)) for lookup, table in pieces[at : at + COMMANDS_AT_ONCE_MAX]]
        replies = await reading.reader.fetch(
            [
                ("HMGET", lookup.pages_key, TABLE_FIELD, *dict.fromkeys(place for _, place in places))
                for lookup, _, places in some
            ]
        )
        for (lookup, table, places), (stored, *pages) in zip(some, replies, strict=True):
            now = unpack_table(stored)
            if stored is not None and not now.places_as(table):
                again.append((lookup, now))
                continue
            by_place = dict(zip(dict.fromkeys(place for _, place in places), pages, strict=True))
            for hashed, place in places:
                if (page := by_place[place]) is not None:
                    numbers = numbers_on(page, place, table.pages, hashed)
                    reading.add(lookup.shard, numbers, len(numbers))
    return again


def _places(lookup: Lookup, table: IdTable) -> list[tuple[int, int]]:
    """The hash and the page of each value."""
    hashes = [hash_of(table.hash_key, lookup.index, value) for value in lookup.values]
    return [(hashed, place_of(hashed, table.pages)) for hashed in hashes]
