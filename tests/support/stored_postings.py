"""The postings of a day of a project as if none had moved to pages; each must be in exactly one of both."""

from collections.abc import Iterable, Iterator, Mapping

from aggregator.layout.id_pages import TABLE_FIELD, IdTable, place_of, unpack_table
from aggregator.layout.posting_pages import entries_on, hash_of
from aggregator.layout.postings import block_field, unpack_block, unpack_gaps, unpack_latest

Fields = Mapping[bytes, bytes]


class StoredPostings:
    """The pages of one day, of which indexes take what is theirs; what none has taken is left."""

    def __init__(self, fields: Fields) -> None:
        self._table: IdTable = unpack_table(fields.get(TABLE_FIELD))
        self._left: dict[int, list[int]] = {}
        entries = 0
        for field, page in fields.items():
            if field == TABLE_FIELD:
                continue
            number = int(field)
            for hashed, packed in entries_on(page, number, self._table.pages):
                assert place_of(hashed, self._table.pages) == number
                numbers = self._left.setdefault(hashed, [])
                assert not set(numbers) & set(unpack_gaps(packed))
                numbers += unpack_gaps(packed)
                entries += 1
        assert entries == self._table.entries

    def take(self, index: str, latest: Fields, blocks: Fields, more: Iterable[bytes] = ()) -> dict[bytes, list[int]]:
        """The numbers of each value of an index: those that came lately, `more`, and of these what is on pages."""
        found = dict(_latest(latest, blocks))
        for value in {*found, *more}:
            on_pages = self._left.pop(hash_of(self._table.hash_key, index, value), [])
            numbers = [*found.get(value, []), *on_pages]
            assert len(set(numbers)) == len(numbers), f"{index} {value!r} has a posting twice: {numbers}"
            if numbers:
                found[value] = numbers
        return found

    @property
    def left(self) -> list[list[int]]:
        """The numbers of each value that nobody has named."""
        return list(self._left.values())


def _latest(fields: Fields, blocks: Fields) -> Iterator[tuple[bytes, list[int]]]:
    for value, postings in fields.items():
        full, numbers = unpack_latest(postings)
        for block in range(full):
            numbers += unpack_block(blocks[block_field(block, value)])
        yield value, numbers
