"""The calls of a busy minute as they came, in pieces: record number of each, its view, and when it began.

A field of the hash `{tag}:P:busy:D`, minute (since 1970) in four bytes, `:`, number of the piece in four bytes -> how
many calls, in four bytes, the lowest record number in eight, and a table of three columns, compressed: record numbers
in order, each as how much it is above the one before; views; milliseconds of the minute. Pieces never change: of what
a call began with nothing does.

The view is that of the call's combination of values, or of its op where it has nothing else. Where a full directory
did not admit that combination it is `OP_ALONE` + the view of the op, or UNKNOWN.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from aggregator.layout.first_calls import minute_field
from aggregator.segments.columns import Integers, pack_table, unpack_table
from aggregator.segments.compression import CorruptFrame, compress, decompress

_HEADER = struct.Struct("<IQ")

UNKNOWN = 0
"""Stands for a view where not even that of the op was admitted."""
OP_ALONE = 1 << 31
"""Is added to the view of an op where of a call nothing else is told."""


class MinuteCalls(NamedTuple):
    """Calls of a minute: record numbers, views, and milliseconds from its start, each as long as the others."""

    numbers: Integers
    views: Integers
    starts_ms: Integers


def minute_calls(numbers: Sequence[int], views: Sequence[int], starts_ms: Sequence[int]) -> MinuteCalls:
    """Calls of a minute, in the order of their record numbers."""
    return in_order(MinuteCalls(*(np.array(column, dtype=np.int64) for column in (numbers, views, starts_ms))))


def in_order(calls: MinuteCalls) -> MinuteCalls:
    """Put calls in the order of their record numbers."""
    order = np.argsort(calls.numbers)
    return MinuteCalls(*(column[order] for column in calls))


def pack_minute_calls(calls: MinuteCalls) -> bytes:
    """Pack a piece, of at least one call, in the order of their record numbers."""
    lowest = int(calls.numbers[0])
    gaps = np.diff(calls.numbers, prepend=lowest)
    packed = pack_table([gaps, calls.views, calls.starts_ms])
    return _HEADER.pack(len(calls.numbers), lowest) + compress(packed)


def unpack_minute_calls(pieces: Sequence[bytes]) -> MinuteCalls:
    """The calls of pieces, one after the other. Raises CorruptFrame."""
    tables = [np.empty((3, 0), dtype=np.int64)]
    for piece in pieces:
        try:
            count, lowest = _HEADER.unpack_from(piece)
            table = unpack_table(decompress(piece[_HEADER.size :]), 3, count)
        except (ValueError, struct.error) as why:
            raise CorruptFrame(str(why)) from why
        table[0] = np.cumsum(table[0]) + lowest
        tables.append(table)
    return MinuteCalls(*np.concatenate(tables, axis=1))


def piece_field(minute: int, piece: int) -> bytes:
    """The field of a piece of a minute."""
    return minute_field(minute) + b":" + piece.to_bytes(4, "big")
