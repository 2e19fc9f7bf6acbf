"""Answering `/calls/breakdown`: a window by the values of one dimension, and the window before beside it."""

from typing import Any

import msgspec

from aggregator.rollups.levels import MINUTES, Retention
from aggregator.store.reader import OpenedProject, StoreReader
from aggregator.timestamps import format_utc
from api.query.breakdown_question import BreakdownQuestion
from api.query.breakdown_reading import Broken, read_breakdown
from api.query.breakdown_rows import Ranked, rank, rows_of_values, share
from api.query.call_filters import needs_calls
from api.query.retained_window import BeyondRetention, FittedWindow, fit
from api.query.window_refusals import check_calls_are_kept, end_of_time, fitted_window, refusing_what_is_not_kept


async def answer_breakdown(
    reader: StoreReader, project: OpenedProject, question: BreakdownQuestion, now_us: int, retention: Retention
) -> bytes:
    """The JSON of a CallBreakdownRes; raises Refusal, and StateLost."""
    end_us = end_of_time(question.start_us, question.end_us, now_us)
    window = fitted_window(question.start_us, end_us, MINUTES.slot_s, now_us, retention)
    before = _window_before(window, now_us, retention) if question.compare else None
    with refusing_what_is_not_kept():
        if needs_calls(question.filter):
            check_calls_are_kept(window, now_us, retention)
        found = rank(await read_breakdown(reader, project, question, window), question)
        broken = None if before is None else await read_breakdown(reader, project, question, before)
    answer: dict[str, Any] = {
        "start": format_utc(window.start_us),
        "end": format_utc(window.end_us),
        "dimension": question.dimension,
        "order_by": question.order_by,
        "rows": _rows(found, question, broken),
        "rest": found.rest,
        "total": found.total,
    }
    if found.without_model is not None:
        answer["calls_without_model"] = found.without_model
    if question.compare:
        answer["total"]["previous"] = None if broken is None else rows_of_values(broken, [], question)[1]
        answer["previous_start"] = None if before is None else format_utc(before.start_us)
        answer["previous_end"] = None if before is None else format_utc(before.end_us)
    return msgspec.json.encode(answer)


def _rows(found: Ranked, question: BreakdownQuestion, before: Broken | None) -> list[dict[str, Any]]:
    previous: list[Any] = [None] * len(found.rows)
    if before is not None:
        previous, _ = rows_of_values(before, found.values, question)
    return [
        {"value": value, **row, "share": share(row, found.total, question.order_by), "previous": of_before}
        for value, row, of_before in zip(found.values, found.rows, previous, strict=True)
    ]


def _window_before(window: FittedWindow, now_us: int, retention: Retention) -> FittedWindow | None:
    """The window of the same length before this one; None where not all of it is kept."""
    start_us = window.start_us - (window.end_us - window.start_us)
    try:
        fitted = fit(start_us, window.start_us, MINUTES.slot_s, now_us, retention)
    except BeyondRetention:
        return None
    return fitted if (fitted.start_us, fitted.end_us) == (start_us, window.start_us) else None
