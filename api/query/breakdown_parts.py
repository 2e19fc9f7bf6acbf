"""The parts of breakdowns: a few slots by value each, kept for as long as none of them has changed.

A rule that is looked at each second, or a page that stays open, asks for nearly the same windows again: of a day only
the last minutes have changed, and only these are read. Windows that end together have most of their parts in common.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from aggregator.reading.rollups import LevelBlock, Slots
from aggregator.reading.slot_versions import Versions, fingerprint, read_versions
from aggregator.reading.value_rollups import TOTAL, SlotsOfBlocks, ValueRollups, read_value_rollups
from aggregator.rollups.accumulator import Merged
from aggregator.rollups.call_columns import ValuesWanted
from aggregator.rollups.view_values import DimensionValue
from aggregator.store.reader import OpenedProject, StoreReader
from aggregator.time_units import DAY_S
from api.query.breakdown_question import VIEW_DIMENSIONS, BreakdownQuestion
from api.query.call_filters import view_filter
from api.query.fact_reading import Facts
from api.query.fact_values import count_values
from api.query.kept_by_version import KeptByVersion
from api.query.read_cost import CHEAP_CALLS_MAX
from api.query.turns import Turn, Turns

# A part of twenty ops in a day takes some 20 KB.
KEPT_BYTES_MAX = 64 * 2**20
# One that takes more is read again, lest it drives out all others: percentiles of a day with many values.
PART_BYTES_MAX = 4 * 2**20
# So few are read at once each time: looking for what is kept costs as much.
SLOTS_WITHOUT_KEEPING_MAX = 12
# What is read of more time than this is expensive, and takes a turn.
CHEAP_SPAN_S_MAX = DAY_S
# Batches are stored some times a second: four times in a row one hardly ever lands while a few slots are read.
READS_MAX = 4


class PartKey(NamedTuple):
    """What tells a part apart: a digest of what is asked, and its slots."""

    asked: bytes
    block: LevelBlock
    first: int
    until: int


class KeptParts(KeptByVersion[PartKey, ValueRollups]):
    """The parts used last."""

    def __init__(self, bytes_max: int = KEPT_BYTES_MAX) -> None:
        super().__init__(bytes_max)


class BreakdownSource(NamedTuple):
    """What breakdowns are read from: the store, what is kept of it, and the turns that expensive ones take."""

    reader: StoreReader
    project: OpenedProject
    kept: KeptParts
    turns: Turns
    facts: Facts


class _Read(NamedTuple):
    fingerprint: bytes
    rollups: ValueRollups


async def read_parts(
    source: BreakdownSource, question: BreakdownQuestion, windows: Sequence[Sequence[Slots]]
) -> list[ValueRollups]:
    """The rollups of each window's slots, of which no two windows have any in common, all of one instant: what has
    changed while it was read is read again, unless that is expensive or it changes again and again.

    Raises NotKept where calls do not reach as far back as a day of which not all views are kept; TooMuchToRead and
    StateLost.
    """
    parts = [slots for window in windows for slots in window]
    if sum(len(slots.within) for slots in parts) <= SLOTS_WITHOUT_KEEPING_MAX:
        async with source.turns.turn(at_once=False) as turn:
            return await _rollups(source, question, [_by_block(window) for window in windows], turn)
    asked = _digest(question)
    keys = {slots: PartKey(asked, slots.block, slots.within.start, slots.within.stop) for slots in parts}
    read: dict[Slots, _Read] = {}
    versions = await _versions(source, parts)
    for attempt in range(READS_MAX):
        fresh: list[Slots] = []
        for slots in parts:
            now = fingerprint([slots], versions)
            if slots in read and read[slots].fingerprint == now:
                continue
            kept = source.kept.find(keys[slots], now)
            if kept is not None:
                read[slots] = _Read(now, kept)
            else:
                fresh.append(slots)
        is_costly = sum(len(slots.within) * slots.block.level.slot_s for slots in fresh) > CHEAP_SPAN_S_MAX
        if not fresh or (attempt and (is_costly or source.facts.budget.looked_at > CHEAP_CALLS_MAX)):
            break
        async with source.turns.turn(is_costly) as turn:
            found = await _rollups(source, question, [_by_block([slots]) for slots in fresh], turn)
        before, versions = versions, await _versions(source, parts)
        for slots, rollups in zip(fresh, found, strict=True):
            was = fingerprint([slots], before)
            read[slots] = _Read(was, rollups)
            size_bytes = rollups.merged.kept_bytes + len(was)
            if was == fingerprint([slots], versions) and size_bytes <= PART_BYTES_MAX:
                source.kept.put(keys[slots], was, rollups, size_bytes)
    return [together([read[slots].rollups for slots in window], question) for window in windows]


def together(parts: Sequence[ValueRollups], question: BreakdownQuestion) -> ValueRollups:
    """Return what some parts add up to; they stay as they are, and a single one is itself what is returned."""
    return parts[0] if len(parts) == 1 else summed(parts, question)


def summed(parts: Sequence[ValueRollups], question: BreakdownQuestion) -> ValueRollups:
    """Return what some parts add up to, none of them touched by what comes to it later."""
    buckets: dict[tuple[type, DimensionValue], int] = {}
    values: list[DimensionValue] = []
    for part in parts:
        for value in part.values:
            if (type(value), value) not in buckets:
                values.append(value)
                buckets[type(value), value] = len(values)
    merged = Merged(1 + len(values), question.filter.trace_roots_only)
    for part in parts:
        targets = {1 + at: buckets[type(value), value] for at, value in enumerate(part.values)}
        merged.add_merged(part.merged, targets | {TOTAL: TOTAL})
    return ValueRollups(values, merged)


async def _rollups(
    source: BreakdownSource, question: BreakdownQuestion, parts: Sequence[SlotsOfBlocks], turn: Turn
) -> list[ValueRollups]:
    wanted, dimension = view_filter(question.filter), VIEW_DIMENSIONS[question.dimension]
    values = _values_wanted(question)
    found, left = await read_value_rollups(source.reader, source.project, parts, wanted, dimension, *values, turn.next)
    if left:
        for at, part in enumerate(parts):
            found[at] = await count_values(source.facts, part, left, wanted, dimension, found[at], values, turn.next)
    return found


def _values_wanted(question: BreakdownQuestion) -> ValuesWanted:
    """Whether percentiles of latency, and of usage, are asked."""
    return ValuesWanted(
        any(metric.metric == "latency_ms" and metric.percentiles for metric in question.call_metrics),
        any(metric.percentiles for metric in question.usage_metrics),
    )


def _digest(question: BreakdownQuestion) -> bytes:
    """Return what of a question says what its parts hold; a filter may be a megabyte, and stays as long as they do."""
    asked = (question.project_id, question.dimension, question.filter, _values_wanted(question))
    return blake2b(msgspec.msgpack.encode(asked), digest_size=32).digest()


async def _versions(source: BreakdownSource, parts: Sequence[Slots]) -> Versions:
    return await read_versions(source.reader, source.project, (slots.block for slots in parts))


def _by_block(window: Sequence[Slots]) -> Mapping[LevelBlock, list[int]]:
    found: dict[LevelBlock, list[int]] = {}
    for block, within in window:
        found.setdefault(block, []).extend(within)
    return found
