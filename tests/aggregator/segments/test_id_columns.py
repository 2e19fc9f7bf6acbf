"""Ids as columns: whatever ids go in come out, in the bytes that are random in them."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.calls.packed_id import pack_id
from aggregator.segments.id_columns import pack_ids, unpack_ids

NEAR_MS = 1_750_000_000_000


def uuid7(at_ms: int, random: int) -> bytes:
    """A UUID of version 7, packed, of a time of 48 bits and 74 random ones."""
    chance = random.to_bytes(10, "big")
    tail = bytes([0x70 | chance[0] & 15, chance[1], 0x80 | chance[2] & 63, *chance[3:]])
    return b"\x01" + at_ms.to_bytes(6, "big") + tail


def packed_bytes(ids: list[bytes], near_ms: list[int]) -> int:
    """How many bytes ids take before they are compressed, beside what each length takes once."""
    _, times, bits = pack_ids(ids, np.array(near_ms))
    return sum(map(len, [times[1], *bits]))


times = st.sampled_from([0, 2**48 - 1, NEAR_MS]) | st.integers(NEAR_MS - 300, NEAR_MS + 300) | st.integers(0, 2**48 - 1)
any_ids = (
    st.builds(uuid7, times, st.integers(0, 2**80 - 1))
    | st.binary(max_size=20)
    | st.integers(0, 10**6).map(lambda number: b"\x00call-%06d" % number)
    | st.binary(min_size=16, max_size=16).map(lambda digits: b"\x01" + digits)
    | st.binary(min_size=8, max_size=8).map(lambda digits: b"\x02" + digits)
)


@given(st.lists(st.tuples(any_ids, st.integers(-(2**50), 2**50) | times), max_size=30), st.data())
def test_come_back(ids: list[tuple[bytes, int]], data: st.DataObject) -> None:
    """Ids of any length and form, also UUIDs whose time is far from any instant; all, and some of them."""
    near_ms = np.array([near for _, near in ids], dtype=np.int64)
    packed = pack_ids([one for one, _ in ids], near_ms)
    index, of_times, bits = packed
    for wanted in (range(len(ids)), data.draw(st.lists(st.integers(0, len(ids) - 1), max_size=4)) if ids else []):
        found = unpack_ids(index, of_times, near_ms, bits, np.array(list(wanted), dtype=np.int64))
        assert found == {place: ids[place][0] for place in wanted}


def test_only_what_is_random_takes_bits() -> None:
    """A UUID of version 7 takes 74 bits and some of how far its time is from its call's, one of version 4 122, and a
    span's id 64.
    """
    rng = Random(1)
    of_version_7 = [uuid7(NEAR_MS + number * 977 + rng.randrange(3), rng.getrandbits(80)) for number in range(512)]
    near_ms = [NEAR_MS + number * 977 for number in range(512)]
    assert packed_bytes(of_version_7, near_ms) <= 512 * 76 // 8
    of_version_4 = [b"\x01" + rng.randbytes(6) + uuid7(0, rng.getrandbits(80))[7:] for _ in range(512)]
    of_version_4 = [one[:7] + bytes([one[7] & 15 | 0x40]) + one[8:] for one in of_version_4]
    assert packed_bytes(of_version_4, near_ms) == 512 * 122 // 8
    assert packed_bytes([b"\x02" + rng.randbytes(8) for _ in range(512)], near_ms) == 512 * 8


def test_bits_of_other_ids_are_refused() -> None:
    """Bits that are too many, or too few, for so many ids."""
    near_ms = np.zeros(2, dtype=np.int64)
    index, of_times, [bits] = pack_ids([pack_id("0123456789abcdef"), pack_id("fedcba9876543210")], near_ms)
    for other in (bits[:-1], bits + b"\x00"):
        with pytest.raises(ValueError, match="2 ids with"):
            unpack_ids(index, of_times, near_ms, [other], np.arange(2))
