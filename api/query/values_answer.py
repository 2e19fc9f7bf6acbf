"""Answering `/calls/values`: the values of one dimension that a window's calls have, by how many calls have them."""

from dataclasses import dataclass

import msgspec

from aggregator.rollups.levels import MINUTES, Retention
from aggregator.timestamps import format_utc
from api.query.breakdown_parts import BreakdownSource
from api.query.breakdown_question import BreakdownQuestion
from api.query.breakdown_reading import read_breakdowns
from api.query.questions import CallFilter
from api.query.retained_window import reach_of
from api.query.window_refusals import end_of_time, fitted_window, refusing_what_is_not_kept


@dataclass(frozen=True, slots=True)
class ValuesQuestion:
    """Which values of `dimension` that begin with `prefix` the calls with `start_us <= started_at < end_us` have."""

    project_id: str
    start_us: int
    end_us: int
    dimension: str
    prefix: str
    limit: int


async def answer_values(source: BreakdownSource, question: ValuesQuestion, now_us: int, retention: Retention) -> bytes:
    """The JSON of a CallValuesRes; raises Refusal, and StateLost."""
    end_us = end_of_time(question.start_us, question.end_us, now_us)
    window = fitted_window(question.start_us, end_us, MINUTES.slot_s, now_us, retention)
    with refusing_what_is_not_kept():
        reach = reach_of(now_us, retention)
        [broken] = await read_breakdowns(source, _counted_by(question), [window], reach)
    found = [
        (-calls, value)
        for value, calls in zip(broken.values, broken.merged.calls, strict=False)
        if isinstance(value, str) and value.startswith(question.prefix)
    ]
    found.sort()
    return msgspec.json.encode(
        {
            "start": format_utc(window.start_us),
            "end": format_utc(window.end_us),
            "dimension": question.dimension,
            "values": [{"value": value, "count": -calls} for calls, value in found[: question.limit]],
            "more": len(found) > question.limit,
        }
    )


def _counted_by(question: ValuesQuestion) -> BreakdownQuestion:
    """The breakdown that has all values, and nothing but how many calls have them."""
    return BreakdownQuestion(
        project_id=question.project_id,
        start_us=question.start_us,
        end_us=question.end_us,
        dimension=question.dimension,
        call_metrics=(),
        usage_metrics=(),
        filter=CallFilter(),
        order_by="count",
        is_descending=True,
        limit=question.limit,
        compare=False,
    )
