"""Where pages of postings lie that have moved into objects (see moved.py).

Once its day is long over, the pages of a day of a project (posting_pages.py) go into objects, some consecutive ones to
a section. The field `moved` of their hash says where: MessagePack, for each object that has some, of its name, the key
of the hash and the number of pages of the table that they are of, how many pages a section has, the number of the first
section there, where that begins, and how long each is, with its CRC-32. The table's field goes with the last of its
pages. What comes later is on the pages of another table, beside.

A section is the pages, one after the other, compressed: MessagePack, with nil for a page on which nothing is.
"""

from collections.abc import Mapping, Sequence

import msgspec

from aggregator.layout.hash_pages import PageTable, place_of
from aggregator.layout.sealed import Location
from aggregator.segments.compression import CorruptFrame, compress, decompress

MOVED_FIELD = b"moved"


class MovedPages(msgspec.Struct, array_like=True, frozen=True):
    """Sections of the pages of one table, in one object."""

    name: str
    hash_key: bytes
    pages: int
    pages_per_section: int
    first_section: int
    offset: int
    lengths: tuple[int, ...]
    checksums: tuple[int, ...]

    def is_of(self, table: PageTable) -> bool:
        """Whether the pages are of this table."""
        return self.hash_key == table.hash_key

    @property
    def sections(self) -> range:
        """Return the numbers of the sections."""
        return range(self.first_section, self.first_section + len(self.lengths))

    def location(self, section: int) -> Location:
        """Return where one of the sections lies."""
        at = section - self.first_section
        return Location(self.name, self.offset + sum(self.lengths[:at]), self.lengths[at], self.checksums[at])

    def place(self, hashed: int) -> tuple[int, Location] | None:
        """Return the number of the page of a hash, and the section that it is in; None where that is not here."""
        page = place_of(hashed, self.pages)
        section = page // self.pages_per_section
        return (page, self.location(section)) if section in self.sections else None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[MovedPages, ...])
_pages_decoder = msgspec.msgpack.Decoder(tuple[bytes | None, ...])


def pack_moved(moved: Sequence[MovedPages]) -> bytes:
    """Return what the field `moved` holds."""
    return _encoder.encode(moved)


def unpack_moved(stored: bytes | None) -> tuple[MovedPages, ...]:
    """Return where pages have moved to, by what the field holds (None: none have)."""
    return _decoder.decode(stored) if stored else ()


def pack_section(pages: Sequence[bytes | None]) -> bytes:
    """Return a section of these pages."""
    return compress(_encoder.encode(pages))


def unpack_section(packed: bytes) -> Sequence[bytes | None]:
    """Return the pages of a section. Raises CorruptFrame."""
    try:
        return _pages_decoder.decode(decompress(packed))
    except msgspec.MsgspecError as why:
        raise CorruptFrame(str(why)) from why


def sections_of(pages: Mapping[int, bytes | None], sections: range, pages_per_section: int) -> list[bytes]:
    """Return these sections, of pages by number."""
    return [
        pack_section([pages.get(section * pages_per_section + at) for at in range(pages_per_section)])
        for section in sections
    ]
