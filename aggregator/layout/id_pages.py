"""Ids of calls that came a while ago, in some five bytes each: pages of record numbers, found by a part of a hash.

`{tag}:idp` is a hash of pages (hash_pages.py). An id field (see keys.py) is hashed to 34 bits. The lowest of them say
on which page its number is, the others, its rest, stand beside the number. Two ids may agree in all of them, and of the
number it is only said which eight it is one of, so what is found are candidates: their records say whose they are.
Entries of records that are dropped by now are counted too.

Entries stand in the order of their rests. The first `b` bits of each are told by bits in unary (Elias, 1974; Fano,
1971): for each value of these bits in turn a one for each entry that has it, then a zero. An entry itself is the other
bits of its rest, and then how far its number, divided by eight, is above the lowest on the page, in as few bytes as all
of the pages that are written together take: some four. As many bits are told in unary as make all of it smallest.

A page is a byte, of 16 * (b + 1) and how many bytes an entry has; that lowest number, in five bytes; of each entry its
first byte; of each the others; and the bits in unary, filled up with zeros. All are big-endian. For example, the only
page of a table, with records 7 and 44, of no bits in unary: `15 0000000000 aa ee aaaaaa80 eeeeeec5 c0`.

Pages of an older form, whose first byte is below 16, have entries in any order, of whole rests and halved numbers,
and no bits in unary. They are read, and written anew in this form.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from aggregator.layout.hash_pages import PageTable, Rewritten, depth_of, entries_with, page_before_splits
from aggregator.layout.id_hashes import HASH_BITS, hash_words, places_of, rest_bits_of

# So many bits of a number are not stored. With that an entry takes four bytes and some two bits, however many ids there
# are: the more pages there are, the shorter are rests, and the longer numbers. Eight records mostly lie in one frame.
_GROUP_BITS = 3
RECORDS_PER_ENTRY = 1 << _GROUP_BITS
_OLD_GROUP_BITS = 1
# More would be more zeros than bits saved, on pages of a hundred.
_BUCKET_BITS_MAX = 8
_WORD_BYTES = 8
_BASE_BYTES = 5
_HEAD_BYTES = 1 + _BASE_BYTES

_Words = npt.NDArray[np.uint64]


class Lookup:
    """Where to look for these id fields in a table, beside the hash of ids that came lately."""

    def __init__(self, table: PageTable, fields: Sequence[bytes]) -> None:
        self._table = table
        hashed = hash_words(table.hash_key, fields) if table.pages else np.empty(0, dtype=np.uint64)
        self._hashes: list[int] = hashed.tolist()
        self._places: list[int] = places_of(hashed, table.pages).tolist()
        self.pages = list(dict.fromkeys(self._places))

    def candidates(self, pages: Sequence[bytes | None], in_hash: Sequence[bytes | None]) -> list[int]:
        """The numbers of the records that may have those of the ids that are not in the hash.

        `pages` are what `self.pages` hold, `in_hash` is what the hash holds of each id.
        """
        depths = {number: depth_of(number, self._table.pages) for number in self.pages}
        stored = dict(zip(self.pages, pages, strict=True))
        found: list[int] = []
        for hashed, place, number in zip(self._hashes, self._places, in_hash, strict=False):
            page = stored[place]
            if number is None and page is not None:
                depth = depths[place]
                for group, group_bits in _groups_beside(page, hashed >> depth, rest_bits_of(depth)):
                    found += range(group << group_bits, group + 1 << group_bits)
        return found


class _Form(NamedTuple):
    """How the entries of a page are stored: its first byte."""

    bucket_bits: int
    width: int
    is_old: bool = False

    @property
    def packed(self) -> int:
        """The byte that says it."""
        return self.bucket_bits + 1 << 4 | self.width

    def count(self, page_bytes: int) -> int:
        """How many entries a page of so many bytes has: each takes one bit in unary, and each bucket one."""
        entries_bytes = page_bytes - _HEAD_BYTES
        if self.is_old:
            return entries_bytes // self.width
        return (8 * entries_bytes - (1 << self.bucket_bits)) // (8 * self.width + 1)


@lru_cache(256)
def _form_of(first: int) -> _Form:
    """The form that the first byte of a page says."""
    return _Form(0, first, is_old=True) if first < 16 else _Form((first >> 4) - 1, first & 15)


def count_of(page: bytes) -> int:
    """How many entries a page has."""
    return _form_of(page[0]).count(len(page))


def _groups_beside(page: bytes, rest: int, rest_bits: int) -> Iterator[tuple[int, int]]:
    """Yield what stands beside this rest of a hash on a page, and by how many bits numbers are divided there."""
    form = _form_of(page[0])
    width, count = form.width, count_of(page)
    low_bits = rest_bits - form.bucket_bits
    bucket, low = rest >> low_bits, rest & (1 << low_bits) - 1
    firsts_end, others_bytes, shift = _HEAD_BYTES + count, width - 1, 8 * width - low_bits
    unary_at = firsts_end + count * others_bytes
    in_bucket = None
    if low_bits >= 8:  # mostly no first byte is the same, and then nothing more need be done
        first = (low >> low_bits - 8).to_bytes(1, "big")
        entries: Iterable[int] = entries_with(page, first, _HEAD_BYTES, firsts_end)
    else:
        entries = in_bucket = _bucket(page[unary_at:], bucket) if form.bucket_bits else range(count)
    for entry in entries:
        at = firsts_end + entry * others_bytes
        value = page[_HEAD_BYTES + entry] << 8 * others_bytes | int.from_bytes(page[at : at + others_bytes], "big")
        if value >> shift == low:
            if in_bucket is None:
                in_bucket = _bucket(page[unary_at:], bucket) if form.bucket_bits else range(count)
            if entry in in_bucket:
                base = int.from_bytes(page[1:_HEAD_BYTES], "big")
                yield base + (value & (1 << shift) - 1), _OLD_GROUP_BITS if form.is_old else _GROUP_BITS


def _bucket(unary: bytes, bucket: int) -> range:
    """The entries of a bucket."""
    bits = bin(int.from_bytes(b"\1" + unary, "big"))[3:]
    parts = bits.split("0", bucket + 1)
    end = len(bits) - len(parts[-1]) - (bucket + 1)
    return range(end - len(parts[bucket]), end)


def pages_to_rewrite(before: PageTable, pages: int, added: Iterable[int]) -> set[int]:
    """The pages of a table that change when these hashes come to it and there are so many pages then."""
    if not before.pages:
        return set()
    changed: set[int] = set(places_of(np.array(list(added), dtype=np.uint64), before.pages).tolist())
    for number in range(before.pages, pages):
        changed.add(page_before_splits(number, before.pages))
    for number in range(pages, before.pages):
        changed |= {number, page_before_splits(number, pages)}
    return changed


def rewrite(
    before: PageTable,
    pages: int,
    stored: Mapping[int, bytes | None],
    added: Sequence[tuple[int, int]],
    lowest_number: int,
) -> Rewritten:
    """Put hashes with their record numbers on their pages, of which there are to be so many, at least one.

    `stored` are the pages that `pages_to_rewrite` told. Entries of records below `lowest_number` are left out.
    """
    old_hashes, old_groups = _entries(before.pages, stored)
    all_hashes = np.concatenate([old_hashes, np.array([hashed for hashed, _ in added], dtype=np.uint64)])
    groups = np.concatenate([old_groups, np.array([number >> _GROUP_BITS for _, number in added], dtype=np.uint64)])
    kept = groups >= lowest_number >> _GROUP_BITS
    if not kept.all():
        all_hashes, groups = all_hashes[kept], groups[kept]
    found = _pages(all_hashes, groups, pages)
    entries = before.entries - len(old_groups) + len(groups)
    gone = [number for number, page in stored.items() if page is not None and number not in found]
    return Rewritten(found, gone, msgspec.structs.replace(before, pages=pages, entries=entries))


def _entries(pages: int, stored: Mapping[int, bytes | None]) -> tuple[_Words, _Words]:
    """All hashes on these pages, and for each the number of its record, divided."""
    by_form: dict[tuple[int, int], list[tuple[int, bytes]]] = {}
    for number, page in stored.items():
        if page:
            by_form.setdefault((depth_of(number, pages), page[0]), []).append((number, page))
    all_hashes = [np.empty(0, dtype=np.uint64)]
    all_groups = [np.empty(0, dtype=np.uint64)]
    for (depth, first), of_form in by_form.items():
        form = _form_of(first)
        width = form.width
        counts = [count_of(page) for _, page in of_form]
        parts = [
            (page, _HEAD_BYTES + count, _HEAD_BYTES + count * width)
            for (_, page), count in zip(of_form, counts, strict=True)
        ]
        low_bits = rest_bits_of(depth) - form.bucket_bits
        shift = np.uint64(8 * width - low_bits)
        words = _words(
            b"".join([page[_HEAD_BYTES:firsts_end] for page, firsts_end, _ in parts]),
            b"".join([page[firsts_end:end] for page, firsts_end, end in parts]),
        )
        rests = words >> shift
        if form.bucket_bits:
            rests |= _buckets([page[end:] for page, _, end in parts], counts) << np.uint64(low_bits)
        bases = [int.from_bytes(page[1:_HEAD_BYTES], "big") for page, _, _ in parts]
        names = [number for number, _ in of_form]
        places, lowest = (np.repeat(np.array(each, dtype=np.uint64), counts) for each in (names, bases))
        groups = (words & (np.uint64(1) << shift) - np.uint64(1)) + lowest
        all_hashes.append(rests << np.uint64(depth) | places)
        all_groups.append(groups >> np.uint64(_GROUP_BITS - _OLD_GROUP_BITS) if form.is_old else groups)
    return np.concatenate(all_hashes), np.concatenate(all_groups)


def _buckets(unary: Sequence[bytes], counts: Sequence[int]) -> _Words:
    """The bucket of each entry of pages: how many zeros are before its one."""
    ones = np.flatnonzero(np.unpackbits(np.frombuffer(b"".join(unary), dtype=np.uint8)))
    bits_before = _before([8 * len(each) for each in unary])
    return (ones - np.arange(len(ones)) - np.repeat(bits_before - _before(counts), counts)).astype(np.uint64)


def _before(lengths: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The sum of all lengths before each."""
    ends = np.cumsum(lengths, dtype=np.int64)
    return ends - lengths


def _pages(all_hashes: _Words, groups: _Words, pages: int) -> dict[int, bytes]:
    """The pages that these entries make."""
    if not len(groups):
        return {}
    places = places_of(all_hashes, pages)
    # Nearly all of them are in order, so that stable sorting is fast.
    order = np.argsort(places << np.uint64(HASH_BITS) | all_hashes, kind="stable")
    places, all_hashes, groups = places[order], all_hashes[order], groups[order]
    names, begins, counts = np.unique(places, return_index=True, return_counts=True)
    bases = np.minimum.reduceat(groups, begins)
    above = groups - np.repeat(bases, counts)
    group_bits = int(above.max()).bit_length()
    found: dict[int, bytes] = {}
    end = 0
    for depth, run in groupby(names.tolist(), lambda name: depth_of(name, pages)):
        names_of = list(run)
        begin, end = end, end + len(names_of)
        entries = slice(begins[begin], begins[end] if end < len(begins) else None)
        form = _form(rest_bits_of(depth), group_bits, int(counts[begin:end].mean()))
        rests = all_hashes[entries] >> np.uint64(depth)
        packed = _packed_pages(form, rests, above[entries], rest_bits_of(depth), counts[begin:end])
        for name, base, page in zip(names_of, bases[begin:end].tolist(), packed, strict=True):
            found[name] = bytes([form.packed]) + base.to_bytes(_BASE_BYTES, "big") + page
    return found


def _form(rest_bits: int, group_bits: int, count: int) -> _Form:
    """The form in which pages of so many entries are smallest."""
    widths = [
        (bucket_bits, max(1, (rest_bits - bucket_bits + group_bits + 7) // 8))
        for bucket_bits in range(min(rest_bits, _BUCKET_BITS_MAX) + 1)
    ]
    forms = [_Form(bucket_bits, width) for bucket_bits, width in widths if width <= _WORD_BYTES]
    if not forms:
        raise OverflowError(
            f"numbers of records differ by {group_bits + _GROUP_BITS} bits beside {rest_bits} of a hash"
        )
    return min(forms, key=lambda form: 8 * form.width * count + (1 << form.bucket_bits))


def _packed_pages(
    form: _Form, rests: _Words, above: _Words, rest_bits: int, counts: npt.NDArray[np.int64]
) -> Iterator[bytes]:
    """Yield what comes after the head of pages of so many entries each."""
    low_bits = rest_bits - form.bucket_bits
    low = rests & np.uint64((1 << low_bits) - 1)
    words = low << np.uint64(8 * form.width - low_bits) | above
    firsts, others = _packed(words, form.width)
    begins, unary_bytes = _before(counts), (counts + (1 << form.bucket_bits) + 7) // 8
    unary_begins = _before(unary_bytes)
    bits = np.zeros(8 * int(unary_bytes.sum()), dtype=np.uint8)
    buckets = (rests >> np.uint64(low_bits)).astype(np.int64)
    bits[buckets + np.arange(len(rests)) + np.repeat(8 * unary_begins - begins, counts)] = 1
    unary = np.packbits(bits).tobytes()
    columns = (begins, counts, unary_begins, unary_bytes)
    width = form.width - 1
    for begin, count, unary_begin, size in zip(*(column.tolist() for column in columns), strict=True):
        end = begin + count
        yield firsts[begin:end] + others[begin * width : end * width] + unary[unary_begin : unary_begin + size]


def _words(firsts: bytes, others: bytes) -> _Words:
    """Big-endian numbers of as many bytes each: their first bytes, and the others."""
    count = len(firsts)
    width = 1 + len(others) // count
    padded = np.zeros((count, _WORD_BYTES), dtype=np.uint8)
    padded[:, _WORD_BYTES - width] = np.frombuffer(firsts, dtype=np.uint8)
    padded[:, _WORD_BYTES - width + 1 :] = np.frombuffer(others, dtype=np.uint8).reshape(count, width - 1)
    return padded.view(">u8")[:, 0].astype(np.uint64)


def _packed(words: _Words, width: int) -> tuple[bytes, bytes]:
    """Return the bytes that `_words` makes these numbers of."""
    stored = words.astype(">u8").view(np.uint8).reshape(-1, _WORD_BYTES)
    return stored[:, _WORD_BYTES - width].tobytes(), stored[:, _WORD_BYTES - width + 1 :].tobytes()
