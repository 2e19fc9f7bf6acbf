"""Calls as columns: those that are wanted, each once, counted to the numbers that single records add up to."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggregator.calls.call import Call
from aggregator.calls.usage_vector import CACHE_READ_COST, INPUT, OUTPUT_COST, TOTAL, UNCACHED_COST, Usage
from aggregator.rollups.accumulator import Merged
from aggregator.rollups.call_columns import NO_BUCKET, ValuesWanted, count_columns
from aggregator.rollups.column_values import count_by_value
from aggregator.rollups.series import OF_LATENCY, OF_USAGE, series_of
from aggregator.rollups.tally import tally_of
from aggregator.rollups.view import ERROR, MODEL, OP, ROOT, RUN, USER
from aggregator.rollups.view_values import DimensionValue
from aggregator.rollups.views import ViewFilter
from aggregator.segments.call_frame import pack_calls
from aggregator.segments.call_selection import CallSelection, WantedCalls
from aggregator.segments.compression import CorruptFrame, compress
from tests.support.call_strategies import BEGIN_US, END_US, as_sent, frames, texts

CUT_US = BEGIN_US + 50_000_000
BOTH = ValuesWanted(True, True)
FILTERS = st.builds(
    ViewFilter,
    st.none() | st.tuples(texts) | st.tuples(texts, texts) | st.just(("o:*", "op")),
    st.booleans(),
    st.none() | st.tuples(texts, texts),
    st.none() | st.tuples(texts),
)


def numbers(merged: Merged) -> Any:
    """All that was counted, in a form to compare."""
    totals = {}
    for kind in (OF_LATENCY, OF_USAGE):
        found = merged.totals(kind)
        for key, row in zip(found.keys, found.rows.tolist(), strict=True):
            totals[key] = found.large.get(key, row)
    values = {
        key: Counter(series_of(key[1]).unpack(b"".join(of_key.rows))) + Counter(of_key.large)
        for key, of_key in merged.values.items()
    }
    return merged.calls, merged.errors, totals, values


def counted(selection: CallSelection, trees: bool, values: ValuesWanted = BOTH) -> Any:
    """Return what is counted of selected calls, before the cut and after it, without the very first instant."""
    columns, merged = selection.columns(), Merged(2, trees)
    buckets = np.where(columns.started_us == BEGIN_US, NO_BUCKET, (columns.started_us >= CUT_US).astype(np.int64))
    count_columns(columns, buckets, merged, values)
    return numbers(merged)


def one_by_one(calls: Sequence[Call], wanted: WantedCalls) -> Any:
    """Return what single records add up to."""
    merged = Merged(2, wanted.trees)
    for call in calls:
        started_us = call.started_us
        if (
            started_us is not None
            and BEGIN_US < started_us < END_US
            and call.project == wanted.project
            and wanted.views.matches(call.op_name, call.parent is None, call.user_id, call.run_id)
        ):
            merged.add_calls(int(started_us >= CUT_US), tally_of([call]))
    return numbers(merged)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=100)
@given(frames, frames, FILTERS)
def test_as_one_by_one(sealed: dict[int, Call], beside: dict[int, Call], views: ViewFilter) -> None:
    """A frame, and records that count instead of what it has of them, add up whatever they hold."""
    sealed, beside = ({at: as_sent(call) for at, call in some.items()} for some in (sealed, beside))
    wanted = WantedCalls(1, BEGIN_US, END_US, views, True, views.roots_only)
    selection = CallSelection(wanted)
    selection.add_calls(beside.values())
    selection.add_frame(pack_calls(sealed), beside)
    assert counted(selection, wanted.trees) == one_by_one(list((sealed | beside).values()), wanted)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=100)
@given(frames, st.booleans(), st.sampled_from([OP, ROOT, USER, RUN, MODEL, ERROR]))
def test_frames_by_value(sealed: dict[int, Call], trees: bool, dimension: int) -> None:
    """Calls of a frame are told apart as the same calls are when they are not sealed."""
    sealed = {at: as_sent(call) for at, call in sealed.items()}
    wanted = WantedCalls(1, BEGIN_US, END_US, ViewFilter(roots_only=trees), True, trees, dimension == MODEL)
    found: list[Any] = []
    for selection in (CallSelection(wanted), CallSelection(wanted)):
        if found:
            selection.add_calls(sealed.values())
        else:
            selection.add_frame(pack_calls(sealed), ())
        merged, buckets = Merged(20, trees), dict[DimensionValue, int]()

        def bucket_of(value: DimensionValue, known: dict[DimensionValue, int] = buckets) -> int:
            return known.setdefault(value, len(known))

        columns = selection.columns()
        count_by_value(columns, np.zeros(columns.size, dtype=np.int64), dimension, bucket_of, merged, BOTH)
        values = list(buckets)
        calls, errors, totals, kept = numbers(merged)
        found.append(
            {
                value: (
                    calls[at],
                    errors[at],
                    {name: of_key for (bucket, name), of_key in totals.items() if bucket == at},
                    {name: of_key for (bucket, name), of_key in kept.items() if bucket == at},
                )
                for at, value in enumerate(values)
            }
        )
    assert found[0] == found[1]


def a_call(at: int, ended_us: int | None, failed: bool = False) -> Call:
    return Call(1, bytes([0, at]), BEGIN_US + 1, BEGIN_US + 1, ended_us, failed, usage={"m": [at + 1] * 11 + [1, 0]})


CALLS = {
    0: a_call(0, BEGIN_US + 2_500_000),
    1: a_call(1, BEGIN_US - 5_000_000),  # its clocks differ
    2: a_call(2, None, failed=True),
    3: a_call(3, BEGIN_US + 1, failed=True),
}


@pytest.mark.parametrize("trees", [False, True])
def test_what_each_kind_of_call_counts(trees: bool) -> None:
    """Neither a negative latency, nor anything of a call that has not ended but the call itself."""
    wanted = WantedCalls(1, BEGIN_US, END_US, ViewFilter(roots_only=trees), True, trees)
    selection = CallSelection(wanted)
    selection.add_frame(pack_calls(CALLS), ())
    calls, errors, totals, values = found = counted(selection, trees)
    assert found == one_by_one(list(CALLS.values()), wanted)
    assert (calls, errors) == ([4, 0], [1, 0])
    assert sorted(values[0, b"l"].elements()) == [(0,), (2_500,)]
    assert totals[0, b"^m" if trees else b":m"][0] == 3


def test_models_that_calls_belong_to() -> None:
    """A call belongs to models that it used; if it failed before, to the one its start named, unless it states some."""
    used: Usage = {"m": [1] * 13, "n": [0] * 13}
    kinds: list[dict[str, Any]] = [
        {"usage": used, "model": "named", "failed": True},
        {"model": "named", "failed": True},
        {"model": "named"},
        {"failed": True},
        {"model": "named", "failed": True, "stated": used},
        {"model": "named", "failed": True, "ended_us": None},
    ]
    calls = {
        at: msgspec.structs.replace(a_call(at, BEGIN_US + 5), **({"usage": {}} | told)) for at, told in enumerate(kinds)
    }
    wanted = WantedCalls(1, BEGIN_US, END_US, ViewFilter(), False, False, True)
    sealed, hot = CallSelection(wanted), CallSelection(wanted)
    sealed.add_frame(pack_calls(calls), ())
    hot.add_calls(calls.values())
    for selection in (sealed, hot):
        columns = selection.columns()
        models = [columns.names[place] for place in columns.belong_models.tolist()]
        assert sorted(zip(columns.belong_calls.tolist(), models, strict=True)) == [(0, "m"), (0, "n"), (1, "named")]


@pytest.mark.parametrize("at", [INPUT, TOTAL, UNCACHED_COST, CACHE_READ_COST, OUTPUT_COST])
@pytest.mark.parametrize("number", [2**32 - 1, 2**32, 2**60 - 1, 2**60, 2**61, 2**62 - 1, 2**62, 2**63 - 1])
def test_large_numbers(at: int, number: int) -> None:
    """Counts and costs that no packed row holds add up all the same."""
    vector = [1] * 13
    vector[at] = vector[at + 1] = number
    calls = {place: msgspec.structs.replace(call, usage={"m": vector, "n": [1] * 13}) for place, call in CALLS.items()}
    wanted = WantedCalls(1, BEGIN_US, END_US, ViewFilter(), True, False)
    selection = CallSelection(wanted)
    selection.add_frame(pack_calls(calls), ())
    *exact, values = counted(selection, False)
    *expected, values_expected = one_by_one(list(calls.values()), wanted)
    assert exact == expected
    assert {key: sum(of_key.values()) for key, of_key in values.items()} == {
        key: sum(of_key.values()) for key, of_key in values_expected.items()
    }


def test_no_more_than_is_asked() -> None:
    """No usage is counted that is not asked for, and no value is kept without percentiles."""
    selection = CallSelection(WantedCalls(1, BEGIN_US, END_US, ViewFilter(), False, False))
    selection.add_frame(pack_calls(CALLS), ())
    _, _, totals, values = counted(selection, False, ValuesWanted(False, False))
    assert (set(totals), values) == ({(0, b"l")}, {})


def test_damage_is_told() -> None:
    """A frame of something else is none of calls."""
    for other in (b"", b"\x90", b"\x93\x01\xc0\xc0"):
        with pytest.raises(CorruptFrame):
            CallSelection(WantedCalls(1, 0, 1, ViewFilter(), True, False)).add_frame(compress(other), ())
    selected: Mapping[int, Call] = {}
    empty = CallSelection(WantedCalls(1, 0, 1, ViewFilter(), True, False))
    empty.add_frame(pack_calls(selected), ())
    assert empty.columns().size == 0
