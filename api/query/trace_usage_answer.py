"""Answering `/trace/usage`: the calls that a filter selects, and one record for each."""

from collections.abc import AsyncIterator, Iterator

from aggregator.calls.packed_id import unpack_id
from aggregator.layout import keys as layout
from aggregator.reading.calls import Selected, read_calls, select_minutes
from aggregator.reading.postings import exists
from aggregator.reading.rollups import TooMuchToRead
from aggregator.rollups.levels import HOURS, Retention
from aggregator.store.reader import OpenedProject, ProjectShard, StoreReader
from aggregator.time_units import DAY_US, MINUTE_US
from api.query.call_filters import matches_views, needs_calls, select_calls, view_filter
from api.query.questions import TraceUsageQuestion
from api.query.retained_window import calls_reach_us
from api.query.usage_answer import UsageAnswer, UsageOfCalls
from api.refusals import Refusal

# Records that are looked through for those that a filter on ops, users or runs selects: some 5 µs each.
RECORDS_READ_MAX = 200_000
# Records unpacked at a time, some 10 ms: others are answered in between.
RECORDS_PER_READ = 2_000
MINUTES_OF_HOUR = 60
# Calls reported in one answer: some 300 bytes of JSON and 100 of memory each, and more for each model.
CALLS_REPORTED_MAX = 100_000


async def answer_trace_usage(
    reader: StoreReader, project: OpenedProject, question: TraceUsageQuestion, now_us: int, retention: Retention
) -> UsageAnswer:
    """The JSON of a TraceUsageRes. Raises Refusal (413) where the filter selects too many calls, and StateLost."""
    dimensions, limit = view_filter(question.filter), min(question.limit, CALLS_REPORTED_MAX)
    usage = UsageOfCalls(question.include_costs)
    read = 0
    async for selected in _selected(reader, project, question, now_us, retention):
        for part in _parts(selected):
            read += sum(map(len, part.values()))
            if read > RECORDS_READ_MAX + limit:
                raise _too_many(limit, f"more than {RECORDS_READ_MAX:,} calls would have to be looked through")
            for place, call in (await read_calls(reader, part)).items():
                if call.started_us is not None and matches_views(call, dimensions):
                    usage.add(unpack_id(call.packed_id), place, call)
            if len(usage.by_id) > limit:
                raise _too_many(limit)
    return await usage.answer(reader, project)


async def _selected(
    reader: StoreReader, project: OpenedProject, question: TraceUsageQuestion, now_us: int, retention: Retention
) -> AsyncIterator[Selected]:
    """The records that may pass the filter: those that indexes select, else all that are kept, the newest first."""
    # Producers' clocks may be ahead by up to a day, which is an instant that counts.
    start_us, end_us = max(calls_reach_us(now_us, retention), 0), now_us + DAY_US + 1
    try:
        if needs_calls(question.filter):
            yield await select_calls(reader, project, question.filter, start_us, end_us)
            return
        for day in await _days_with_calls(reader, project, range(layout.day_of(start_us), layout.day_of(end_us) + 1)):
            first = day * DAY_US // MINUTE_US
            for hour in reversed(range(HOURS.block_slots)):
                minutes = range(first + hour * MINUTES_OF_HOUR, first + (hour + 1) * MINUTES_OF_HOUR)
                yield await select_minutes(reader, project, minutes)
    except TooMuchToRead as too_much:
        raise Refusal(413, ("body", "filter"), f"{too_much}; ask for fewer.", "too_long") from None


async def _days_with_calls(reader: StoreReader, project: OpenedProject, days: range) -> list[int]:
    there = await reader.fetch(
        [exists(shard, layout.MINUTE, day) for day in reversed(days) for shard in project.shards]
    )
    shards = max(len(project.shards), 1)
    return [day for at, day in enumerate(reversed(days)) if any(there[at * shards : (at + 1) * shards])]


def _parts(selected: Selected) -> Iterator[dict[ProjectShard, set[int]]]:
    for shard, numbers in selected.items():
        ordered = sorted(numbers)
        for at in range(0, len(ordered), RECORDS_PER_READ):
            yield {shard: set(ordered[at : at + RECORDS_PER_READ])}


def _too_many(limit: int, why: str = "") -> Refusal:
    sentence = f"The filter selects more calls than the limit of {limit:,}; ask for fewer."
    return Refusal(413, ("body", "filter"), f"{why}: narrow the filter." if why else sentence, "too_long")
