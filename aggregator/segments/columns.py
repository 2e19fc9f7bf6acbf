"""Columns of integers as bytes that compress well: as narrow as their range allows, byte by byte of all values.

A column is the lowest value, then how many bytes each value takes (0, 1, 2, 4 or 8), then the lowest bytes of all
values less the lowest one, then their second bytes, and so on. Example: 500, 757 is `f401000000000000 02 00 01 00 01`:
0 and 257 above 500.
"""

from collections.abc import Sequence
from struct import Struct

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

_HEADER = Struct("<qB")
_WIDTHS = (0, 1, 2, 4, 8)
# Of a value that is so large each takes a byte more.
_WIDER_FROM = np.array([1 << 8 * width for width in range(8)], dtype=np.uint64)
_STORED = np.dtype("<u8")
_STORED_LOWEST = np.dtype("<i8")


def pack_column(values: Integers) -> bytes:
    """A column, without the number of its values."""
    if not len(values):
        return b""
    lowest, highest = int(values.min()), int(values.max())
    width = next(width for width in _WIDTHS if highest - lowest < 1 << 8 * width)
    if not width:
        return _HEADER.pack(lowest, 0)
    above = values.astype(np.uint64) - np.uint64(lowest % 2**64)  # wraps to the difference
    planes = above.astype(_STORED).view(np.uint8).reshape(len(values), 8)[:, :width].T
    return _HEADER.pack(lowest, width) + planes.tobytes()


def unpack_column(packed: bytes, count: int) -> Integers:
    """The `count` values of a column; raises ValueError for bytes that are none of so many."""
    if not count:
        return np.empty(0, dtype=np.int64)
    lowest, width = _HEADER.unpack_from(packed)
    if len(packed) != _HEADER.size + width * count:
        raise ValueError(f"a column of {count} values of {width} bytes has {len(packed)} bytes")
    if not width:
        return np.full(count, lowest, dtype=np.int64)
    above = np.zeros((count, 8), dtype=np.uint8)
    above[:, :width] = np.frombuffer(packed, np.uint8, width * count, _HEADER.size).reshape(width, count).T
    values: Integers = (above.view(_STORED)[:, 0] + np.uint64(lowest % 2**64)).astype(np.int64)
    return values


def pack_table(columns: Sequence[Sequence[int] | Integers] | Integers) -> bytes:
    """Columns of as many values each, at least one column: the lowest of each, how many bytes its values take, and then
    column by column those bytes, as in `pack_column`.

    It is unpacked in a few steps, however many columns there are.
    """
    values = np.array(columns, dtype=np.int64, order="C")
    if not values.size:
        return b""
    lowest = values.min(axis=1)
    above = values.astype(np.uint64) - lowest.astype(np.uint64)[:, np.newaxis]
    widths = np.searchsorted(_WIDER_FROM, above.max(axis=1), side="right")
    planes = above.astype(_STORED).view(np.uint8).reshape(*values.shape, 8).transpose(0, 2, 1)
    kept = planes[np.arange(8) < widths[:, np.newaxis]]
    return b"".join([lowest.astype(_STORED_LOWEST).tobytes(), widths.astype(np.uint8).tobytes(), kept.tobytes()])


def unpack_table(packed: bytes, columns: int, count: int) -> Integers:
    """The values by column and place; raises ValueError for bytes that are no table of this size."""
    if not count:
        return np.empty((columns, 0), dtype=np.int64)
    lowest = np.frombuffer(packed, _STORED_LOWEST, columns).astype(np.int64)
    widths = np.frombuffer(packed, np.uint8, columns, lowest.nbytes)
    highest = int(widths.max())
    widest = next((width for width in _WIDTHS if width >= highest), 0)
    kept = np.arange(widest) < widths[:, np.newaxis]
    if len(packed) != lowest.nbytes + columns + np.count_nonzero(kept) * count:
        raise ValueError(f"a table of {columns} columns of {count} values has {len(packed)} bytes")
    if not widest:
        return np.repeat(lowest, count).reshape(columns, count)
    planes = np.zeros((columns, widest, count), dtype=np.uint8)
    planes[kept] = np.frombuffer(packed, np.uint8, -1, lowest.nbytes + columns).reshape(-1, count)
    above = np.ascontiguousarray(planes.transpose(0, 2, 1)).view(f"<u{widest}")[:, :, 0]
    values: Integers = (above.astype(np.uint64) + lowest.astype(np.uint64)[:, np.newaxis]).astype(np.int64)
    return values
