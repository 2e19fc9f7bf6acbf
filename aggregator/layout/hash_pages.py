"""Pages of one hash that are found by a hash of what they hold: more of them, the more entries there are.

That is by linear hashing (Litwin, 1980): pages are split one at a time, in order, by one more bit of the hash. A field
beside them, `table`, says how many there are, as MessagePack: the key of the hash, drawn at random so that nobody can
make what crowds on a page; the number of pages; and that of entries.
"""

import secrets
from collections.abc import Iterator

import msgspec

from aggregator.layout.write import Key, ShardWrite

TABLE_FIELD = b"table"

_HASH_KEY_BYTES = 16


class PageTable(msgspec.Struct, array_like=True, frozen=True):
    """How many pages and entries there are, and the key of the hash."""

    hash_key: bytes = b""
    pages: int = 0
    entries: int = 0

    def places_as(self, other: "PageTable") -> bool:
        """Whether everything is on the same page in both."""
        return (self.hash_key, self.pages) == (other.hash_key, other.pages)


class Rewritten(msgspec.Struct, frozen=True):
    """What pages are to hold, those that are to go, and how the table is then."""

    pages: dict[int, bytes]
    gone: list[int]
    table: PageTable

    def note(self, key: Key, write: ShardWrite) -> None:
        """Note in `write` that all this is done to the pages of this key."""
        for number, page in self.pages.items():
            write.set(key, number, page)
        write.set(key, TABLE_FIELD, pack_table(self.table))
        if self.gone:
            write.deletions[key] = [*self.gone]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(PageTable)


def new_table() -> PageTable:
    """A table without pages, with a key of its own."""
    return PageTable(secrets.token_bytes(_HASH_KEY_BYTES))


def pack_table(table: PageTable) -> bytes:
    """A table as it is stored."""
    return _encoder.encode(table)


def unpack_table(stored: bytes | None) -> PageTable:
    """The table that is stored; one without pages where there is none."""
    return _decoder.decode(stored) if stored else PageTable()


def place_of(hashed: int, pages: int) -> int:
    """The page of a hash, of so many."""
    top = 1 << max(0, pages.bit_length() - 1)
    place = hashed & (2 * top - 1)
    return place if place < pages else place & (top - 1)


def page_before_splits(number: int, pages: int) -> int:
    """The page, of so many, that a page with a higher number was split from, or that from which that was."""
    while number >= pages:
        number -= 1 << (number.bit_length() - 1)
    return number


def depth_of(number: int, pages: int) -> int:
    """How many bits of a hash this page tells, of so many."""
    bits = pages.bit_length() - 1
    is_split = number < pages - (1 << bits) or number >= 1 << bits
    return bits + is_split


def entries_with(page: bytes, rest: bytes, begin: int, end: int) -> Iterator[int]:
    """Yield which of the rests of hashes that stand in a page from `begin` to `end`, all as long, are this one."""
    at = page.find(rest, begin, end)
    while at >= 0:
        entry, beside = divmod(at - begin, len(rest))
        if not beside:  # else it is the end of one and the beginning of the next
            yield entry
        at = page.find(rest, at + 1, end)
