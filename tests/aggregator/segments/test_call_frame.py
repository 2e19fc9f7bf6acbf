"""Frames of call records: whatever records go in come out, all or those asked for, in few bytes; damage is told."""

import json
from random import Random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggregator.calls.call import Call, Subtree
from aggregator.calls.usage_vector import NAMES, Usage
from aggregator.segments.call_frame import pack_calls, unpack_calls
from aggregator.segments.compression import CorruptFrame, compress
from ingest.decoding.single import decode_message
from tests.pipeline.lifelike import lifelike_events
from tests.support.call_strategies import frames, trees
from tests.support.folding import NOW_US, fold_in_memory

BYTES_PER_CALL_MAX = 22
CALLS = 256


def lifelike_calls(seed: int, count: int) -> dict[int, Call]:
    """Records of so many calls of agents, as a worker has them."""
    messages = [json.dumps(event).encode() for event in lifelike_events(Random(seed), 3 * count)]
    records = fold_in_memory(decode_message(message, NOW_US).events for message in messages)
    return dict(list(records.calls.items())[:count])


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=100)
@given(frames)
def test_come_back(records: dict[int, Call]) -> None:
    """All that a record has, and nothing else."""
    assert unpack_calls(pack_calls(records)) == records


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=200)
@given(trees(), st.sets(st.integers(0, 9), max_size=3))
def test_trees_of_any_shape(records: dict[int, Call], wanted: set[int]) -> None:
    """Calls below others, in whatever order they came, began and ended, and with totals that follow or nearly do."""
    packed = pack_calls(records)
    assert unpack_calls(packed) == records
    assert unpack_calls(packed, wanted) == {number: call for number, call in records.items() if number in wanted}


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(frames, st.sets(st.integers(0, 8), max_size=3))
def test_those_wanted(records: dict[int, Call], wanted: set[int]) -> None:
    """Only the records asked for are read, as far as they are there."""
    found = unpack_calls(pack_calls(records), wanted)
    assert found == {number: call for number, call in records.items() if number in wanted}


@pytest.mark.parametrize("seed", range(3))
def test_trees(seed: int) -> None:
    """Records of agents, each alone too: what its total follows from need not be asked for."""
    records = lifelike_calls(seed, CALLS)
    assert sum(call.subtree is not None for call in records.values()) > CALLS // 4
    packed = pack_calls(records)
    assert unpack_calls(packed) == records
    for number, call in records.items():
        assert unpack_calls(packed, {number}) == {number: call}


def test_few_bytes() -> None:
    """A call takes what is promised, with its ids, however many are together."""
    records = lifelike_calls(0, CALLS)
    assert len(pack_calls(records)) < BYTES_PER_CALL_MAX * CALLS


def test_children_that_came_first() -> None:
    """Records whose children are numbered before them, as those of spans are that are sent as they end, take hardly
    more: their totals follow all the same.
    """
    records = lifelike_calls(0, CALLS)
    last = max(records) + 1
    of_spans = {}
    for number, call in records.items():
        of_spans[last - number] = msgspec.structs.replace(
            call, parent_number=None if call.parent_number is None else last - call.parent_number
        )
    packed = pack_calls(of_spans)
    assert unpack_calls(packed) == of_spans
    assert len(packed) < 1.02 * len(pack_calls(records))


def test_damage_is_told() -> None:
    """Any bytes that do not say what was sealed, also whole frames of something else."""
    records = lifelike_calls(1, 20)
    packed = pack_calls(records)
    told = 0
    for at in range(0, len(packed), 3):
        try:
            found = unpack_calls(packed[:at] + bytes([packed[at] ^ 1]) + packed[at + 1 :])
        except CorruptFrame:
            told += 1
        else:
            assert found == records  # some bits of compressed bytes say nothing
        with pytest.raises(CorruptFrame):
            unpack_calls(packed[:at])
    assert told > len(packed) // 3 * 0.9
    for other in (b"", b"\x90", b"\x93\x01\xc0\xc0"):
        with pytest.raises(CorruptFrame):
            unpack_calls(compress(other))


def test_order_of_models() -> None:
    """The models that a call itself used come back in the call's order."""
    usage: Usage = {"b": [1] * len(NAMES), "a": [2] * len(NAMES)}
    record = Call(1, b"\x00a", 5, 5, 6, trace=b"\x00a", usage=usage)
    assert list(unpack_calls(pack_calls({7: record}))[7].usage) == ["b", "a"]


def test_what_does_not_follow() -> None:
    """A total without its children, and what a roll-up states beyond its total, come back as they are."""
    record = Call(1, b"\x00a", 5, 5, 6, trace=b"\x00a", may_roll_up=True)
    record.subtree = Subtree({"gpt-4o": list(range(1, 14))}, 2)
    record.stated = {"gpt-4o": [9] * len(NAMES), "o3": [1] * len(NAMES)}
    assert unpack_calls(pack_calls({7: record})) == {7: record}
