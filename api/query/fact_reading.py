"""Counting the calls of slots one by one, as columns, where no views tell those of a filter apart."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from aggregator.reading.facts import CallBudget, GiveWay, count_facts
from aggregator.reading.rollups import ShardDay, Wanted
from aggregator.rollups.accumulator import Merged
from aggregator.rollups.call_columns import NO_BUCKET, CallColumns, ValuesWanted, count_columns
from aggregator.rollups.levels import Retention
from aggregator.rollups.totals import Integers
from aggregator.rollups.views import NotKept, ViewFilter
from aggregator.segments.call_selection import WantedCalls
from aggregator.store.reader import ProjectShard, StoreReader


class Facts(NamedTuple):
    """Where calls are counted from: how far back they reach (microseconds since 1970), and how many may be."""

    reader: StoreReader
    reach_us: int
    budget: CallBudget


def facts_of(reader: StoreReader, now_us: int, retention: Retention) -> Facts:
    """The calls that are kept, for one answer."""
    return Facts(reader, retention.calls_reach_us(now_us), CallBudget())


class Span(NamedTuple):
    """A part of a window, and the bucket that its calls belong to."""

    start_us: int
    end_us: int
    bucket: int


def spans_of(slots: Wanted, left: Iterable[ShardDay]) -> dict[ProjectShard, list[Span]]:
    """The slots of some days as spans, by shard, in order."""
    days: dict[ProjectShard, set[int]] = defaultdict(set)
    for shard, day in left:
        days[shard].add(day)
    return {
        shard: sorted(
            Span(start_us, start_us + block.level.slot_us, bucket)
            for block, within in slots.items()
            if block.day in of_shard
            for slot, bucket in within.items()
            for start_us in [(block.number * block.level.block_slots + slot) * block.level.slot_us]
        )
        for shard, of_shard in days.items()
    }


async def count_spans(
    facts: Facts,
    spans: dict[ProjectShard, list[Span]],
    views: ViewFilter,
    into: Merged,
    values: ValuesWanted,
    with_usage: bool,
    give_way: GiveWay,
    count: Callable[[CallColumns, Integers], None] | None = None,
    with_models: bool = False,
) -> None:
    """Count the calls of a filter in the buckets of their spans, or let `count` do it, in a thread, of columns with the
    models that they belong to if so wanted.

    Raises NotKept where calls do not reach so far back, TooMuchToRead, StateLost, and DamagedCalls.
    """
    spans = {shard: of_shard for shard, of_shard in spans.items() if of_shard}
    if any(of_shard[0].start_us < facts.reach_us for of_shard in spans.values()):
        raise NotKept(facts.reach_us)
    for shard, of_shard in spans.items():
        counting = _Counting(of_shard, count or partial(count_columns, into=into, values=values), into)
        wanted = WantedCalls(shard.project, 0, 0, views, with_usage, into.trees, with_models)
        await count_facts(facts.reader, shard, _windows(of_shard), wanted, counting.add, facts.budget, give_way)


class _Counting:
    """Counts calls in the buckets of their spans, and keeps what they add up to small."""

    def __init__(self, spans: Sequence[Span], count: Callable[[CallColumns, Integers], None], into: Merged) -> None:
        self._starts_us, self._ends_us, self._buckets = np.array(spans, dtype=np.int64).T
        self._count = count
        self._into = into

    def add(self, columns: CallColumns) -> None:
        at = np.searchsorted(self._starts_us, columns.started_us, side="right") - 1
        is_in = (at >= 0) & (columns.started_us < self._ends_us[at])
        self._count(columns, np.where(is_in, self._buckets[at], NO_BUCKET))
        self._into.compact()


def _windows(spans: Sequence[Span]) -> list[tuple[int, int]]:
    """Spans without buckets, those that meet as one."""
    found: list[tuple[int, int]] = []
    for start_us, end_us, _ in spans:
        if found and found[-1][1] == start_us:
            found[-1] = (found[-1][0], end_us)
        else:
            found.append((start_us, end_us))
    return found
