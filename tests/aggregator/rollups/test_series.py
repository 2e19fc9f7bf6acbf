"""Series: rows come back as they were packed, and what cannot be packed is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.calls import usage_vector
from aggregator.rollups.series import (
    LATENCY,
    OF_LATENCY,
    OF_USAGE,
    TOKEN_METRICS,
    model_of,
    model_series,
    pack_latency,
    series_of,
)
from aggregator.rollups.totals import ABSENT
from tests.support.vectors import pack_usage, usage_row

TOKENS_MAX, COSTS_MAX = 2**32 - 1, 2**62 - 1
UNPRICED = [100, 20, 120, 30, 10, 1]

counts = st.sampled_from([0, 1, TOKENS_MAX]) | st.integers(0, TOKENS_MAX)
costs = st.sampled_from([0, 1, 10**12]) | st.integers(0, COSTS_MAX // 3)
requests = st.integers(0, 2**63)
usages = st.tuples(*[counts] * 5, requests) | st.tuples(*[counts] * 5, requests, *[costs] * 4)


def test_token_metrics_are_the_first_of_the_vector() -> None:
    """The metrics of tokens have the names and the order of a usage vector's tokens: rows are cut out of vectors."""
    assert list(usage_vector.NAMES)[usage_vector.TOKENS] == list(TOKEN_METRICS)


def packed(numbers: list[int]) -> bytes:
    """A row that fits."""
    row = pack_usage(numbers)
    assert row is not None
    assert len(row) == OF_USAGE.row_bytes
    return row


@given(st.lists(usages.map(list), max_size=6))
def test_usage_comes_back(told: list[list[int]]) -> None:
    """Priced and unpriced rows in any mixture, the latter without costs; requests are no metric."""
    rows = b"".join(map(packed, told))
    assert OF_USAGE.unpack(rows) == [usage_row(numbers) for numbers in told]
    absent = (ABSENT,) * 3
    assert [tuple(row) for row in OF_USAGE.values(rows).tolist()] == [
        row if len(row) == 8 else row + absent for row in map(usage_row, told)
    ]


@given(st.lists(st.sampled_from([-1, 0, 1, 2**63 - 1, -(2**63)]) | st.integers(-(2**63), 2**63 - 1), max_size=6))
def test_latencies_come_back(told: list[int]) -> None:
    """Negative ones too: clocks differ."""
    rows = b"".join(map(pack_latency, told))
    assert len(rows) == OF_LATENCY.row_bytes * len(told)
    assert OF_LATENCY.unpack(rows) == [(one,) for one in told]
    assert OF_LATENCY.values(rows).tolist() == [[one] for one in told]


@pytest.mark.parametrize("metric", range(5))
def test_the_largest_count_of_tokens(metric: int) -> None:
    """2^32 - 1 is packed, one more is not, nor what only 64 bits hold, nor what they do not."""
    numbers = list(UNPRICED)
    numbers[metric] = TOKENS_MAX
    assert OF_USAGE.unpack(packed(numbers)) == [tuple(numbers[:5])]
    for larger in (TOKENS_MAX + 1, 2**63 - 1, 2**70):
        numbers[metric] = larger
        assert pack_usage(numbers) is None
        assert pack_usage([*numbers, 1, 1, 1, 1]) is None


@pytest.mark.parametrize("place", range(4))
def test_the_largest_cost(place: int) -> None:
    """2^62 - 1 of input and of output is packed, and so is their sum; one more of either is not."""
    costs = [0, 0, 0, 0]
    costs[place] = COSTS_MAX
    row = OF_USAGE.unpack(packed([*UNPRICED, *costs]))
    assert row == [(*UNPRICED[:5], sum(costs[:3]), costs[3], COSTS_MAX)]
    for larger in (COSTS_MAX + 1, 2**70):
        costs[place] = larger
        assert pack_usage([*UNPRICED, *costs]) is None


def test_the_classes_of_input_cost_together() -> None:
    """The sum of the costs of input must fit; beside the largest output the total still is within 64 bits."""
    assert OF_USAGE.unpack(packed([*UNPRICED, 2**61, 2**60, 2**60 - 1, COSTS_MAX])) == [
        (*UNPRICED[:5], COSTS_MAX, COSTS_MAX, 2**63 - 2)
    ]
    assert pack_usage([*UNPRICED, 2**61, 2**60, 2**60, 0]) is None


def test_free_is_not_unpriced() -> None:
    """A price of zero gives costs of zero, which count as priced."""
    assert OF_USAGE.unpack(packed([*UNPRICED, 0, 0, 0, 0]) + packed(UNPRICED)) == [
        (*UNPRICED[:5], 0, 0, 0),
        tuple(UNPRICED[:5]),
    ]


@pytest.mark.parametrize("model", ["", "l", ":", "gpt-4o", "é/\0"])
def test_models_have_series_of_their_own(model: str) -> None:
    """Whatever their names, and apart from that of the latencies."""
    name = model_series(model)
    assert name != LATENCY
    assert model_of(name) == model
    assert series_of(name) is OF_USAGE
    assert series_of(LATENCY) is OF_LATENCY


def test_stored_form() -> None:
    """Shards on disk are read by the next version: five counts of 32 bits, two costs of 64; a latency of 64."""
    assert packed([1, 2, 3, 4, 5, 9, 6, 7, 8, 10]) == bytes.fromhex(
        "01000000 02000000 03000000 04000000 05000000 1500000000000000 0a00000000000000"
    )
    assert packed([1, 2, 3, 4, 5, 9])[20:] == b"\xff" * 16
    assert pack_latency(-2) == bytes.fromhex("feffffffffffffff")
    assert (model_series("m"), LATENCY) == (b":m", b"l")
