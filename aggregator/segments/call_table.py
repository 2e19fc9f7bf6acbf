"""A frame of call records as it is stored: a table, times, ids, texts and usage apart, and what these do not hold.

Rows are in the order of call_order.py. An id has a place: that of the row whose own it is; ids that are no row's have
the places -1, -2 and so on, in the order in which rows first name them, as trace or as parent.
"""

from itertools import pairwise

import msgspec
import numpy as np

from aggregator.calls.call import Call
from aggregator.calls.usage_vector import Usage
from aggregator.packing import Packing
from aggregator.segments.bit_columns import Numbers, pack_numbers, unpack_numbers
from aggregator.segments.call_order import (
    Times,
    are_early,
    pack_positions,
    pack_times,
    row_tree,
    unpack_positions,
    unpack_times,
)
from aggregator.segments.columns import Integers, pack_table, unpack_table
from aggregator.segments.compression import compress_parts, decompress
from aggregator.segments.id_columns import PackedIds
from aggregator.segments.usage_columns import PackedUsage

# What a record has. A total and what is stated are flagged where they follow from the rest; only stored: whether it
# started before the record ended that stands before it (see call_order.py).
ENDED, FAILED, PARENT, LINKED, ROLLS_UP, TOTAL, STATES, _EARLY = (1 << at for at in range(8))
# The columns of rows: number, flags, project, places of the trace and the parent (its own where there is none), number
# of the parent's record (its own where there is none), rows of usage, places of texts, when it started and how long it
# took (µs).
NUMBER, FLAGS, PROJECT, TRACE, PARENT_ID, PARENT_NUMBER, ROWS, FIRST_TEXT = range(8)
TEXTS = ("op_name", "user_id", "run_id", "error", "model")
STARTED = FIRST_TEXT + len(TEXTS)
TOOK = STARTED + 1
_STORED = _POSITION = TOOK  # as many columns are stored, the last in the place of one of times
_MS_US = 1_000
# Half of a frame does not compress, and that is soon seen: a higher level takes 1 % of the other half off, and no time.
_LEVEL = 9


class Rest(msgspec.Struct, array_like=True):
    """Records by number that columns do not hold; of others what does not follow: of totals how many calls have no end,
    and how many rows of usage there are of it, behind those of calls; and what is stated.
    """

    whole: dict[int, Call]
    totals: dict[int, tuple[int, int]]
    stated: dict[int, Usage]


class Rows(msgspec.Struct, array_like=True):
    """Rows as they are stored: how many; whether their numbers follow the order of starts; and a table of the
    differences of numbers, and of what each row has.
    """

    count: int
    follow_starts: bool
    table: bytes


class CallTable(msgspec.Struct, array_like=True):
    """Texts, usage and ids by place, and rows; then the lengths of all numbers, those of times, of usage, and of ids'
    times; and the bits of these and of ids, which do not compress.
    """

    texts: list[str | None]
    rest: bytes
    usage: PackedUsage
    ids: PackedIds
    rows: Rows
    lengths: list[bytes]
    bits: list[bytes]

    @property
    def of_times(self) -> Numbers:
        return self.lengths[0], self.bits[0]

    @property
    def of_usage(self) -> Numbers:
        return self.lengths[1], self.bits[1]

    @property
    def of_ids(self) -> tuple[Numbers, list[bytes]]:
        return (self.lengths[2], self.bits[2]), self.bits[3:]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(CallTable)
REST = Packing(Rest)
UNREADABLE = (msgspec.MsgspecError, ValueError, LookupError, OverflowError)
"""What is raised for bytes that are no frame of calls, beside CorruptFrame."""


def pack_rows(rows: Integers) -> tuple[Rows, Numbers]:
    """The rows, by column, as they are stored, and their times."""
    count = rows.shape[1]
    tree = row_tree(rows[TRACE], rows[PARENT_ID])
    times = Times(rows[STARTED], rows[STARTED] + rows[TOOK])
    early = are_early(tree, times)
    starts, ends = pack_times(tree, early, rows[FLAGS] & ENDED != 0, times)
    positions, follow_starts = pack_positions(rows[NUMBER], rows[STARTED])
    stored = rows[: _STORED + 1].copy()
    stored[NUMBER] = np.diff(np.sort(rows[NUMBER]), prepend=0)
    stored[FLAGS] |= _EARLY * early
    stored[TRACE] = np.diff(rows[TRACE], prepend=0) + _are_roots(rows[FLAGS])
    stored[PARENT_ID] = np.arange(count) - rows[PARENT_ID]
    stored[PARENT_NUMBER] = _likely_parents(rows[NUMBER], rows[PARENT_ID]) - rows[PARENT_NUMBER]
    stored[_POSITION] = positions
    table = pack_table(np.delete(stored, STARTED, axis=0))
    return Rows(count, follow_starts, table), pack_numbers(np.concatenate([starts, ends]))


def unpack_rows(packed: Rows, times: Numbers) -> Integers:
    """The rows, by column, of which `pack_rows` has made these. Raises ValueError or LookupError."""
    rows = np.empty((TOOK + 1, packed.count), dtype=np.int64)
    rows[:STARTED] = (stored := unpack_table(packed.table, STARTED + 1, packed.count))[:STARTED]
    early = rows[FLAGS] & _EARLY != 0
    rows[FLAGS] &= ~_EARLY
    rows[TRACE] = np.cumsum(rows[TRACE] - _are_roots(rows[FLAGS]))
    rows[PARENT_ID] = np.arange(packed.count) - rows[PARENT_ID]
    tree = row_tree(rows[TRACE], rows[PARENT_ID])
    starts, ends = unpack_numbers(*times).reshape(2, packed.count)
    rows[STARTED], ends_us = unpack_times(tree, early, rows[FLAGS] & ENDED != 0, starts, ends)
    rows[TOOK] = ends_us - rows[STARTED]
    positions = unpack_positions(stored[STARTED], packed.follow_starts, rows[STARTED])
    rows[NUMBER] = np.cumsum(rows[NUMBER])[positions]
    rows[PARENT_NUMBER] = _likely_parents(rows[NUMBER], rows[PARENT_ID]) - rows[PARENT_NUMBER]
    return rows


def _are_roots(flags: Integers) -> Integers:
    """Return 1 for rows without a parent, 0 for others: with a root mostly begins the next trace."""
    roots: Integers = (flags & PARENT == 0).astype(np.int64)
    return roots


def _likely_parents(numbers: Integers, parents: Integers) -> Integers:
    """Return the number of the parent of each row, its own where that is no row."""
    likely: Integers = numbers[np.where(parents >= 0, parents, np.arange(len(parents)))]
    return likely


def index_of_ids(places: Integers, count: int) -> Integers:
    """Return where ids are among all that are stored, of so many rows: those of rows first."""
    return np.where(places < 0, count - 1 - places, places)


def near_ms(rows: Integers, ids: int) -> Integers:
    """An instant near each of so many ids that are stored: when its call started, or the first that names it."""
    count = rows.shape[1]
    first = np.append(np.arange(count), np.full(max(0, ids - count), count - 1))
    for of_kind in (TRACE, PARENT_ID):
        (named,) = (rows[of_kind] < 0).nonzero()
        np.minimum.at(first, index_of_ids(rows[of_kind][named], count), named)
    near: Integers = rows[STARTED][first] // _MS_US
    return near


def pack_table_of_calls(table: CallTable) -> bytes:
    """The frame."""
    packed = _encoder.encode(table)
    bits = len(packed) - sum(map(len, table.bits))
    lengths = bits - sum(map(len, table.lengths))
    parts = 0, lengths - len(table.rows.table), lengths, lengths + len(table.lengths[0]), bits, len(packed)
    return compress_parts([packed[begin:end] for begin, end in pairwise(parts)], _LEVEL)


def unpack_table_of_calls(packed: bytes) -> CallTable:
    """Return what a frame holds. Raises CorruptFrame, or one of UNREADABLE."""
    return _decoder.decode(decompress(packed))
