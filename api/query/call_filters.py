"""What a filter asks: of the dimensions that views have, and of the ids, refs and links that only call records tell."""

from aggregator.calls.call import Call
from aggregator.layout import keys as layout
from aggregator.reading.calls import IndexValues, Selected, select_by_index, select_ids
from aggregator.rollups.views import ViewFilter
from aggregator.store.reader import OpenedProject, StoreReader
from api.query.questions import CallFilter


def needs_calls(asked: CallFilter) -> bool:
    """Whether a filter can be answered only from call records."""
    return asked.call_ids is not None or bool(_indexes(asked))


def view_filter(asked: CallFilter) -> ViewFilter:
    """Return what a filter asks of the dimensions that views have."""
    return ViewFilter(asked.op_names, asked.trace_roots_only, asked.wb_user_ids, asked.wb_run_ids)


def matches_views(call: Call, dimensions: ViewFilter) -> bool:
    """Whether a call has the values that are asked of its dimensions."""
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


async def select_calls(
    reader: StoreReader, project: OpenedProject, asked: CallFilter, start_us: int, end_us: int
) -> Selected:
    """The records of the days of a window that every filter on ids and refs selects."""
    days = range(layout.day_of(start_us), layout.day_of(end_us - 1) + 1)
    found: list[Selected] = []
    if asked.call_ids is not None:
        found.append(await select_ids(reader, project, asked.call_ids))
    for wanted in _indexes(asked):
        found.append(await select_by_index(reader, project, wanted, days))
    return {shard: set.intersection(*(one.get(shard, set()) for one in found)) for shard in found[0]}
