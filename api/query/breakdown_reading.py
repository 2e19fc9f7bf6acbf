"""What a breakdown's rows are made of: rollups of its window by value, or single calls where nothing else can tell."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import pairwise
from typing import NamedTuple

from aggregator.calls.call import Call
from aggregator.reading.calls import Selected, calls_in_pieces, select_minutes
from aggregator.reading.rollups import Slots
from aggregator.reading.value_rollups import TOTAL, ValueRollups
from aggregator.rollups.accumulator import Merged
from aggregator.rollups.facets import count_facets, error_facet_of
from aggregator.rollups.regrouping import add_rest, move_buckets, move_usage
from aggregator.rollups.series import OF_USAGE, model_of, tree_series
from aggregator.rollups.tally import CallTally, tally_of
from aggregator.rollups.view_values import MORE, DimensionValue, may_lack_value, value_of_facet
from aggregator.store.reader import StoreReader
from aggregator.time_units import DAY_US
from api.query.breakdown_parts import BreakdownSource, read_parts, summed
from api.query.breakdown_question import BY_ERROR, BY_MODEL, BY_ROOT, VIEW_DIMENSIONS, BreakdownQuestion
from api.query.call_filters import matches_views, needs_calls, select_calls, view_filter
from api.query.read_plan import Cover, cover
from api.query.retained_window import FittedWindow, Reach, are_nested

# Calls of a longer window are expensive to look up one by one.
CHEAP_CALLS_US_MAX = DAY_US


class Broken(NamedTuple):
    """A window by value, over all models: the bucket of a value is its position in `values`, the last one's all calls.

    Of the bucket `of_no_value`, calls without a value, minima, maxima and percentiles are not known; None: no such row.
    `without_model`: calls that belong to no model, where values are models.
    """

    values: list[DimensionValue]
    merged: Merged
    of_no_value: int | None
    without_model: int | None = None

    @property
    def total(self) -> int:
        """The bucket of all calls that the filter lets through."""
        return len(self.values)


async def read_breakdowns(
    source: BreakdownSource, question: BreakdownQuestion, windows: Sequence[FittedWindow], reach: Reach
) -> list[Broken]:
    """Read windows by value: such as end together at once. Raises NotKept, TooMuchToRead and StateLost."""
    if len(windows) > 1 and (needs_calls(question.filter) or not are_nested(windows, reach)):
        return [(await read_breakdowns(source, question, [window], reach))[0] for window in windows]
    if needs_calls(question.filter):
        reads = [await _read_calls(source, question, windows[0])]
    else:
        reads = await _read_nested(source, question, windows)
    await source.reader.fetch_of(source.project, [])
    return [_broken(read, question) for read in reads]


def _broken(read: ValueRollups, question: BreakdownQuestion) -> Broken:
    if question.dimension == BY_MODEL:
        return _by_model(read)
    return _by_error(read) if question.dimension == BY_ERROR else _by_value(read, question)


async def _read_calls(source: BreakdownSource, question: BreakdownQuestion, window: FittedWindow) -> ValueRollups:
    """Return what single calls that pass a filter come to, which no view tells."""
    read = ValueRollups([], Merged(1, question.filter.trace_roots_only))
    if window.start_us < window.end_us:
        reader, project = source.reader, source.project
        async with source.turns.turn() if window.end_us - window.start_us > CHEAP_CALLS_US_MAX else nullcontext():
            selected = await select_calls(reader, project, question.filter, window.start_us, window.end_us)
            read = await _with_calls(reader, selected, question, window, read)
    return read


async def _read_nested(
    source: BreakdownSource, question: BreakdownQuestion, windows: Sequence[FittedWindow]
) -> list[ValueRollups]:
    """Read windows that end together: what lies between their starts once, and added up."""
    starts_us = sorted({window.start_us for window in windows})
    whole = windows[0]
    stretches = [whole._replace(start_us=begin, end_us=until) for begin, until in pairwise([*starts_us, whole.end_us])]
    covers = [cover(one.start_us, one.end_us) for one in stretches]
    reads = await read_parts(source, question, [list(parts_of(one)) for one in covers])
    for at, (stretch, covered) in enumerate(zip(stretches, covers, strict=True)):
        if covered.cut_minutes:
            selected = await select_minutes(source.reader, source.project, covered.cut_minutes)
            own = summed([reads[at]], question)  # what is kept stays as it is
            reads[at] = await _with_calls(source.reader, selected, question, stretch, own)
    for at in range(len(reads) - 2, -1, -1):
        reads[at] = summed(reads[at : at + 2], question)
    found = dict(zip(starts_us, reads, strict=True))
    return [found[window.start_us] for window in windows]


def parts_of(covered: Cover) -> Iterator[Slots]:
    """The slots of a cover, a block's last one by itself: it is what changes, where the others are over."""
    for block, within in covered.slots:
        if len(within) > 1:
            yield Slots(block, within[:-1])
        yield Slots(block, within[-1:])


async def _with_calls(
    reader: StoreReader, selected: Selected, question: BreakdownQuestion, window: FittedWindow, read: ValueRollups
) -> ValueRollups:
    """Count those of the selected calls too that are in the window and pass the filter."""
    wanted = view_filter(question.filter)
    merged, buckets = read.merged, {value: 1 + at for at, value in enumerate(read.values)}
    async for some in calls_in_pieces(reader, selected):
        inside = [
            call
            for call in some.values()
            if call.started_us is not None
            and window.start_us <= call.started_us < window.end_us
            and matches_views(call, wanted)
        ]
        merged.add_calls(TOTAL, tally_of(inside))
        for value, tally in _tallies(inside, question.dimension).items():
            bucket = buckets.setdefault(value, 1 + len(buckets))
            merged.widen(1 + len(buckets))
            merged.add_calls(bucket, tally)
    return ValueRollups(list(buckets), merged)


def _tallies(calls: Iterable[Call], dimension: str) -> dict[DimensionValue, CallTally]:
    """Return what views would count of these calls, by value."""
    if dimension in (BY_MODEL, BY_ERROR):
        facets: dict[str, CallTally] = {}
        for call in calls:
            if call.is_ended:
                count_facets(call, lambda facet: facets.setdefault(facet, CallTally()))
                error = error_facet_of(call)
                if error is not None and call.is_root:
                    facets[error].tree_rows.replace(tree_series, {}, call.tree_usage())
        wanted = VIEW_DIMENSIONS[dimension]
        return {
            value: tally
            for facet, tally in facets.items()
            for of_dimension, value in [value_of_facet(facet)]
            if of_dimension == wanted
        }
    by_value: dict[DimensionValue, list[Call]] = {}
    for call in calls:
        by_value.setdefault(_value(call, dimension), []).append(call)
    return {
        value: tally_of(of_value) for value, of_value in by_value.items() if value is not None and value is not False
    }


def _value(call: Call, dimension: str) -> DimensionValue:
    values: Mapping[str, DimensionValue] = {
        "op_name": call.op_name,
        "wb_user_id": call.user_id,
        "wb_run_id": call.run_id,
        BY_ROOT: call.parent is None,
    }
    return values[dimension]


def _by_value(read: ValueRollups, question: BreakdownQuestion) -> Broken:
    """Values that have calls, those without a value as one more, and the total."""
    dimension = VIEW_DIMENSIONS[question.dimension]
    calls = read.merged.calls
    positions = [at for at in range(len(read.values)) if calls[1 + at]]
    values = [read.values[at] for at in positions]
    of_no_value = None
    if may_lack_value(view_filter(question.filter), dimension) and 2 * calls[TOTAL] != sum(calls):
        of_no_value = len(values)
        values.append(False if question.dimension == BY_ROOT else None)
    merged = Merged(len(values) + 1)
    move_buckets(read.merged, {1 + at: target for target, at in enumerate(positions)} | {TOTAL: len(values)}, merged)
    if of_no_value is not None:
        add_rest(read.merged, TOTAL, merged, of_no_value)
    return Broken(values, merged, of_no_value)


def _by_model(read: ValueRollups) -> Broken:
    """Models with their usage, which is in the total, and with their calls, which are counted apart."""
    total, calls = read.merged, read.merged.calls
    used = {model_of(name): name for bucket, name in total.totals(OF_USAGE).keys if bucket == TOTAL}
    called = {value: 1 + at for at, value in enumerate(read.values) if isinstance(value, str) and calls[1 + at]}
    values: list[DimensionValue] = [*sorted({*used, *called})]
    places = {value: at for at, value in enumerate(values)}
    merged = Merged(len(values) + 1)
    move_usage(total, TOTAL, {name: places[model] for model, name in used.items()}, merged)
    move_buckets(total, {bucket: places[value] for value, bucket in called.items()} | {TOTAL: len(values)}, merged)
    more = sum(calls[1 + at] for at, value in enumerate(read.values) if value is MORE)
    return Broken(values, merged, None, calls[TOTAL] - sum(merged.calls[:-1]) + more)


def _by_error(read: ValueRollups) -> Broken:
    """Classes of errors, and failed calls that name none; all of them are the total."""
    positions = [at for at in range(len(read.values)) if read.merged.calls[1 + at]]
    merged = Merged(len(positions) + 1)
    move_buckets(read.merged, {1 + at: target for target, at in enumerate(positions)}, merged)
    move_buckets(read.merged, dict.fromkeys((1 + at for at in positions), len(positions)), merged)
    return Broken([read.values[at] or None for at in positions], merged, None)
