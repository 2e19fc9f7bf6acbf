"""The postings of a day of a project as if none had moved; each must be in exactly one place."""

from collections.abc import Iterable, Mapping

from aggregator.layout.hash_pages import TABLE_FIELD, PageTable, place_of, unpack_table
from aggregator.layout.moved_postings import MOVED_FIELD, unpack_moved, unpack_section
from aggregator.layout.posting_pages import block_index, entries_on, hash_of
from aggregator.layout.postings import block_field, unpack_block, unpack_gaps, unpack_latest
from aggregator.objects.frame_cache import FrameCache

Fields = Mapping[bytes, bytes]


class StoredPostings:
    """The pages of one day, of which indexes take what is theirs; what none has taken is left.

    `key`: any of the shard; `frames` reads the pages that have moved into objects.
    """

    def __init__(self, fields: Fields, key: str, frames: FrameCache) -> None:
        table = unpack_table(fields.get(TABLE_FIELD))
        pages = {int(field): page for field, page in fields.items() if field.isdigit()}
        in_redis = self._entries(table, pages)
        self._tables = {table.hash_key: in_redis} if table.pages else {}
        entries = sum(map(len, in_redis.values()))
        for moved in unpack_moved(fields.get(MOVED_FIELD)):
            found: dict[int, bytes | None] = {}
            for section in moved.sections:
                place = moved.location(section).located(key)
                first = section * moved.pages_per_section
                found |= dict(enumerate(unpack_section(frames.read([place])[place]), first))
            assert not (moved.is_of(table) and found.keys() & pages.keys())
            of_moved = self._entries(
                PageTable(moved.hash_key, moved.pages), {number: page for number, page in found.items() if page}
            )
            if moved.is_of(table):
                entries += sum(map(len, of_moved.values()))
            known = self._tables.setdefault(moved.hash_key, {})
            for hashed, packed in of_moved.items():
                known.setdefault(hashed, []).extend(packed)
        assert entries == table.entries

    @staticmethod
    def _entries(table: PageTable, pages: Mapping[int, bytes]) -> dict[int, list[bytes]]:
        found: dict[int, list[bytes]] = {}
        for number, page in pages.items():
            for hashed, packed in entries_on(page, number, table.pages):
                assert place_of(hashed, table.pages) == number
                found.setdefault(hashed, []).append(packed)
        return found

    def take(self, index: str, latest: Fields, blocks: Fields, more: Iterable[bytes] = ()) -> dict[bytes, list[int]]:
        """The numbers of each value of an index: those that came lately, `more`, and of these what is on pages."""
        found = {value: self._in_blocks(index, value, postings, blocks) for value, postings in latest.items()}
        for value in {*found, *more}:
            numbers = [*found.get(value, []), *self._on_pages(index, value)]
            assert len(set(numbers)) == len(numbers), f"{index} {value!r} has a posting twice: {numbers}"
            if numbers:
                found[value] = numbers
        return found

    def _in_blocks(self, index: str, value: bytes, postings: bytes, blocks: Fields) -> list[int]:
        """Return the numbers that came lately, and those in full blocks, where they came or on pages."""
        full, numbers = unpack_latest(postings)
        for field in (block_field(block, value) for block in range(full)):
            on_pages = self._on_pages(block_index(index), field)
            assert (field in blocks) != bool(on_pages), f"{index} {field!r} is in both places, or in none"
            numbers += on_pages or unpack_block(blocks[field])
        return numbers

    def _on_pages(self, index: str, value: bytes) -> list[int]:
        return [
            number
            for hash_key, entries in self._tables.items()
            for packed in entries.pop(hash_of(hash_key, index, value), [])
            for number in unpack_gaps(packed)
        ]

    @property
    def left(self) -> list[list[int]]:
        """The numbers of each value that nobody has named, of each table by itself."""
        return [
            [number for one in packed for number in unpack_gaps(one)]
            for entries in self._tables.values()
            for packed in entries.values()
        ]
