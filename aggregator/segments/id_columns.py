"""Packed ids as columns: those of one length together, first the first bytes of all, then the second ones, and so on.

Ids that begin with their time, as UUIDs of version 7 do, have the same first bytes, which then take nothing. Example:
the ids `00 61 62` and `00 61 63` are lengths 3, 3 and the bytes `00 00 61 61 62 63`.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from aggregator.segments.columns import Integers, pack_column, unpack_column


class PackedIds(msgspec.Struct, array_like=True):
    """Some ids: how many, how long each is, and the bytes of those of each length, the shortest first."""

    count: int
    lengths: bytes
    planes: list[bytes]


def pack_ids(ids: Sequence[bytes]) -> PackedIds:
    """The ids, in their order."""
    by_length: dict[int, list[bytes]] = {}
    for one in ids:
        by_length.setdefault(len(one), []).append(one)
    planes = [
        np.frombuffer(b"".join(of_length), np.uint8).reshape(len(of_length), length).T.tobytes()
        for length, of_length in sorted(by_length.items())
    ]
    return PackedIds(len(ids), pack_column(np.array([len(one) for one in ids], dtype=np.int64)), planes)


def unpack_ids(packed: PackedIds, wanted: Integers) -> dict[int, bytes]:
    """The ids at these places, by place; raises ValueError or IndexError for what `pack_ids` has not made."""
    lengths = unpack_column(packed.lengths, packed.count)
    is_wanted = np.zeros(packed.count, dtype=np.bool_)  # np.unique takes 6 ms when it is first used
    is_wanted[wanted] = True
    (places,) = is_wanted.nonzero()
    lengths_there = [int(lengths[0])] if len(packed.planes) == 1 else sorted(set(lengths.tolist()))
    ids: dict[int, bytes] = {}
    for length, planes in zip(lengths_there, packed.planes, strict=True):
        of_length = lengths == length
        ours = places[of_length[places]]
        bytes_of_all = np.frombuffer(planes, np.uint8).reshape(length, np.count_nonzero(of_length))
        together = bytes_of_all[:, np.cumsum(of_length)[ours] - 1].T.tobytes()
        ids.update((place, together[at * length : (at + 1) * length]) for at, place in enumerate(ours.tolist()))
    return ids
