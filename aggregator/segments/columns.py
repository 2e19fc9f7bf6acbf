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
    return unpack_tables([packed], columns, [count])


def unpack_tables(packed: Sequence[bytes], columns: int, counts: Sequence[int], first: int | None = None) -> Integers:
    """The values of tables that have so many rows each, by column and place, one table's after the other's; of the
    first columns alone, if so many are wanted.

    It takes about as many steps as one table does. Raises ValueError for bytes that are no table of their size.
    """
    tables = [(one, count) for one, count in zip(packed, counts, strict=True) if count]
    head_bytes = (_STORED_LOWEST.itemsize + 1) * columns
    heads = np.frombuffer(b"".join([one[:head_bytes] for one, _ in tables]), np.uint8)
    if len(heads) != head_bytes * len(tables):
        raise ValueError(f"a table of {columns} columns is shorter than what it begins with")
    heads = heads.reshape(len(tables), head_bytes)
    lowest = np.ascontiguousarray(heads[:, :-columns]).view(_STORED_LOWEST).T
    widths, wanted = heads[:, -columns:], columns if first is None else first
    if widths.max(initial=0) > _WIDTHS[-1]:
        raise ValueError(f"a table of {columns} columns has values of more than {_WIDTHS[-1]} bytes")
    sizes = widths.sum(axis=1).tolist()
    lowest, widths = lowest[:wanted], widths[:, :wanted]
    highest = int(widths.max(initial=0))
    widest = next(width for width in _WIDTHS if width >= highest)
    kept = (np.arange(widest) < widths[:, :, np.newaxis]).reshape(len(tables), wanted * widest)
    total, begin = sum(counts), 0
    planes = np.zeros((wanted * widest, total), dtype=np.uint8)
    for (one, count), of_one, size in zip(tables, kept, sizes, strict=True):
        (rows,) = of_one.nonzero()
        if len(one) != head_bytes + size * count:
            raise ValueError(f"a table of {columns} columns of {count} values has {len(one)} bytes")
        stored = np.frombuffer(one, np.uint8, len(rows) * count, head_bytes)
        planes[rows, begin : begin + count] = stored.reshape(len(rows), count)
        begin += count
    values = np.repeat(lowest, [count for _, count in tables], axis=1)
    if widest == 1:
        values += planes
    elif widest:
        above = np.empty((wanted, total), f"<u{widest}")
        by_byte, by_plane = above.view(np.uint8).reshape(wanted, total, widest), planes.reshape(wanted, widest, total)
        for at in range(widest):
            by_byte[:, :, at] = by_plane[:, at]
        values += above.astype(np.int64)  # wraps to what it was
    return values


def unpack_columns(packed: Sequence[bytes], counts: Sequence[int]) -> Integers:
    """The values of columns that have so many each, one column's after the other's: a column is a table of one.

    Raises ValueError for bytes that are no column of their size.
    """
    values: Integers = unpack_tables(packed, 1, counts)[0]
    return values
