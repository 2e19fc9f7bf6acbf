"""Hashes of ids of calls: 34 bits, by a key of their shard's own: nobody can make ids that crowd on a page."""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import shake_128

import numpy as np
import numpy.typing as npt

HASH_BITS = 34
# Those of MurmurHash3's last step.
_MULTIPLIERS = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))
# Of the lengths of ids, of which nearly all have one of three.
_LENGTHS_CACHED_MAX = 256

_Words = npt.NDArray[np.uint64]


def hashes(hash_key: bytes, fields: Sequence[bytes]) -> list[int]:
    """The hash of each id field."""
    hashed: list[int] = hash_words(hash_key, fields).tolist()
    return hashed


def hash_words(hash_key: bytes, fields: Sequence[bytes]) -> _Words:
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
    return found >> np.uint64(64 - HASH_BITS)


@lru_cache(_LENGTHS_CACHED_MAX)
def _random_numbers(hash_key: bytes, length: int) -> _Words:
    """One for the length, which is the first, and one for each byte."""
    drawn = shake_128(hash_key + length.to_bytes(8, "big")).digest((length + 1) * 8)
    return np.frombuffer(drawn, dtype="<u8").astype(np.uint64)


def places_of(all_hashes: _Words, pages: int) -> _Words:
    """The page of each hash, of so many."""
    top = 1 << max(0, pages.bit_length() - 1)
    places = all_hashes & np.uint64(2 * top - 1)
    return np.where(places < pages, places, places & np.uint64(top - 1))


def rest_bits_of(depth: int) -> int:
    """How many bits of a hash are beside a number, on a page that tells so many."""
    return max(0, HASH_BITS - depth)
