"""Postings: numbers come back, from what is appended to and from full blocks, also those of the version before."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from aggregator.layout.postings import (
    BLOCK_NUMBERS_MAX,
    LatestPostings,
    append_postings,
    posting,
    unpack_block,
    unpack_latest,
)


def packed_block(numbers: Iterable[int]) -> bytes:
    """A full block, by the docstring."""
    packed, before = bytearray([255]), 0
    for number in sorted(numbers):
        gap, before = number - before, number
        while gap >= 128:
            packed.append(gap % 128 + 128)
            gap //= 128
        packed.append(gap)
    return bytes(packed)


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
    """Blocks come back in order; a block of the version before comes back as it was appended."""
    assert unpack_block(packed_block(numbers)) == sorted(numbers)
    assert unpack_block(b"".join(map(posting, numbers))) == numbers


@given(st.lists(st.integers(1, 450), max_size=30))
def test_nothing_is_lost_at_an_edge(sizes: list[int]) -> None:
    """All that was appended comes back in order, whatever it was appended by; no block outgrows its size."""
    blocks: dict[int, bytes] = {}
    latest, appended = None, 0
    for size in sizes:
        numbers = range(appended, appended + size)
        appended += size
        latest, full = append_postings(latest, b"".join(map(posting, numbers)))
        blocks.update(full)
    if latest is None:
        return
    tail = unpack_latest(latest)
    assert sorted(blocks) == list(range(tail.full_blocks))
    of_blocks = [unpack_block(blocks[block]) for block in sorted(blocks)]
    assert [number for some in (*of_blocks, tail.numbers) for number in some] == list(range(appended))
    assert all(len(some) <= BLOCK_NUMBERS_MAX for some in (*of_blocks, tail.numbers))


def test_a_block_is_closed_when_what_comes_does_not_fit() -> None:
    """Numbers that are three apart, in the blocks that the version before made; worked out by hand."""
    numbers = list(range(0, 5_000, 3))
    latest, sizes, packed_bytes = None, [], 0
    for size in [1, 198, 1, 1, 199, 200, 201, 1, *[7] * 100]:
        some, numbers = numbers[:size], numbers[size:]
        latest, full = append_postings(latest, b"".join(map(posting, some)))
        sizes += [len(unpack_block(packed)) for _, packed in full]
        packed_bytes += sum(len(packed) for _, packed in full)
    # 199, 2, 199, 200, 201, then 1 and 28 times 7, twice 28 times 7; the last 112 are not in a block yet.
    assert sizes == [199, 2, 199, 200, 200, 198, 196, 196]
    assert packed_bytes < 1.1 * sum(sizes)
