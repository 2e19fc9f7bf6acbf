"""Answering `/calls/stats`: the window that is asked for, its buckets, their rows, and the refusals on the way."""

from collections.abc import Sequence
from functools import partial

import msgspec

from aggregator.rollups.levels import MINUTES, Retention
from aggregator.store.reader import OpenedProject, StoreReader
from aggregator.time_units import SECOND_US
from aggregator.timestamps import format_utc
from api.query.bucket_cache import BucketRows, KeptBuckets
from api.query.bucket_reading import Buckets, Source, rows_of_calls, rows_of_rollups
from api.query.buckets import bucket_starts, bucket_timestamps
from api.query.call_filters import needs_calls
from api.query.fact_reading import facts_of
from api.query.granularity import resolve_granularity
from api.query.questions import StatsQuestion
from api.query.read_plan import bucket_edges
from api.query.retained_window import FittedWindow, level_reach_us
from api.query.rows_json import AnswerSize, call_json, usage_json
from api.query.turns import Turns
from api.query.window_refusals import check_calls_are_kept, end_of_time, fitted_window, refusing_what_is_not_kept
from api.query.zones import load_zone
from api.refusals import invalid_at

# An answer of more than this is put together aside: it takes some milliseconds.
INLINE_BYTES_MAX = 500_000
# More buckets than this are planned aside: ten thousand take some 50 ms.
INLINE_BUCKETS_MAX = 1_000


async def answer_stats(
    reader: StoreReader,
    kept: KeptBuckets,
    turns: Turns,
    project: OpenedProject,
    question: StatsQuestion,
    now_us: int,
    retention: Retention,
) -> bytes:
    """The JSON of a CallStatsRes; raises Refusal, and StateLost."""
    window = _window(question, now_us, retention)
    plan = partial(_planned, question, window)
    is_long = (window.end_us - window.start_us) // (window.granularity_s * SECOND_US) > INLINE_BUCKETS_MAX
    buckets = await turns.aside(plan) if is_long else plan()
    source = Source(reader, project, turns, facts_of(reader, now_us, retention))
    with refusing_what_is_not_kept(), turns.rows() as room:
        size = AnswerSize(question, len(buckets.edges_us), room)
        if needs_calls(question.filter):
            check_calls_are_kept(window, now_us, retention)
            rows = await rows_of_calls(source, buckets, size)
        else:
            minutes_reach_us = level_reach_us(MINUTES, now_us, retention)
            rows = await rows_of_rollups(source, kept, buckets, minutes_reach_us, size)
        encode = partial(_encoded, window, question, buckets.timestamps, rows)
        return await turns.aside(encode) if room.size_bytes > INLINE_BYTES_MAX else encode()


def _planned(question: StatsQuestion, window: FittedWindow) -> Buckets:
    """The buckets of a window; none where nothing is asked of them. Raises Refusal."""
    zone = load_zone(question.timezone)
    starts: list[int] = []
    if question.call_metrics or question.usage_metrics:
        starts = bucket_starts(window.start_us, window.end_us, window.granularity_s, zone)
        _check_edges(starts, window, question.timezone)
    edges_us = bucket_edges(window.start_us, window.end_us, starts)
    return Buckets(question, bucket_timestamps(starts, zone), edges_us)


def _encoded(
    window: FittedWindow, question: StatsQuestion, timestamps: Sequence[str], rows: Sequence[BucketRows]
) -> bytes:
    return msgspec.json.encode(
        {
            "start": format_utc(window.start_us),
            "end": format_utc(window.end_us),
            "granularity": window.granularity_s,
            "timezone": question.timezone,
            "usage_buckets": usage_json(rows, timestamps, question.usage_metrics),
            "call_buckets": call_json(rows) if question.call_metrics else [],
        }
    )


def _window(question: StatsQuestion, now_us: int, retention: Retention) -> FittedWindow:
    end_us = now_us if question.end_us is None else question.end_us
    end_us = end_of_time(question.start_us, end_us, now_us)
    granularity_s = resolve_granularity(end_us - question.start_us, question.granularity_s)
    return fitted_window(question.start_us, end_us, granularity_s, now_us, retention)


def _check_edges(starts: Sequence[int], window: FittedWindow, timezone: str) -> None:
    """Refuse a zone whose days begin inside a slot, where only slots of `slot_s` are kept: no answer would be exact."""
    if window.slot_s and any(start_us % (window.slot_s * SECOND_US) for start_us in starts):
        raise invalid_at(
            ("timezone",),
            f"of the oldest part of this window only {window.slot_s} s slots of UTC are kept, and buckets of "
            f"{timezone} begin inside one; ask for a later start, or for a zone with whole hours",
        )
