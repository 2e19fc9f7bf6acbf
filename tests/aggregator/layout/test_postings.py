"""Postings: numbers come back, from what Redis appends to and from full blocks, also those of the version before."""

from hypothesis import given
from hypothesis import strategies as st

from aggregator.layout.postings import (
    BLOCK_NUMBERS_MAX,
    LatestPostings,
    appended,
    posting,
    unpack_block,
    unpack_latest,
)
from tests.protocol.memory_redis import packed_block

NUMBERS = st.lists(st.integers(0, 10**12))


def test_forms_as_documented() -> None:
    """The examples of the docstring."""
    assert unpack_latest(bytes.fromhex("00000001 0000000102 0000000101")) == LatestPostings(1, [258, 257])
    assert unpack_block(bytes.fromhex("ff 8102 01 d602")) == [257, 258, 600]
    assert packed_block([600, 257, 258]) == bytes.fromhex("ff 8102 01 d602")


@given(st.integers(0, 2**32 - 1), NUMBERS)
def test_postings_come_back(blocks: int, numbers: list[int]) -> None:
    """Record numbers up to a trillion, in the order they came."""
    latest = unpack_latest(blocks.to_bytes(4, "big") + b"".join(map(posting, numbers)))
    assert latest == (blocks, numbers)
    assert latest.count_max == blocks * BLOCK_NUMBERS_MAX + len(numbers)


@given(NUMBERS)
def test_blocks_come_back(numbers: list[int]) -> None:
    """In order; a block of the version before is as it was appended."""
    assert unpack_block(packed_block(numbers)) == sorted(numbers)
    assert unpack_block(b"".join(map(posting, numbers))) == numbers


def test_no_block_outgrows_its_size() -> None:
    """However many numbers a batch brings, the script gets no more of them at once than a block holds."""
    numbers = list(range(3 * BLOCK_NUMBERS_MAX + 1))
    arguments = list(appended({b"v": b"".join(map(posting, numbers)), b"w": posting(7)}))
    assert arguments[::2] == [b"v"] * 4 + [b"w"]
    assert [len(piece) for piece in arguments[1::2]] == [1_000, 1_000, 1_000, 5, 5]
