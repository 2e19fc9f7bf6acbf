"""What a breakdown's rows are made of: rollups of its window by value, or single calls where nothing else can tell."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from aggregator.calls.call import Call
from aggregator.reading.calls import Selected, read_calls, select_minutes
from aggregator.reading.rollups import LevelBlock
from aggregator.reading.value_rollups import TOTAL, read_value_rollups
from aggregator.rollups.accumulator import Merged
from aggregator.rollups.regrouping import add_rest, move_buckets, move_models
from aggregator.rollups.series import OF_USAGE, model_of
from aggregator.rollups.tally import tally_of
from aggregator.rollups.view_values import DimensionValue, may_lack_value
from aggregator.store.reader import OpenedProject, StoreReader
from api.query.breakdown_question import MODEL, VIEW_DIMENSIONS, BreakdownQuestion
from api.query.bucket_reading import matches_views, needs_calls, select_calls, view_filter
from api.query.read_plan import Cover, cover
from api.query.retained_window import Fitted


class Broken(NamedTuple):
    """A window by value, over all models: the bucket of a value is its position in `values`, the last one's all calls.

    Of the bucket `of_no_value`, calls without a value, minima, maxima and percentiles are not known; None: no such row.
    """

    values: list[DimensionValue]
    merged: Merged
    of_no_value: int | None

    @property
    def total(self) -> int:
        """The bucket of all calls that the filter lets through."""
        return len(self.values)


async def read_breakdown(
    reader: StoreReader, project: OpenedProject, question: BreakdownQuestion, window: Fitted
) -> Broken:
    """Read a window by value. Raises NotKept, TooMuchToRead and StateLost."""
    if needs_calls(question.filter):
        read = _Read([], Merged(1, question.filter.trace_roots_only))
        if window.start_us < window.end_us:
            selected = await select_calls(reader, project, question.filter, window.start_us, window.end_us)
            read = await _with_calls(reader, selected, question, window, read)
    else:
        covered = cover(window.start_us, window.end_us)
        read = await _read_slots(reader, project, question, covered)
        if covered.cut_minutes:
            selected = await select_minutes(reader, project, covered.cut_minutes)
            read = await _with_calls(reader, selected, question, window, read)
    await reader.fetch_of(project, [])
    return _by_model(read.merged) if question.dimension == MODEL else _by_value(read, question)


class _Read(NamedTuple):
    """As ValueRollups: the total's bucket comes first."""

    values: list[DimensionValue]
    merged: Merged


async def _read_slots(
    reader: StoreReader, project: OpenedProject, question: BreakdownQuestion, covered: Cover
) -> _Read:
    slots: dict[LevelBlock, list[int]] = {}
    for block, within in covered.slots:
        slots.setdefault(block, []).extend(within)
    values, merged = await read_value_rollups(
        reader,
        project,
        slots,
        view_filter(question.filter),
        VIEW_DIMENSIONS.get(question.dimension, 0),
        any(metric.metric == "latency_ms" and metric.percentiles for metric in question.call_metrics),
        any(metric.percentiles for metric in question.usage_metrics),
    )
    return _Read(list(values), merged)


async def _with_calls(
    reader: StoreReader, selected: Selected, question: BreakdownQuestion, window: Fitted, read: _Read
) -> _Read:
    """Count those of the selected calls too that are in the window and pass the filter."""
    wanted = view_filter(question.filter)
    by_value: dict[DimensionValue, list[Call]] = {}
    for call in (await read_calls(reader, selected)).values():
        if (
            call.started_us is not None
            and window.start_us <= call.started_us < window.end_us
            and matches_views(call, wanted)
        ):
            by_value.setdefault(_value(call, question.dimension), []).append(call)
    values = list(dict.fromkeys([*read.values, *(value for value in by_value if _is_value(value))]))
    merged = read.merged
    merged.widen(1 + len(values))
    buckets = {value: 1 + at for at, value in enumerate(values)}
    for value, calls in by_value.items():
        tally = tally_of(calls)
        merged.add_calls(TOTAL, tally)
        if value in buckets:
            merged.add_calls(buckets[value], tally)
    return _Read(values, merged)


def _is_value(value: DimensionValue) -> bool:
    return value is not None and value is not False


def _value(call: Call, dimension: str) -> DimensionValue:
    values: Mapping[str, DimensionValue] = {
        "op_name": call.op_name,
        "wb_user_id": call.user_id,
        "wb_run_id": call.run_id,
        "trace_root": call.parent is None,
        MODEL: None,
    }
    return values[dimension]


def _by_value(read: _Read, question: BreakdownQuestion) -> Broken:
    """Values that have calls, those without a value as one more, and the total."""
    dimension = VIEW_DIMENSIONS[question.dimension]
    calls = read.merged.calls
    positions = [at for at in range(len(read.values)) if calls[1 + at]]
    values = [read.values[at] for at in positions]
    of_no_value = None
    if may_lack_value(view_filter(question.filter), dimension) and 2 * calls[TOTAL] != sum(calls):
        of_no_value = len(values)
        values.append(False if question.dimension == "trace_root" else None)
    merged = Merged(len(values) + 1)
    move_buckets(read.merged, {1 + at: target for target, at in enumerate(positions)} | {TOTAL: len(values)}, merged)
    if of_no_value is not None:
        add_rest(read.merged, TOTAL, merged, of_no_value)
    return Broken(values, merged, of_no_value)


def _by_model(total: Merged) -> Broken:
    names: Iterable[bytes] = sorted({name for _, name in total.totals(OF_USAGE).keys})
    targets = {name: at for at, name in enumerate(names)}
    merged = Merged(len(targets) + 1)
    move_models(total, TOTAL, targets, merged)
    move_buckets(total, {TOTAL: len(targets)}, merged)
    return Broken([model_of(name) for name in targets], merged, None)
