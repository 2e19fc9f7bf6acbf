"""Requests for property tests: metrics, filters, windows and ids that meet the events of `event_strategies`."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from tests.support.strategies import (
    AGGREGATIONS,
    ANCHORS,
    BUCKETS_MAX,
    CALL_IDS,
    CALL_METRICS,
    GRANULARITIES_LONG_S,
    GRANULARITIES_S,
    NEVER_SENT,
    NOW,
    OP_NAMES,
    OP_PREFIXES,
    PERCENTILES,
    PROJECTS,
    REF_PREFIXES,
    REFS,
    RUN_IDS,
    THREAD_IDS,
    TRACE_IDS,
    TURN_IDS,
    USAGE_METRICS,
    USER_IDS,
    ZONES,
    Json,
    instant_texts,
    moments,
    pool,
)

# --- requests ---


def metric_specs(metrics: Sequence[str]) -> SearchStrategy[Json]:
    """Strategy: one metric with any aggregations and percentiles."""
    lists = {
        "aggregations": st.lists(pool(AGGREGATIONS), unique=True),
        "percentiles": st.lists(pool(PERCENTILES), max_size=4),
    }
    return st.fixed_dictionaries({"metric": pool(metrics)}, optional=lists)


_call_metrics = st.fixed_dictionaries({"call_metrics": st.lists(metric_specs(CALL_METRICS), min_size=1, max_size=3)})
_usage_metrics = st.fixed_dictionaries({"usage_metrics": st.lists(metric_specs(USAGE_METRICS), min_size=1, max_size=3)})
_metrics: SearchStrategy[Json] = st.one_of(
    _call_metrics,
    _usage_metrics,
    st.builds(lambda one, other: one | other, _call_metrics, _usage_metrics),
    pool([{}, {"call_metrics": None, "usage_metrics": []}]),
)
_FILTER_VALUES: dict[str, Sequence[str]] = {
    "op_names": (*OP_NAMES, *OP_PREFIXES),
    "input_refs": (*REFS, *REF_PREFIXES),
    "output_refs": (*REFS, *REF_PREFIXES),
    "parent_ids": (*CALL_IDS, NEVER_SENT),
    "trace_ids": (*TRACE_IDS, *CALL_IDS),
    "call_ids": (*CALL_IDS, NEVER_SENT),
    "thread_ids": (*THREAD_IDS, "nobody"),
    "turn_ids": (*TURN_IDS, "nobody"),
    "wb_user_ids": (*USER_IDS, "nobody"),
    "wb_run_ids": (*RUN_IDS, "nobody"),
}
_filter_fields = {field: st.lists(pool(values), min_size=2, max_size=6) for field, values in _FILTER_VALUES.items()} | {
    "trace_roots_only": pool([True, False, None])
}


@st.composite
def call_filters(draw: DrawFn) -> Json | None:
    """Strategy: none, or one to three fields of a filter with values that calls have, and some that none has."""
    size = draw(pool([1, 1, 2, 3, 0]))
    if size == 0:
        nothing: Json | None = draw(pool([None, {}]))
        return nothing
    fields = draw(st.lists(pool(list(_filter_fields)), unique=True, min_size=size, max_size=size))
    chosen = {field: draw(_filter_fields[field]) for field in fields}
    return chosen | {"turn_ids": draw(pool([None, []]))} if draw(st.integers(0, 9)) == 9 else chosen


@st.composite
def windows(draw: DrawFn) -> tuple[datetime, datetime]:
    """Start and end: all that is told of, hours or days around an anchor, or any two instants."""
    kind = draw(pool(["all", "around", "around", "any"]))
    if kind == "all":
        return min(ANCHORS) - timedelta(days=draw(pool([1, 5]))), max(ANCHORS) + timedelta(days=1)
    if kind == "around":
        anchor, hours = draw(pool(ANCHORS)), draw(pool([1, 2, 6, 13, 24, 72, 14 * 24, 31 * 24]))
        return anchor - timedelta(hours=hours), anchor + timedelta(hours=draw(pool([1, hours])))
    start, end = sorted((draw(moments), draw(moments)))
    return start, end


@st.composite
def stats_requests(draw: DrawFn) -> Json:
    """A valid request of /calls/stats over the data of `event_messages`, of at most some hundred buckets."""
    start, end = draw(windows())
    request: Json = {"project_id": draw(pool(PROJECTS)), "start": draw(instant_texts(start))}
    if draw(st.integers(0, 9)) == 9:
        end = NOW
        request |= draw(pool([{}, {"end": None}]))
    else:
        request["end"] = draw(instant_texts(end))
    range_s = (end - start).total_seconds()
    fitting = [g for g in (*GRANULARITIES_S, *GRANULARITIES_LONG_S) if range_s / g <= BUCKETS_MAX]
    optional = {
        "granularity": st.none() | pool(fitting),
        "timezone": pool(ZONES),
    }
    if draw(pool([True, True, True, False])):
        request["filter"] = draw(call_filters())
    return request | draw(_metrics) | draw(st.fixed_dictionaries({}, optional=optional))


@st.composite
def usage_requests(draw: DrawFn) -> Json:
    """A valid request of /calls/usage about calls of `event_messages`, some unknown, some twice."""
    call_ids = draw(st.lists(pool([*CALL_IDS, NEVER_SENT]), min_size=draw(pool([0, 1, 3])), max_size=6))
    optional = {"include_costs": st.booleans(), "limit": st.integers(max(1, len(set(call_ids))), 10_000)}
    request = {"project_id": draw(pool(PROJECTS)), "call_ids": call_ids}
    return request | draw(st.fixed_dictionaries({}, optional=optional))


@st.composite
def trace_usage_requests(draw: DrawFn) -> Json:
    """A valid request of /trace/usage: any filter, or none, and now and then a limit that may be too low."""
    optional = {"include_costs": st.booleans(), "limit": pool([1, 3, 10_000])}
    request = {"project_id": draw(pool(PROJECTS)), "filter": draw(call_filters())}
    return request | draw(st.fixed_dictionaries({}, optional=optional))
