"""Postings of values to which nothing has come for a while, in some eight bytes a call: pages, found by a hash.

`{tag}:P:w:D` is a hash of pages, and of one field, `table`: there are more pages the more entries there are
(hash_pages.py). An entry is a value's numbers in the order of their size, as gaps (see postings.py).
It is found by 64 bits of a hash of index and value, whose key is drawn once for a day of a project, so that nobody can
make values that share one: among a million values, one look-up in ten thousand billion would find what is another's.
Full blocks of values that have such are entries of their own, by `y` + index and the name of their field, so that they
spread over all pages.

A page is how many entries it has, in two bytes; then of each hash what the page does not tell of it; then how many
bytes each entry has, a byte each; then the entries. A value may have several: its numbers came at several times, or
take more than 255 bytes. For example, the only page of a table, with the numbers 7 and 44 of a value, and 300 of
another: `0002 | 0aaaaaaaaaaaaaaa 0bbbbbbbbbbbbbbb | 02 02 | 0725 ac02`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from aggregator.layout.hash_pages import (
    PageTable,
    Rewritten,
    depth_of,
    entries_with,
    page_before_splits,
    place_of,
)
from aggregator.layout.postings import pack_gaps, unpack_gaps

_HASH_BYTES = 8
_COUNT_BYTES = 2
_ENTRY_BYTES_MAX = 255


class Entry(NamedTuple):
    """Numbers of a value, packed, with its hash."""

    hashed: int
    numbers: bytes


def block_index(index: str) -> str:
    """Return what takes the place of an index for its full blocks, by their fields (see postings.py), on pages."""
    return f"y{index}"


def hash_of(hash_key: bytes, index: str, value: bytes) -> int:
    """The hash of a value of an index."""
    return int.from_bytes(blake2b(index.encode() + value, digest_size=_HASH_BYTES, key=hash_key).digest(), "big")


def entries_of(hashed: int, numbers: Collection[int]) -> list[Entry]:
    """The entries of a value with this hash."""
    packed = pack_gaps(numbers)
    if len(packed) <= _ENTRY_BYTES_MAX:
        return [Entry(hashed, packed)]
    ordered = sorted(numbers)
    half = len(ordered) // 2
    return entries_of(hashed, ordered[:half]) + entries_of(hashed, ordered[half:])


def numbers_on(page: bytes, page_number: int, pages: int, hashed: int) -> list[int]:
    """The numbers on a page, of so many, of the value with this hash."""
    depth = depth_of(page_number, pages)
    rest_bytes = _rest_bytes(depth)
    rest = (hashed >> depth).to_bytes(rest_bytes, "big")
    count = int.from_bytes(page[:_COUNT_BYTES], "big")
    lengths_at = _COUNT_BYTES + count * rest_bytes
    found: list[int] = []
    for entry in entries_with(page, rest, _COUNT_BYTES, lengths_at):
        begin = lengths_at + count + sum(page[lengths_at : lengths_at + entry])
        found += unpack_gaps(page[begin : begin + page[lengths_at + entry]])
    return found


def pages_to_rewrite(before: PageTable, pages: int, added: Sequence[Entry]) -> set[int]:
    """The pages of a table that change when these entries come to it and there are so many pages then, no fewer."""
    if not before.pages:
        return set()
    changed = {place_of(hashed, before.pages) for hashed, _ in added}
    return changed | {page_before_splits(number, before.pages) for number in range(before.pages, pages)}


def rewrite(before: PageTable, pages: int, stored: Mapping[int, bytes | None], added: Sequence[Entry]) -> Rewritten:
    """Put entries on their pages, of which there are to be so many, no fewer than before and at least one.

    `stored` are the pages that `pages_to_rewrite` told.
    """
    more: dict[int, list[Entry]] = {}
    for entry in added:
        more.setdefault(place_of(entry.hashed, pages), []).append(entry)
    kept: dict[int, bytes] = {}
    split = set()
    for number, page in stored.items():
        if page is None:
            continue
        if depth_of(number, before.pages) == depth_of(number, pages):
            kept[number] = page
        else:
            split.add(number)
            for entry in entries_on(page, number, before.pages):
                more.setdefault(place_of(entry.hashed, pages), []).append(entry)
    found = {number: _with_more(kept.get(number), depth_of(number, pages), some) for number, some in more.items()}
    table = msgspec.structs.replace(before, pages=pages, entries=before.entries + len(added))
    return Rewritten(found, sorted(split - found.keys()), table)


def entries_on(page: bytes, page_number: int, pages: int) -> Iterator[Entry]:
    """Yield all that is on a page, of so many."""
    depth = depth_of(page_number, pages)
    rest_bytes = _rest_bytes(depth)
    count = int.from_bytes(page[:_COUNT_BYTES], "big")
    lengths_at = _COUNT_BYTES + count * rest_bytes
    at = lengths_at + count
    for entry, length in enumerate(page[lengths_at:at]):
        rest = page[_COUNT_BYTES + entry * rest_bytes : _COUNT_BYTES + (entry + 1) * rest_bytes]
        yield Entry(int.from_bytes(rest, "big") << depth | page_number, page[at : at + length])
        at += length


def _with_more(page: bytes | None, depth: int, more: Sequence[Entry]) -> bytes:
    rest_bytes = _rest_bytes(depth)
    page = page or bytes(_COUNT_BYTES)
    count = int.from_bytes(page[:_COUNT_BYTES], "big")
    lengths_at = _COUNT_BYTES + count * rest_bytes
    return b"".join(
        (
            (count + len(more)).to_bytes(_COUNT_BYTES, "big"),
            page[_COUNT_BYTES:lengths_at],
            *((hashed >> depth).to_bytes(rest_bytes, "big") for hashed, _ in more),
            page[lengths_at : lengths_at + count],
            bytes([len(numbers) for _, numbers in more]),
            page[lengths_at + count :],
            *(numbers for _, numbers in more),
        )
    )


def _rest_bytes(depth: int) -> int:
    """How many bytes of a hash are kept on a page that tells so many bits of it."""
    return max(1, _HASH_BYTES - depth // 8)
