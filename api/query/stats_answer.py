"""Answering `/calls/stats`: the window that is asked for, its buckets, their rows, and the refusals on the way."""

from collections.abc import Sequence

import msgspec

from aggregator.rollups.levels import DAY_US, MINUTES, Retention
from aggregator.store.reader import OpenedProject, StoreReader
from aggregator.timestamps import format_utc
from api.query.bucket_cache import KeptBuckets
from api.query.bucket_reading import Buckets, needs_calls, rows_of_calls, rows_of_rollups
from api.query.buckets import bucket_starts, bucket_timestamps
from api.query.granularity import resolve_granularity
from api.query.questions import StatsQuestion
from api.query.read_plan import bucket_edges
from api.query.retained_window import Fitted, level_reach_us
from api.query.rows_json import call_json, usage_json
from api.query.window_refusals import check_calls_are_kept, fitted_window, refusing_what_is_not_kept
from api.query.zones import load_zone
from api.refusals import invalid_at

# No event is taken in that is further ahead of its time of arrival.
AHEAD_US_MAX = DAY_US


async def answer_stats(
    reader: StoreReader,
    kept: KeptBuckets,
    project: OpenedProject,
    question: StatsQuestion,
    now_us: int,
    retention: Retention,
) -> bytes:
    """The JSON of a CallStatsRes; raises Refusal, and StateLost."""
    window = _window(question, now_us, retention)
    zone = load_zone(question.timezone)
    starts: list[int] = []
    if question.call_metrics or question.usage_metrics:
        starts = bucket_starts(window.start_us, window.end_us, window.granularity_s, zone)
        _check_edges(starts, window, question.timezone)
    timestamps = bucket_timestamps(starts, zone)
    buckets = Buckets(question, timestamps, bucket_edges(window.start_us, window.end_us, starts))
    with refusing_what_is_not_kept():
        if needs_calls(question.filter):
            check_calls_are_kept(window, now_us, retention)
            rows = await rows_of_calls(reader, project, buckets)
        else:
            minutes_reach_us = level_reach_us(MINUTES, now_us, retention)
            rows = await rows_of_rollups(reader, kept, project, buckets, minutes_reach_us)
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


def _window(question: StatsQuestion, now_us: int, retention: Retention) -> Fitted:
    end_us = now_us if question.end_us is None else question.end_us
    # Nothing is counted that began later than that, so nothing beyond has to be read, nor listed.
    end_us = max(question.start_us, min(end_us, now_us + AHEAD_US_MAX))
    granularity_s = resolve_granularity(end_us - question.start_us, question.granularity_s)
    return fitted_window(question.start_us, end_us, granularity_s, now_us, retention)


def _check_edges(starts: Sequence[int], window: Fitted, timezone: str) -> None:
    """Where only slots of `slot_s` are kept, a zone whose days begin inside a slot cannot be answered exactly."""
    if window.slot_s and any(start_us % (window.slot_s * 1_000_000) for start_us in starts):
        raise invalid_at(
            ("timezone",),
            f"of the oldest part of this window only {window.slot_s} s slots of UTC are kept, and buckets of "
            f"{timezone} begin inside one; ask for a later start, or for a zone with whole hours",
        )
