"""Answering `/calls/breakdown`: a window by the values of one dimension, and the window before beside it."""

from typing import Any

import msgspec

from aggregator.rollups.levels import MINUTES, Retention
from aggregator.timestamps import format_utc
from api.query.breakdown_parts import BreakdownSource
from api.query.breakdown_question import BreakdownQuestion
from api.query.breakdown_reading import Broken, read_breakdowns
from api.query.breakdown_rows import Ranked, rank, rows_of_values, share
from api.query.call_filters import needs_calls
from api.query.retained_window import BeyondRetention, FittedWindow, fit, reach_of
from api.query.window_refusals import check_calls_are_kept, end_of_time, fitted_window, refusing_what_is_not_kept


async def answer_breakdown(
    source: BreakdownSource, question: BreakdownQuestion, now_us: int, retention: Retention
) -> bytes:
    """The JSON of a CallBreakdownRes; raises Refusal, and StateLost."""
    end_us = end_of_time(question.start_us, question.end_us, now_us)
    windows = [
        fitted_window(min(start_us, end_us), end_us, MINUTES.slot_s, now_us, retention)
        for start_us in (question.start_us, *question.more_starts_us)
    ]
    window, reach = windows[0], reach_of(now_us, retention)
    before = _window_before(window, now_us, retention) if question.compare else None
    with refusing_what_is_not_kept():
        if needs_calls(question.filter):
            check_calls_are_kept(window, now_us, retention)
        found = [rank(one, question) for one in await read_breakdowns(source, question, windows, reach)]
        broken = None if before is None else (await read_breakdowns(source, question, [before], reach))[0]
    answer = _of_window(window, found[0], question, broken)
    answer |= {"dimension": question.dimension, "order_by": question.order_by}
    if question.compare:
        answer["total"]["previous"] = None if broken is None else rows_of_values(broken, [], question)[1]
        answer["previous_start"] = None if before is None else format_utc(before.start_us)
        answer["previous_end"] = None if before is None else format_utc(before.end_us)
    if question.more_starts_us:
        answer["windows"] = [
            _of_window(one, ranked, question, None) for one, ranked in zip(windows[1:], found[1:], strict=True)
        ]
    return msgspec.json.encode(answer)


def _of_window(
    window: FittedWindow, found: Ranked, question: BreakdownQuestion, before: Broken | None
) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "start": format_utc(window.start_us),
        "end": format_utc(window.end_us),
        "rows": _rows(found, question, before),
        "rest": found.rest,
        "total": found.total,
    }
    if found.without_model is not None:
        answer["calls_without_model"] = found.without_model
    return answer


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
