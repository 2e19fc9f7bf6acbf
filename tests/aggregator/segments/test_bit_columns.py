"""Numbers as lengths and bits: any integers of 64 bits come back, all or some, and other bytes are refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.segments.bit_columns import pack_numbers, unpack_numbers

edges = st.sampled_from([sign * 2**bits + more for bits in (31, 32, 33, 62) for sign in (-1, 1) for more in (-1, 0, 1)])
numbers = st.sampled_from([-(2**63), 2**63 - 1, 0]) | edges | st.integers(-9, 9) | st.integers(-(2**63), 2**63 - 1)


@given(st.lists(numbers, max_size=30), st.lists(st.integers(0, 29), max_size=5))
def test_come_back(values: list[int], places: list[int]) -> None:
    """All of them, and those at some places."""
    packed = pack_numbers(np.array(values, dtype=np.int64))
    assert unpack_numbers(*packed).tolist() == values
    wanted = [place for place in places if place < len(values)]
    assert unpack_numbers(*packed, np.array(wanted, dtype=np.int64)).tolist() == [values[place] for place in wanted]


def test_example() -> None:
    """The bytes of the module's docstring."""
    assert pack_numbers(np.array([5, -2, 0, 12])) == (bytes.fromhex("03 82 00 04"), bytes.fromhex("21"))


@pytest.mark.parametrize("more", [-1, 1])
def test_other_bits_are_refused(more: int) -> None:
    """Bits of more or fewer bytes are not those of these lengths."""
    lengths, _ = pack_numbers(np.array([300, 5, 70_000]))
    with pytest.raises(ValueError, match="values do not have"):
        unpack_numbers(lengths, bytes((8 + 2 + 16 + 7) // 8 + more))


def test_lengths_beyond_64_bits_are_refused() -> None:
    """However many bits come with them."""
    with pytest.raises(ValueError, match="values do not have"):
        unpack_numbers(b"\x41", bytes(8))


def test_small_numbers_of_any_sign_take_their_bits() -> None:
    """A hundred numbers of at most 12 bits take a byte each for their lengths, and 11 bits or fewer."""
    lengths, bits = pack_numbers(np.arange(-50, 50) * 80)
    assert len(lengths) == 100
    assert len(bits) < 100 * 11 // 8
