"""Ids of calls that came a while ago, in some eight bytes each: pages of record numbers, found by a part of a hash.

`{tag}:idp` is a hash of pages (hash_pages.py). An id field (see keys.py) is hashed to 36 bits. The lowest of them say
on which page its number is, the others stand beside the number. Two ids may agree in all of them, so a number that is
found is only a candidate: its record says whose it is. Entries of records that are dropped by now are counted too.

A page is a byte that says how many bytes a number has, then the rest of each hash, then each number, both big-endian.
For example, the only page of a table, with records 7 and 44: `01 | 0aaaaaaaaa 0bbbbbbbbb | 07 2c`.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import shake_128

import msgspec
import numpy as np
import numpy.typing as npt

from aggregator.layout.hash_pages import PageTable, Rewritten, depth_of, entries_with, page_before_splits

_HASH_BITS = 36
# Of what is kept of a hash on a page, by how many bits the page tells of it.
_REST_BYTES = [max(1, (_HASH_BITS - depth + 7) // 8) for depth in range(_HASH_BITS + 1)]
_WORD_BYTES = 8
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
                rest = (hashed >> depth).to_bytes(_REST_BYTES[depth], "big")
                if rest in page:  # mostly it is not, and then nothing more need be done
                    found += _beside(page, rest)
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


def _beside(page: bytes, rest: bytes) -> list[int]:
    """The record numbers that stand beside this rest of a hash on a page."""
    width, rest_bytes = page[0], len(rest)
    entries = (len(page) - 1) // (rest_bytes + width)
    end = 1 + entries * rest_bytes
    found = []
    for entry in entries_with(page, rest, 1, end):
        begin = end + entry * width
        found.append(int.from_bytes(page[begin : begin + width], "big"))
    return found


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
    old_hashes, old_numbers = _entries(before.pages, stored)
    all_hashes = np.concatenate([old_hashes, np.array([hashed for hashed, _ in added], dtype=np.uint64)])
    numbers = np.concatenate([old_numbers, np.array([number for _, number in added], dtype=np.uint64)])
    kept = numbers >= lowest_number
    all_hashes, numbers = all_hashes[kept], numbers[kept]
    found = _pages(all_hashes, numbers, pages)
    entries = before.entries - len(old_numbers) + len(numbers)
    gone = [number for number, page in stored.items() if page is not None and number not in found]
    return Rewritten(found, gone, msgspec.structs.replace(before, pages=pages, entries=entries))


def _entries(pages: int, stored: Mapping[int, bytes | None]) -> tuple[_Words, _Words]:
    """All hashes on these pages, and all record numbers."""
    by_form: dict[tuple[int, int], list[tuple[int, bytes]]] = {}
    for number, page in stored.items():
        if page:
            by_form.setdefault((depth_of(number, pages), page[0]), []).append((number, page))
    all_hashes = [np.empty(0, dtype=np.uint64)]
    all_numbers = [np.empty(0, dtype=np.uint64)]
    for (depth, width), of_form in by_form.items():
        rest_bytes = _REST_BYTES[depth]
        counts = [(len(page) - 1) // (rest_bytes + width) for _, page in of_form]
        ends = [1 + count * rest_bytes for count in counts]
        rests = _words(b"".join([page[1:end] for (_, page), end in zip(of_form, ends, strict=True)]), rest_bytes)
        numbers = _words(b"".join([page[end:] for (_, page), end in zip(of_form, ends, strict=True)]), width)
        places = np.repeat(np.array([number for number, _ in of_form], dtype=np.uint64), counts)
        all_hashes.append(rests << np.uint64(depth) | places)
        all_numbers.append(numbers)
    return np.concatenate(all_hashes), np.concatenate(all_numbers)


def _pages(all_hashes: _Words, numbers: _Words, pages: int) -> dict[int, bytes]:
    """The pages that these entries make."""
    if not len(numbers):
        return {}
    places = _places(all_hashes, pages)
    order = np.argsort(places, kind="stable")
    places, all_hashes, numbers = places[order], all_hashes[order], numbers[order]
    width = max(1, (int(numbers.max()).bit_length() + 7) // 8)
    packed_numbers = _packed(numbers, width)
    head = bytes([width])
    found: dict[int, bytes] = {}
    names, begins = np.unique(places, return_index=True)
    ends = [*begins[1:].tolist(), len(places)]
    bits = pages.bit_length() - 1
    packed_rests = {depth: _packed(all_hashes >> np.uint64(depth), _REST_BYTES[depth]) for depth in (bits, bits + 1)}
    for name, begin, end in zip(names.tolist(), begins.tolist(), ends, strict=True):
        depth = depth_of(name, pages)
        rest_bytes = _REST_BYTES[depth]
        rests = packed_rests[depth][begin * rest_bytes : end * rest_bytes]
        found[name] = head + rests + packed_numbers[begin * width : end * width]
    return found


def _words(packed: bytes, width: int) -> _Words:
    """Big-endian numbers of so many bytes each."""
    padded = np.zeros((len(packed) // width, _WORD_BYTES), dtype=np.uint8)
    padded[:, _WORD_BYTES - width :] = np.frombuffer(packed, dtype=np.uint8).reshape(-1, width)
    return padded.view(">u8")[:, 0].astype(np.uint64)


def _packed(words: _Words, width: int) -> bytes:
    """Return the bytes that `_words` makes these numbers of."""
    return words.astype(">u8").view(np.uint8).reshape(-1, _WORD_BYTES)[:, _WORD_BYTES - width :].tobytes()
