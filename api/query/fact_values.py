"""Counting the calls of slots one by one, as columns, by the values of a dimension."""

from collections.abc import Mapping, Sequence

from aggregator.reading.facts import GiveWay
from aggregator.reading.rollups import LevelBlock, ShardDay, TooMuchToRead
from aggregator.reading.value_rollups import TOTAL, VALUES_READ_MAX, ValueRollups
from aggregator.rollups.call_columns import NO_BUCKET, CallColumns, ValuesWanted, count_columns
from aggregator.rollups.column_values import count_by_value
from aggregator.rollups.totals import Integers
from aggregator.rollups.view import MODEL
from aggregator.rollups.view_values import DimensionValue
from aggregator.rollups.views import ViewFilter
from api.query.fact_reading import Facts, count_spans, spans_of


async def count_values(
    facts: Facts,
    slots: Mapping[LevelBlock, Sequence[int]],
    left: Sequence[ShardDay],
    views: ViewFilter,
    dimension: int,
    into: ValueRollups,
    values: ValuesWanted,
    give_way: GiveWay,
) -> ValueRollups:
    """Return what was counted, and beside it the calls of slots on these days; what is kept of it is changed.

    Raises what `count_spans` raises.
    """
    counting = _Counting(into, dimension, values)
    spans = spans_of({block: dict.fromkeys(within, TOTAL) for block, within in slots.items()}, left)
    await count_spans(
        facts, spans, views, into.merged, values, True, give_way, counting.count, with_models=dimension == MODEL
    )
    return ValueRollups(list(counting.buckets), into.merged)


class _Counting:
    """Counts calls in the total and in the buckets of their values, of which there get more."""

    def __init__(self, into: ValueRollups, dimension: int, values: ValuesWanted) -> None:
        self.buckets = {value: 1 + at for at, value in enumerate(into.values)}
        self._merged = into.merged
        self._dimension = dimension
        self._values = values

    def count(self, columns: CallColumns, of_calls: Integers) -> None:
        """Count those calls that are in the total's bucket."""
        count_columns(columns, of_calls, self._merged, self._values)
        if (of_calls != NO_BUCKET).any():
            count_by_value(columns, of_calls, self._dimension, self._bucket_of, self._merged, self._values)

    def _bucket_of(self, value: DimensionValue) -> int:
        bucket = self.buckets.setdefault(value, 1 + len(self.buckets))
        if bucket == len(self.buckets):
            if bucket > VALUES_READ_MAX:
                raise TooMuchToRead(f"the window has more than {VALUES_READ_MAX:,} values")
            self._merged.widen(1 + bucket)
        return bucket
