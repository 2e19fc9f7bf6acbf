"""Integers without a pattern, as times and counts of tokens are: how many bits each has, and these bits.

A byte of each value says its sign and how many bits its magnitude has; those bytes compress well. The bits below the
highest one, of one value after the other and the lowest first, do not compress, and are stored as they are. Example: 5,
-2, 0 and 12 are the lengths `03 82 00 04`, and the bits 10, 0, nothing and 001, which are `21`.
"""

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
_POWERS = np.uint64(1) << np.arange(_LENGTH_MAX, dtype=np.uint64)

Numbers = tuple[bytes, bytes]
"""The lengths of some values, and their bits."""


def pack_numbers(values: Integers) -> Numbers:
    """Values as their lengths and bits."""
    magnitudes = np.abs(values).view(np.uint64)  # that of the lowest integer wraps to what it is
    lengths = np.searchsorted(_POWERS, magnitudes, side="right").astype(np.uint8)
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


def _written(begins: Integers, pieces: NDArray[np.uint64], total: int) -> Integers:
    """Return words of 32 bits, `total` bits together, with pieces of at most as many bits that begin where they do."""
    words, shifted = begins >> 5, pieces << (begins & 31).astype(np.uint64)
    length = total // _PIECE_BITS + 2
    # No two pieces have a bit in common, so that their sum has the bits of both, in 53 bits too.
    below = np.bincount(words, (shifted & _PIECE).astype(np.float64), length)
    above = np.bincount(words + 1, (shifted >> np.uint64(_PIECE_BITS)).astype(np.float64), length)
    return (below + above).astype(np.int64)


def unpack_numbers(lengths: bytes, bits: bytes, wanted: Integers | slice = slice(None)) -> Integers:
    """The values at the places that are wanted, of those that `pack_numbers` was given.

    Raises ValueError or IndexError for what it has not made.
    """
    firsts = np.frombuffer(lengths, np.uint8)
    widths = _WIDTHS[firsts]
    ends = np.cumsum(widths)
    if len(bits) != (int(ends[-1]) + 7 if len(ends) else 0) // 8:
        raise ValueError(f"{len(lengths)} values do not have {len(bits)} bytes of bits")
    begins = (ends - widths)[wanted]
    firsts, widths = firsts[wanted], widths[wanted]
    words = np.ndarray((len(bits) + 1,), "<u8", bits + bytes(_WORD_BYTES), strides=(1,))
    magnitudes = _HIGHEST[firsts] | _read(words, begins) & _PIECES[firsts]
    if (widths > _PIECE_BITS).any():
        (large,) = (widths > _PIECE_BITS).nonzero()
        masks = (np.uint64(1) << (widths[large] - _PIECE_BITS).astype(np.uint64)) - np.uint64(1)
        magnitudes[large] |= (_read(words, begins[large] + _PIECE_BITS) & masks) << np.uint64(_PIECE_BITS)
    values: Integers = magnitudes.view(np.int64)
    are_negative = firsts >= _NEGATIVE
    if are_negative.any():
        values[are_negative] = -values[are_negative]
    return values


def _read(words: NDArray[np.uint64], begins: Integers) -> NDArray[np.uint64]:
    """Return the bits from these on, of words that begin with each byte."""
    found: NDArray[np.uint64] = words[begins >> 3] >> (begins & 7).astype(np.uint64)
    return found
