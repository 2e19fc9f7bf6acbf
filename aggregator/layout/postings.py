"""Postings: the numbers of the records that have a value in an index, as they stand in Redis.

A value's latest postings are one field: how many full blocks have moved away, in four bytes, then each number in five,
in the order they came, so that who knows what is there appends without looking at it. For example, one full block, and
the records 258 and 257 since: `00000001 | 0000000102 0000000101`.

A full block is a field of another hash, `block number:value`, and never changes: `ff`, then its numbers in order, each
as how much it is above the one before, seven bits a byte, the lowest first, all but the last byte with the eighth bit
set. For example, the records 257, 258 and 600: `ff | 8102 01 d602`. A block of an earlier version is five bytes a
number, and begins with no `ff`: no shard has so many records.

A value to which nothing has come for a while moves to pages (posting_pages.py); one with full blocks leaves how many
there are, and once its day is over.
"""

from collections.abc import Iterable
from typing import NamedTuple

# A record number: 10^12 calls a shard.
_NUMBER_BYTES = 5
_COUNT_BYTES = 4
# What is not full is rewritten each time a posting comes, so it is small; a million postings still take few fields.
BLOCK_BYTES_MAX = 1_000
BLOCK_NUMBERS_MAX = BLOCK_BYTES_MAX // _NUMBER_BYTES
_GAPS = 0xFF
_NO_POSTINGS = bytes(_COUNT_BYTES)


class LatestPostings(NamedTuple):
    """How many full blocks a value has, and the numbers that came since."""

    full_blocks: int
    numbers: list[int]

    @property
    def count_max(self) -> int:
        """How many numbers there are, if each block holds as many as fit."""
        return self.full_blocks * BLOCK_NUMBERS_MAX + len(self.numbers)


def posting(number: int) -> bytes:
    """Return a record number as it is appended."""
    return number.to_bytes(_NUMBER_BYTES, "big")


def append_postings(latest: bytes | None, more: bytes) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Return the latest postings of a value (None: it has none) with `more` behind them, numbers as `posting` returns
    them; and the blocks that got full by that, packed, each after its number.
    """
    kept = latest or _NO_POSTINGS
    full: list[tuple[int, bytes]] = []
    for at in range(0, len(more), BLOCK_BYTES_MAX):
        piece = more[at : at + BLOCK_BYTES_MAX]
        if len(kept) + len(piece) > BLOCK_BYTES_MAX and len(kept) > _COUNT_BYTES:
            block, numbers = unpack_latest(kept)
            full.append((block, bytes([_GAPS]) + pack_gaps(numbers)))
            kept = latest_of_blocks(block + 1)
        kept += piece
    return kept, full


def unpack_latest(stored: bytes) -> LatestPostings:
    """Return the latest postings of a value."""
    return LatestPostings(int.from_bytes(stored[:_COUNT_BYTES], "big"), _plain(stored[_COUNT_BYTES:]))


def latest_of_blocks(full_blocks: int) -> bytes:
    """Return the latest postings of a value to which nothing has come since it got so many full blocks."""
    return full_blocks.to_bytes(_COUNT_BYTES, "big")


def block_field(block: int, value: bytes) -> bytes:
    """Return where a full block of a value is in its hash."""
    return b"%d:%b" % (block, value)


def unpack_block(stored: bytes) -> list[int]:
    """Return the numbers of a full block."""
    return unpack_gaps(stored[1:]) if stored[:1] == bytes([_GAPS]) else _plain(stored)


def pack_gaps(numbers: Iterable[int]) -> bytes:
    """Return numbers in order as a full block has them, without its `ff`."""
    packed, before = bytearray(), 0
    for number in sorted(numbers):
        gap, before = number - before, number
        while gap >= 128:
            packed.append(gap & 127 | 128)
            gap >>= 7
        packed.append(gap)
    return bytes(packed)


def unpack_gaps(packed: bytes) -> list[int]:
    """Return the numbers that `pack_gaps` was given, in order."""
    numbers = []
    number = gap = shift = 0
    for byte in packed:
        gap |= (byte & 127) << shift
        if byte & 128:
            shift += 7
        else:
            number += gap
            numbers.append(number)
            gap = shift = 0
    return numbers


def _plain(packed: bytes) -> list[int]:
    return [int.from_bytes(packed[at : at + _NUMBER_BYTES], "big") for at in range(0, len(packed), _NUMBER_BYTES)]
