"""Answering `/calls/stats` from rollups, and from single calls only where nothing else can tell."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import chain

import msgspec

from aggregator import redis_layout as layout
from aggregator.call import Call
from aggregator.call_reading import (
    IndexValues,
    Selected,
    read_calls,
    select_by_index,
    select_ids,
    select_minutes,
)
from aggregator.call_tally import tally_of
from aggregator.levels import Retention
from aggregator.merged import Merged
from aggregator.rollup_reading import TooMuchToRead, read_rollups
from aggregator.series import OF_USAGE
from aggregator.store_reader import OpenedProject, StoreReader
from aggregator.timestamps import format_utc
from aggregator.view import NotKept, ViewFilter
from api.bucket_rows import call_rows, priced_models, usage_rows
from api.buckets import bucket_starts, bucket_timestamps
from api.detail import BeyondRetention, Fitted, calls_reach_us, fit
from api.granularity import resolve_granularity
from api.questions import CallFilter, MetricQuestion, StatsQuestion
from api.read_plan import plan_reads
from api.refusals import invalid_at
from api.zones import load_zone

# 10,000 buckets of 100 models: some 100 MB of JSON, more than any dashboard draws.
ROWS_MAX = 1_000_000
# Keys of all rows, calls' and models': 20 bytes of JSON each and a microsecond.
VALUES_MAX = 10_000_000


async def answer_stats(
    reader: StoreReader, project: OpenedProject, question: StatsQuestion, now_us: int, retention: Retention
) -> bytes:
    """The JSON of a CallStatsRes; raises Refusal."""
    window = _window(question, now_us, retention)
    zone = load_zone(question.timezone)
    starts: list[int] = []
    merged = Merged(0)
    if question.call_metrics or question.usage_metrics:
        starts = bucket_starts(window.start_us, window.end_us, window.granularity_s, zone)
        _check_edges(starts, window, question.timezone)
        merged = Merged(len(starts))
        try:
            await _read(reader, project, question, window, starts, merged, calls_reach_us(now_us, retention))
        except NotKept:
            raise invalid_at(
                ("filter",),
                "this project had more distinct values of the filtered fields on a day of the window than are kept "
                "(CALLMETER_LIMITS__VIEWS), so the filter cannot be answered exactly; totals without it can",
            ) from None
        except TooMuchToRead as too_much:
            raise invalid_at(("filter",), f"{too_much}; ask for a shorter window or fewer values") from None
    usage = merged.totals(OF_USAGE) if question.usage_metrics else None
    priced = priced_models(usage) if usage else {}
    _check_size(question, len(starts), len(priced))
    timestamps = bucket_timestamps(starts, zone)
    return msgspec.json.encode(
        {
            "start": format_utc(window.start_us),
            "end": format_utc(window.end_us),
            "granularity": window.granularity_s,
            "timezone": question.timezone,
            "usage_buckets": usage_rows(timestamps, priced, usage, merged, question.usage_metrics) if usage else [],
            "call_buckets": call_rows(timestamps, merged, question.call_metrics) if question.call_metrics else [],
        }
    )


def _window(question: StatsQuestion, now_us: int, retention: Retention) -> Fitted:
    end_us = now_us if question.end_us is None else question.end_us
    granularity_s = resolve_granularity(end_us - question.start_us, question.granularity_s)
    try:
        return fit(question.start_us, end_us, granularity_s, now_us, retention)
    except BeyondRetention as beyond:
        raise invalid_at(
            ("start",), f"nothing of this window is kept; data reaches back to {format_utc(beyond.reaches_us)}"
        ) from None


def _check_edges(starts: Sequence[int], window: Fitted, timezone: str) -> None:
    """Where only slots of `slot_s` are kept, a zone whose days begin inside a slot cannot be answered exactly."""
    if window.slot_s and any(start_us % (window.slot_s * 1_000_000) for start_us in starts):
        raise invalid_at(
            ("timezone",),
            f"of the oldest part of this window only {window.slot_s} s slots of UTC are kept, and buckets of "
            f"{timezone} begin inside one; ask for a later start, or for a zone with whole hours",
        )


async def _read(
    reader: StoreReader,
    project: OpenedProject,
    question: StatsQuestion,
    window: Fitted,
    starts: Sequence[int],
    into: Merged,
    calls_reach: int,
) -> None:
    dimensions = _dimensions(question.filter)
    if _needs_calls(question.filter):
        if window.start_us < min(calls_reach, window.end_us):
            raise invalid_at(
                ("filter",),
                "filters on ids and refs need call records, which reach back to "
                f"{format_utc(calls_reach)}; ask for a later start",
            )
        selected = await _select(reader, project, question.filter, window)
    else:
        plan = plan_reads(window.start_us, window.end_us, starts)
        latency_values = any(m.metric == "latency_ms" and m.percentiles for m in question.call_metrics)
        usage_values = any(metric.percentiles for metric in question.usage_metrics)
        await read_rollups(reader, project, plan.slots, dimensions, into, latency_values, usage_values)
        selected = await select_minutes(reader, project, plan.cut_minutes) if plan.cut_minutes else {}
    calls = (await read_calls(reader, selected)).values()
    _add_calls([call for call in calls if _matches(call, dimensions)], window, starts, into)


def _add_calls(calls: Sequence[Call], window: Fitted, starts: Sequence[int], into: Merged) -> None:
    by_bucket: dict[int, list[Call]] = {}
    for call in calls:
        if call.started_us is not None and window.start_us <= call.started_us < window.end_us:
            by_bucket.setdefault(bisect_right(starts, call.started_us) - 1, []).append(call)
    for position, within in by_bucket.items():
        into.add_calls(position, tally_of(within))


def _dimensions(asked: CallFilter) -> ViewFilter:
    return ViewFilter(asked.op_names, asked.trace_roots_only, asked.wb_user_ids, asked.wb_run_ids)


def _matches(call: Call, dimensions: ViewFilter) -> bool:
    return dimensions.matches(call.op_name, call.parent is None, call.user_id, call.run_id)


def _indexes(asked: CallFilter) -> list[IndexValues]:
    pairs = (
        (layout.INPUT_REF, asked.input_refs),
        (layout.OUTPUT_REF, asked.output_refs),
        (layout.PARENT, asked.parent_ids),
        (layout.TRACE, asked.trace_ids),
        (layout.THREAD, asked.thread_ids),
        (layout.TURN, asked.turn_ids),
    )
    return [IndexValues(index, values) for index, values in pairs if values is not None]


def _needs_calls(asked: CallFilter) -> bool:
    return asked.call_ids is not None or bool(_indexes(asked))


async def _select(reader: StoreReader, project: OpenedProject, asked: CallFilter, window: Fitted) -> Selected:
    """The records that every filter on ids and refs selects."""
    days = range(layout.day_of(window.start_us), layout.day_of(max(window.end_us - 1, window.start_us)) + 1)
    found: list[Selected] = []
    if asked.call_ids is not None:
        by_ids: Selected = {}
        for shard, number in chain.from_iterable((await select_ids(reader, project, asked.call_ids)).values()):
            by_ids.setdefault(shard, set()).add(number)
        found.append(by_ids)
    for wanted in _indexes(asked):
        found.append(await select_by_index(reader, project, wanted, days))
    return {shard: set.intersection(*(one.get(shard, set()) for one in found)) for shard in found[0]}


def _check_size(question: StatsQuestion, buckets: int, models: int) -> None:
    rows = buckets * models
    values = rows * _keys(question.usage_metrics) + buckets * _keys(question.call_metrics)
    if rows > ROWS_MAX or values > VALUES_MAX:
        raise invalid_at(
            ("granularity",),
            f"{buckets:,} buckets of {models:,} models are more than {ROWS_MAX:,} rows, or have more than "
            f"{VALUES_MAX:,} values; ask for larger buckets",
        )


def _keys(metrics: Sequence[MetricQuestion]) -> int:
    """How many keys a row has, besides its timestamp, model and count."""
    return sum(len(metric.aggregations) + len(metric.percentiles) for metric in metrics)
