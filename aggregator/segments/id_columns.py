"""Packed ids as columns: what all ids of one length share takes nothing, and what is random in them its bits.

The time that a UUID of version 7 begins with is stored as how far it is from an instant near it, in milliseconds. Of
the ids of each length, a bit that is the same in all of them is stored once. A byte that takes few of the values that
its other bits allow is a column that is compressed; the bits of the others are stored as they are, id by id.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from aggregator.segments.bit_columns import Numbers, pack_numbers, unpack_numbers
from aggregator.segments.columns import Integers, pack_column, unpack_column

_UUID_LENGTH, _UUID = 17, 1  # as aggregator/calls/packed_id.py packs them
_TIME = slice(1, 7)
_VERSION_AT, _VERSION = 7, 7
_WORD_BYTES = 8
_Bytes = NDArray[np.uint8]


class OfLength(msgspec.Struct, array_like=True):
    """Ids of one length: what all share, byte by byte; which bits of each byte are stored as they are; which bytes are
    columns instead, and these, one after the other.
    """

    shared: bytes
    stored: bytes
    columns: bytes
    values: bytes


class PackedIds(msgspec.Struct, array_like=True):
    """Some ids: how many; how long each is; and those of each length, the shortest first."""

    count: int
    lengths: bytes
    by_length: list[OfLength]


def pack_ids(ids: Sequence[bytes], near_ms: Integers) -> tuple[PackedIds, Numbers, list[bytes]]:
    """The ids, in their order; how far their times are from the instants near them, `near_ms`; and the bits of those of
    each length that are stored as they are.
    """
    lengths = np.array([len(one) for one in ids], dtype=np.int64)
    times = np.zeros(len(ids), dtype=np.int64)
    groups: list[OfLength] = []
    bits: list[bytes] = []
    for length in np.unique(lengths).tolist():
        (places,) = (lengths == length).nonzero()
        raw = b"".join([ids[place] for place in places.tolist()])
        matrix = np.frombuffer(raw, np.uint8).reshape(len(places), length).copy()
        timed = _are_timed(matrix)
        if timed.any():
            times[places[timed]] = _times(matrix[timed]) - near_ms[places[timed]]
            matrix[timed, _TIME] = 0
        group, of_group = _pack_length(matrix)
        groups.append(group)
        bits.append(of_group)
    return PackedIds(len(ids), pack_column(lengths), groups), pack_numbers(times), bits


def unpack_ids(
    packed: PackedIds, times: Numbers, near_ms: Integers, bits: Sequence[bytes], wanted: Integers
) -> dict[int, bytes]:
    """The ids at these places, by place; raises ValueError or IndexError for what `pack_ids` has not made."""
    lengths = unpack_column(packed.lengths, packed.count)
    is_wanted = np.zeros(packed.count, dtype=np.bool_)  # np.unique takes 6 ms when it is first used
    is_wanted[wanted] = True
    (places,) = is_wanted.nonzero()
    lengths_there = [int(lengths[0])] if len(packed.by_length) == 1 else sorted(set(lengths.tolist()))
    ids: dict[int, bytes] = {}
    for length, group, of_group in zip(lengths_there, packed.by_length, bits, strict=True):
        of_length = lengths == length
        ours = places[of_length[places]]
        matrix = _unpack_length(group, of_group, int(np.count_nonzero(of_length)), np.cumsum(of_length)[ours] - 1)
        timed = _are_timed(matrix)
        if timed.any():
            of_timed = unpack_numbers(*times, ours[timed]) + near_ms[ours[timed]]
            words = of_timed.astype(">i8").view(np.uint8).reshape(-1, _WORD_BYTES)
            matrix[timed, _TIME] = words[:, _TIME.start - _TIME.stop :]
        together = matrix.tobytes()
        ids.update((place, together[at * length : (at + 1) * length]) for at, place in enumerate(ours.tolist()))
    return ids


def _are_timed(matrix: _Bytes) -> NDArray[np.bool_]:
    """Return which ids are UUIDs of version 7."""
    if matrix.shape[1] != _UUID_LENGTH:
        return np.zeros(len(matrix), dtype=np.bool_)
    are: NDArray[np.bool_] = (matrix[:, 0] == _UUID) & (matrix[:, _VERSION_AT] >> 4 == _VERSION)
    return are


def _times(matrix: _Bytes) -> Integers:
    """Return the times of UUIDs of version 7."""
    words = np.zeros((len(matrix), _WORD_BYTES), dtype=np.uint8)
    words[:, _TIME.start - _TIME.stop :] = matrix[:, _TIME]
    return words.view(">i8")[:, 0].astype(np.int64)


def _pack_length(matrix: _Bytes) -> tuple[OfLength, bytes]:
    """The ids of one length, one a row, and the bits of them that are stored as they are."""
    shared = np.bitwise_and.reduce(matrix, axis=0)
    differ = np.bitwise_or.reduce(matrix, axis=0) ^ shared
    columns = [
        at
        for at in differ.nonzero()[0].tolist()
        if 2 * np.count_nonzero(np.bincount(matrix[:, at])) <= min(1 << int(differ[at]).bit_count(), len(matrix))
    ]
    differ[columns] = 0
    shared[columns] = 0
    packed = OfLength(shared.tobytes(), differ.tobytes(), bytes(columns), matrix[:, columns].T.tobytes())
    bits = np.unpackbits(matrix, axis=1)[:, np.unpackbits(differ).astype(np.bool_)]
    return packed, np.packbits(bits).tobytes()


def _unpack_length(group: OfLength, packed_bits: bytes, count: int, rows: Integers) -> _Bytes:
    """Return these of so many ids of one length, one a row."""
    shared, stored = (np.frombuffer(one, np.uint8) for one in (group.shared, group.stored))
    places = np.unpackbits(stored).astype(np.bool_)
    width = int(np.count_nonzero(places))
    if len(packed_bits) != (width * count + 7) // 8:
        raise ValueError(f"{count} ids with {width} bits each have {len(packed_bits)} bytes of them")
    of_all = np.unpackbits(np.frombuffer(packed_bits, np.uint8), count=width * count).reshape(count, width)
    bits = np.zeros((len(rows), len(places)), dtype=np.uint8)
    bits[:, places] = of_all[rows]
    matrix: _Bytes = np.packbits(bits, axis=1) | shared
    columns = np.frombuffer(group.columns, np.uint8)
    if len(columns):
        matrix[:, columns] = np.frombuffer(group.values, np.uint8).reshape(len(columns), count)[:, rows].T
    return matrix
