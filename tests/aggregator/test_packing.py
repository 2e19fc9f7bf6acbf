"""Stored structures come back as they were, with integers of any size."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.calls.call import CALL_CODEC, Call, Subtree
from aggregator.packing import Packing

# Around the ends of 64 bits, and far beyond.
EDGES = [sign * 2**bits + step for sign in (1, -1) for bits in (63, 64, 100) for step in (-1, 0, 1)]
numbers = st.integers(-10, 10) | st.sampled_from(EDGES) | st.integers()
totals = st.lists(numbers, max_size=8)


@given(totals)
def test_numbers_come_back(told: list[int]) -> None:
    """Whatever their size."""
    assert Packing(list[int]).unpack(Packing(list[int]).pack(told)) == told


usages = st.dictionaries(st.text() | st.sampled_from(["\0int:7", "\0\0int:7", "\0int:x", "\0"]), totals, max_size=3)
subtrees = st.builds(Subtree, usages, st.integers(0, 9))
# Ids and texts that look like a marked number must stay texts.
texts = st.none() | st.text() | st.sampled_from(["\0int:7", "\0\0int:7", "\0int:x", "\0"])


@given(
    st.builds(
        Call,
        project=st.integers(1, 9),
        packed_id=st.binary(),
        seen_us=numbers,
        started_us=st.none() | numbers,
        trace=st.binary(),
        parent=st.none() | st.binary(),
        user_id=texts,
        usage=usages,
        subtree=st.none() | subtrees,
        waiting=st.none() | st.dictionaries(st.binary(), subtrees, max_size=2),
        waiting_output_refs=st.none() | st.lists(st.text(), max_size=2),
    )
)
def test_calls_come_back(call: Call) -> None:
    """Bytes as bytes, texts as texts, numbers as numbers."""
    assert CALL_CODEC.unpack(CALL_CODEC.pack(call)) == call


def test_usual_numbers_are_plain_messagepack() -> None:
    """Numbers are written as plain MessagePack wherever they fit."""
    assert Packing(list[int]).pack([1, 2**63]) == msgspec.msgpack.encode([1, 2**63])
    assert Packing(list[int]).pack([1, 2**64]) == msgspec.msgpack.encode([1, "\0int:18446744073709551616"])


@pytest.mark.parametrize("packed", [msgspec.msgpack.encode("x"), msgspec.msgpack.encode(["x"])])
def test_what_is_something_else_is_refused(packed: bytes) -> None:
    """A text where numbers belong raises."""
    with pytest.raises(msgspec.ValidationError):
        Packing(list[int]).unpack(packed)


def test_a_text_that_looks_like_a_marked_number() -> None:
    """Stays a text beside a number that had to be marked: no producer can make a record unreadable."""
    call = Call(1, b"a", 0, user_id="\0int:x", run_id="\0\0int:7", usage={"\0int:7": [2**80]})
    assert CALL_CODEC.unpack(CALL_CODEC.pack(call)) == call
