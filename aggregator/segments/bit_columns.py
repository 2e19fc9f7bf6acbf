"""Integers without a pattern, as times and counts of tokens are: how many bits each has, and these bits.

A byte of each value says its sign and how many bits its magnitude has; those bytes compress well. The bits below the
highest one, of one value after the other and the lowest first, do not compress, and are stored as they are. Example: 5,
-2, 0 and 12 are the lengths `03 82 00 04`, and the bits 10, 0, nothing and 001, which are `21`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aggregator.segments.columns import Integers

_NEGATIVE = 0x80
_LENGTH_MAX = 64
# What is read of a value at once: with what lies before it in its first byte it does not fill a word.
_PIECE_BITS = 32
_PIECE = np.uint64(2**_PIECE_BITS - 1)
_WORD_BYTES = 8
# By how a value begins: how many bits are stored, more than there are for what is no length; the highest bit, which is
# not; and which bits are read at once.
_LENGTHS = [first & (_NEGATIVE - 1) for first in range(256)]
_WIDTHS = np.array([max(0, length - 1) if length <= _LENGTH_MAX else 2**40 for length in _LENGTHS], dtype=np.int64)
_HIGHEST = np.array([(1 << length >> 1) % 2**64 for length in _LENGTHS], dtype=np.uint64)
_PIECES = np.array([(1 << min(max(0, length - 1), _PIECE_BITS)) - 1 for length in _LENGTHS], dtype=np.uint64)
_INEXACT = 2**53  # from here on a float does not have all bits, and may have one more
_POWERS = np.uint64(1) << np.arange(_LENGTH_MAX, dtype=np.uint64)
# So many values stand for all of their column.
_ESTIMATED_BY = 1_000
# What bytes of a table take, of what they would by how often each occurs: what comes again is looked for in vain.
_TABLE_TAKES = 1.05

Numbers = tuple[bytes, bytes]
"""The lengths of some values, and their bits."""


def pack_numbers(values: Integers) -> Numbers:
    """Values as their lengths and bits."""
    magnitudes = np.abs(values).view(np.uint64)  # that of the lowest integer wraps to what it is
    lengths = _lengths(magnitudes)
    widths = _WIDTHS[lengths]
    ends = np.cumsum(widths)
    begins, total = ends - widths, int(ends[-1]) if len(ends) else 0
    stored = magnitudes & (np.uint64(1) << widths.astype(np.uint64)) - np.uint64(1)
    words = _written(begins, stored & _PIECE, total)
    (large,) = (widths > _PIECE_BITS).nonzero()
    if len(large):
        words += _written(begins[large] + _PIECE_BITS, stored[large] >> np.uint64(_PIECE_BITS), total)
    firsts = (lengths | _NEGATIVE * (values < 0)).astype(np.uint8)
    return firsts.tobytes(), words.astype("<u4").tobytes()[: (total + 7) // 8]


def _lengths(magnitudes: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return how many bits each has."""
    if len(magnitudes) and magnitudes.max() >= _INEXACT:
        return np.searchsorted(_POWERS, magnitudes, side="right").astype(np.uint8)
    return np.frexp(magnitudes.astype(np.float64))[1].astype(np.uint8)


def take_fewer_bytes(values: Integers) -> bool:
    """Whether some values, none below 0, take fewer bytes so than as bytes of a table (see columns.py), by an estimate.

    They do not where few values occur, or multiples of one.
    """
    some = values[:: len(values) // _ESTIMATED_BY + 1]
    planes = some.astype("<u8").view(np.uint8).reshape(-1, 8).T[: (int(some.max()).bit_length() + 7) // 8]
    lengths = _lengths(some.view(np.uint64))
    return _entropy(lengths) + float(_WIDTHS[lengths].sum()) < sum(map(_entropy, planes)) * _TABLE_TAKES


def _entropy(column: NDArray[np.uint8]) -> float:
    """Return how many bits bytes take by how often each of them occurs."""
    counts = np.bincount(column)
    counts = counts[counts > 0]
    return float(len(column) * np.log2(len(column)) - counts @ np.log2(counts))


def _written(begins: Integers, pieces: NDArray[np.uint64], total: int) -> Integers:
    """Return words of 32 bits, `total` bits together, with pieces of at most as many bits that begin where they do."""
    words, shifted = begins >> 5, pieces << (begins & 31).astype(np.uint64)
    length = total // _PIECE_BITS + 2
    # No two pieces have a bit in common, so that their sum has the bits of both, in 53 bits too.
    below = np.bincount(words, (shifted & _PIECE).astype(np.float64), length)
    above = np.bincount(words + 1, (shifted >> np.uint64(_PIECE_BITS)).astype(np.float64), length)
    return (below + above).astype(np.int64)


def unpack_numbers(lengths: bytes, bits: bytes, wanted: Integers | None = None) -> Integers:
    """The values at the places that are wanted (None: all), of those that `pack_numbers` was given.

    Raises ValueError or IndexError for what it has not made.
    """
    return unpack_many([(lengths, bits)], wanted)


def unpack_many(packed: Sequence[Numbers], wanted: Integers | None = None) -> Integers:
    """The values at the places that are wanted (None: all), of those that `pack_numbers` was given one after the other.

    Raises what `unpack_numbers` raises.
    """
    # As indexes of tables, so that they are not turned into such again for each.
    firsts = np.frombuffer(b"".join([lengths for lengths, _ in packed]), np.uint8).astype(np.intp)
    widths = _WIDTHS.take(firsts)
    ends = np.cumsum(widths)
    begins = ends - widths
    counts = [len(lengths) for lengths, _ in packed]
    sizes = np.array([len(bits) for _, bits in packed], dtype=np.int64)
    of_each = np.diff(np.append(0, ends)[np.cumsum([0, *counts])])
    if (sizes != (of_each + 7) // 8).any():
        raise ValueError(f"{counts} values do not have {sizes.tolist()} bytes of bits")
    if len(counts) > 1:
        paddings = 8 * sizes - of_each
        begins += np.repeat(np.cumsum(paddings) - paddings, counts)
    if wanted is not None:
        firsts, widths, begins = firsts[wanted], widths[wanted], begins[wanted]
    stored = b"".join([bits for _, bits in packed])
    words = np.ndarray((len(stored) + 1,), "<u8", stored + bytes(_WORD_BYTES), strides=(1,))
    magnitudes = _read(words, begins)
    magnitudes &= _PIECES.take(firsts)
    magnitudes |= _HIGHEST.take(firsts)
    if widths.max(initial=0) > _PIECE_BITS:
        (large,) = (widths > _PIECE_BITS).nonzero()
        masks = (np.uint64(1) << (widths[large] - _PIECE_BITS).astype(np.uint64)) - np.uint64(1)
        magnitudes[large] |= (_read(words, begins[large] + _PIECE_BITS) & masks) << np.uint64(_PIECE_BITS)
    values: Integers = magnitudes.view(np.int64)
    if firsts.max(initial=0) >= _NEGATIVE:
        (are_negative,) = (firsts >= _NEGATIVE).nonzero()
        values[are_negative] = -values[are_negative]
    return values


def _read(words: NDArray[np.uint64], begins: Integers) -> NDArray[np.uint64]:
    """Return the bits from these on, of words that begin with each byte."""
    found: NDArray[np.uint64] = words[begins >> 3]
    found >>= (begins & 7).view(np.uint64)
    return found
