"""Ids of calls that came a while ago, in some six bytes each: pages of record numbers, found by a part of a hash.

`{tag}:idp` is a hash of pages (hash_pages.py). An id field (see keys.py) is hashed to 34 bits. The lowest of them say
on which page its number is, the others stand beside the number. Two ids may agree in all of them, and of the number it
is only said which two it is one of, so what is found are candidates: their records say whose they are. Entries of
records that are dropped by now are counted too.

An entry is the rest of its hash, and then how far its number, halved, is above the lowest on the page, in as
few bytes as all of the pages that are written together take: some five. A page is how many bytes an entry has; that
lowest number, in five bytes; of each entry its first byte; and of each the others. All are big-endian. For example, the
only page of a table, with records 7 and 44: `05 0000000003 aa ee aaaaaa80 eeeeeed3`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import shake_128

import msgspec
import numpy as np
import numpy.typing as npt

from aggregator.layout.hash_pages import PageTable, Rewritten, depth_of, page_before_splits

_HASH_BITS = 34
# So many bits of a number are not stored. With that an entry takes five bytes, however many ids there are: the more
# pages there are, the shorter are rests, and the longer numbers.
_GROUP_BITS = 1
RECORDS_PER_ENTRY = 1 << _GROUP_BITS
_WORD_BYTES = 8
_BASE_BYTES = 5
_HEAD_BYTES = 1 + _BASE_BYTES
# Those of MurmurHash3's last step.
_MULTIPLIERS = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))
# Of the lengths of ids, of which nearly all have one of three.
_LENGTHS_CACHED_MAX = 256

_Words = npt.NDArray[np.uint64]


class Lookup:
    """Where to look for these id fields in a table, beside the hash of ids that came lately."""

    def __init__(self, table: PageTable, fields: Sequence[bytes]) -> None:
        self._table = table
        hashed = _hashes(table.hash_key, fields) if table.pages else np.empty(0, dtype=np.uint64)
        self._hashes: list[int] = hashed.tolist()
        self._places: list[int] = _places(hashed, table.pages).tolist()
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
                for group in _groups_beside(page, hashed >> depth, _rest_bits(depth)):
                    found += range(group * RECORDS_PER_ENTRY, (group + 1) * RECORDS_PER_ENTRY)
        return found


def hashes(hash_key: bytes, fields: Sequence[bytes]) -> list[int]:
    """The hash of each id field."""
    hashed: list[int] = _hashes(hash_key, fields).tolist()
    return hashed


def _hashes(hash_key: bytes, fields: Sequence[bytes]) -> _Words:
    """Each byte of a field times a random number, added up, then mixed: ids that count up would lie in patterns."""
    by_length: dict[int, list[int]] = {}
    for at, field in enumerate(fields):
        by_length.setdefault(len(field), []).append(at)
    found = np.empty(len(fields), dtype=np.uint64)
    for length, places in by_length.items():
        of_length = fields if len(places) == len(fields) else [fields[at] for at in places]
        rows = np.frombuffer(b"".join(of_length), dtype=np.uint8).reshape(len(places), length)
        numbers = _random_numbers(hash_key, length)
        found[places] = rows @ numbers[1:] + numbers[0]
    for multiplier in _MULTIPLIERS:
        found = (found ^ (found >> np.uint64(33))) * multiplier
    return found >> np.uint64(_WORD_BYTES * 8 - _HASH_BITS)


@lru_cache(_LENGTHS_CACHED_MAX)
def _random_numbers(hash_key: bytes, length: int) -> _Words:
    """One for the length, which is the first, and one for each byte."""
    drawn = shake_128(hash_key + length.to_bytes(_WORD_BYTES, "big")).digest((length + 1) * _WORD_BYTES)
    return np.frombuffer(drawn, dtype="<u8").astype(np.uint64)


def _places(all_hashes: _Words, pages: int) -> _Words:
    """The page of each hash, of so many."""
    top = 1 << max(0, pages.bit_length() - 1)
    places = all_hashes & np.uint64(2 * top - 1)
    return np.where(places < pages, places, places & np.uint64(top - 1))


def _rest_bits(depth: int) -> int:
    """How many bits of a hash are beside a number, on a page that tells so many."""
    return max(0, _HASH_BITS - depth)


def _groups_beside(page: bytes, rest: int, rest_bits: int) -> Iterator[int]:
    """Yield what stands beside this rest of a hash on a page."""
    width = page[0]
    count = (len(page) - _HEAD_BYTES) // width
    if rest_bits >= 8:  # mostly no first byte is the same, and then nothing more need be done
        first = (rest >> rest_bits - 8).to_bytes(1, "big")
        if page.find(first, _HEAD_BYTES, _HEAD_BYTES + count) < 0:
            return
    base = int.from_bytes(page[1:_HEAD_BYTES], "big")
    others_at, others_bytes, shift = _HEAD_BYTES + count, width - 1, 8 * width - rest_bits
    for entry, first_byte in enumerate(page[_HEAD_BYTES:others_at]):
        if rest_bits >= 8 and first_byte != first[0]:
            continue
        at = others_at + entry * others_bytes
        value = first_byte << 8 * others_bytes | int.from_bytes(page[at : at + others_bytes], "big")
        if value >> shift == rest:
            yield base + (value & (1 << shift) - 1)


def pages_to_rewrite(before: PageTable, pages: int, added: Iterable[int]) -> set[int]:
    """The pages of a table that change when these hashes come to it and there are so many pages then."""
    if not before.pages:
        return set()
    changed: set[int] = set(_places(np.array(list(added), dtype=np.uint64), before.pages).tolist())
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
    for (depth, width), of_form in by_form.items():
        counts = [(len(page) - _HEAD_BYTES) // width for _, page in of_form]
        ends = [_HEAD_BYTES + count for count in counts]
        shift = np.uint64(8 * width - _rest_bits(depth))
        words = _words(b"".join([page[_HEAD_BYTES:end] for (_, page), end in zip(of_form, ends, strict=True)]), 1)
        if width > 1:
            others = b"".join([page[end:] for (_, page), end in zip(of_form, ends, strict=True)])
            words = words << np.uint64(8 * (width - 1)) | _words(others, width - 1)
        bases = [int.from_bytes(page[1:_HEAD_BYTES], "big") for _, page in of_form]
        names = [number for number, _ in of_form]
        places, lowest = (np.repeat(np.array(each, dtype=np.uint64), counts) for each in (names, bases))
        all_hashes.append(words >> shift << np.uint64(depth) | places)
        all_groups.append((words & (np.uint64(1) << shift) - np.uint64(1)) + lowest)
    return np.concatenate(all_hashes), np.concatenate(all_groups)


def _pages(all_hashes: _Words, groups: _Words, pages: int) -> dict[int, bytes]:
    """The pages that these entries make."""
    if not len(groups):
        return {}
    places = _places(all_hashes, pages)
    order = np.argsort(places, kind="stable")
    places, all_hashes, groups = places[order], all_hashes[order], groups[order]
    names, begins = np.unique(places, return_index=True)
    ends = [*begins[1:].tolist(), len(places)]
    bases = np.minimum.reduceat(groups, begins)
    above = groups - np.repeat(bases, np.diff(begins, append=len(groups)))
    group_bits = int(above.max()).bit_length()
    depth_of_table = pages.bit_length() - 1
    packed: dict[int, tuple[bytes, bytes, int]] = {}
    for depth in (depth_of_table, depth_of_table + 1):
        width = max(1, (_rest_bits(depth) + group_bits + 7) // 8)
        if width > _WORD_BYTES:
            raise OverflowError(f"numbers of records differ by {group_bits} bits, on {pages} pages of ids")
        shift = 8 * width - _rest_bits(depth)
        words = (all_hashes >> np.uint64(depth)) << np.uint64(shift) | above
        packed[depth] = _packed(words >> np.uint64(8 * (width - 1)), 1), _packed(words, width - 1), width
    found: dict[int, bytes] = {}
    for name, base, begin, end in zip(names.tolist(), bases.tolist(), begins.tolist(), ends, strict=True):
        firsts, others, width = packed[depth_of(name, pages)]
        head = bytes([width]) + base.to_bytes(_BASE_BYTES, "big")
        found[name] = head + firsts[begin:end] + others[begin * (width - 1) : end * (width - 1)]
    return found


def _words(packed: bytes, width: int) -> _Words:
    """Big-endian numbers of so many bytes each."""
    padded = np.zeros((len(packed) // width, _WORD_BYTES), dtype=np.uint8)
    padded[:, _WORD_BYTES - width :] = np.frombuffer(packed, dtype=np.uint8).reshape(-1, width)
    return padded.view(">u8")[:, 0].astype(np.uint64)


def _packed(words: _Words, width: int) -> bytes:
    """Return the bytes that `_words` makes these numbers of."""
    return words.astype(">u8").view(np.uint8).reshape(-1, _WORD_BYTES)[:, _WORD_BYTES - width :].tobytes()
