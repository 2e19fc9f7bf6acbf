"""Postings: the numbers of the records that have a value in an index, as they stand in Redis.

A value's latest postings are one field: how many full blocks have moved away, in four bytes, then each number in five,
in the order they came. So that Redis can append to it, by a script, without anybody reading it before. For example,
one full block, and the records 258 and 257 since: `00000001 | 0000000102 0000000101`.

A full block is a field of another hash, `block number:value`, and never changes: `ff`, then its numbers in order, each
as how much it is above the one before, seven bits a byte, the lowest first, all but the last byte with the eighth bit
set. For example, the records 257, 258 and 600: `ff | 8102 01 d602`. A block of an earlier version is five bytes a
number, and begins with no `ff`: no shard has so many records.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

# A record number: 10^12 calls a shard.
_NUMBER_BYTES = 5
_COUNT_BYTES = 4
# What is not full is rewritten each time a posting comes, so it is small; a million postings still take few fields.
_BLOCK_BYTES_MAX = 1_000
BLOCK_NUMBERS_MAX = _BLOCK_BYTES_MAX // _NUMBER_BYTES
_GAPS = 0xFF

# Appends to postings, moving each full block away. KEYS: postings, blocks. ARGV: value, numbers, value, numbers, ...
# Sent whole each time: a script that is not known to the server would fail alone inside the transaction, and leave the
# rest of it written.
APPEND_POSTINGS = f"""
local function packed(kept)
  local numbers, bytes, before = {{}}, {{string.char({_GAPS})}}, 0
  for at = {_COUNT_BYTES + 1}, #kept, {_NUMBER_BYTES} do
    local a, b, c, d, e = string.byte(kept, at, at + {_NUMBER_BYTES - 1})
    numbers[#numbers + 1] = (((a * 256 + b) * 256 + c) * 256 + d) * 256 + e
  end
  table.sort(numbers)
  for _, number in ipairs(numbers) do
    local gap = number - before
    before = number
    while gap >= 128 do
      bytes[#bytes + 1] = string.char(gap % 128 + 128)
      gap = math.floor(gap / 128)
    end
    bytes[#bytes + 1] = string.char(gap)
  end
  return table.concat(bytes)
end
local fields, blocks = KEYS[1], KEYS[2]
for i = 1, #ARGV, 2 do
  local field, more = ARGV[i], ARGV[i + 1]
  local kept = redis.call('HGET', fields, field)
  if not kept then kept = string.char(0, 0, 0, 0) end
  if #kept + #more > {_BLOCK_BYTES_MAX} and #kept > {_COUNT_BYTES} then
    local a, b, c, d = string.byte(kept, 1, {_COUNT_BYTES})
    local full = ((a * 256 + b) * 256 + c) * 256 + d
    redis.call('HSET', blocks, full .. ':' .. field, packed(kept))
    full = full + 1
    kept = string.char(math.floor(full / 16777216) % 256, math.floor(full / 65536) % 256,
                       math.floor(full / 256) % 256, full % 256)
  end
  redis.call('HSET', fields, field, kept .. more)
end
"""


class LatestPostings(NamedTuple):
    """How many full blocks a value has, and the numbers that came since."""

    full_blocks: int
    numbers: list[int]

    @property
    def count_max(self) -> int:
        """How many numbers there are, if each block holds as many as fit."""
        return self.full_blocks * BLOCK_NUMBERS_MAX + len(self.numbers)


def posting(number: int) -> bytes:
    """Return a record number as the script appends it."""
    return number.to_bytes(_NUMBER_BYTES, "big")


def appended(more: Mapping[bytes, bytes]) -> Iterator[bytes]:
    """Yield the arguments of the script that appends: each value, and as many numbers of it as a block may hold."""
    for value, postings in more.items():
        for at in range(0, len(postings), _BLOCK_BYTES_MAX):
            yield value
            yield postings[at : at + _BLOCK_BYTES_MAX]


def unpack_latest(stored: bytes) -> LatestPostings:
    """Return the latest postings of a value."""
    return LatestPostings(int.from_bytes(stored[:_COUNT_BYTES], "big"), _plain(stored[_COUNT_BYTES:]))


def block_field(block: int, value: bytes) -> bytes:
    """Return where a full block of a value is in its hash."""
    return b"%d:%b" % (block, value)


def unpack_block(stored: bytes) -> list[int]:
    """Return the numbers of a full block."""
    if stored[:1] != bytes([_GAPS]):
        return _plain(stored)
    numbers = []
    number = gap = shift = 0
    for byte in stored[1:]:
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
