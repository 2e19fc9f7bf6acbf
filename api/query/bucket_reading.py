"""The rows of an answer's buckets: as kept, from rollups, and from single calls where nothing else can tell."""

import asyncio
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from hashlib import blake2b
from itertools import chain
from typing import NamedTuple

import msgspec

from aggregator.calls.call import Call
from aggregator.reading.calls import (
    Selected,
    calls_in_pieces,
    select_minutes,
)
from aggregator.reading.rollups import LevelBlock, Slots, read_rollups
from aggregator.reading.slot_versions import Versions, all_began_before, fingerprints, read_versions
from aggregator.rollups.accumulator import Merged
from aggregator.rollups.call_columns import ValuesWanted
from aggregator.rollups.tally import tally_of
from aggregator.rollups.views import NotKept
from aggregator.store.reader import OpenedProject, StoreReader
from aggregator.time_units import MINUTE_US
from api.query.bucket_cache import BucketKey, BucketRows, KeptBuckets
from api.query.call_filters import matches_views, select_calls, view_filter
from api.query.fact_reading import Facts, count_spans, spans_of
from api.query.questions import StatsQuestion
from api.query.read_cost import CHEAP_CALLS_MAX, CHEAP_COST_MAX, read_cost, stretches
from api.query.read_plan import Cover, cover, plan_reads
from api.query.rows import series_needed
from api.query.rows_json import AnswerSize, keys_of, make_rows
from api.query.turns import Turn, Turns

# Rows of more than this are made aside: some milliseconds of work. A value counts as so many bytes of rollups.
ASIDE_BYTES_MIN = 50_000
VALUE_BYTES = 100
# Calls read in one turn: some 50 ms.
CALLS_IN_A_TURN_MAX = 10_000
# Batches are stored some times a second, a cheap answer takes milliseconds: four times in a row one hardly ever lands.
READS_MAX = 4


class Buckets(NamedTuple):
    """The buckets of a question: their timestamps, and where each begins and ends (microseconds since 1970)."""

    question: StatsQuestion
    timestamps: Sequence[str]
    edges_us: Sequence[tuple[int, int]]

    def only(self, positions: Sequence[int]) -> "Buckets":
        """Some of them."""
        timestamps, edges_us = self.timestamps, self.edges_us
        return Buckets(self.question, [timestamps[at] for at in positions], [edges_us[at] for at in positions])


class Source(NamedTuple):
    """What answers are read from, and the turns that expensive ones take."""

    reader: StoreReader
    project: OpenedProject
    turns: Turns
    facts: Facts


async def rows_of_calls(source: Source, buckets: Buckets, size: AnswerSize) -> list[BucketRows]:
    """The rows of buckets whose calls are looked up one by one. Raises TooMuchToRead, StateLost, and Refusal."""
    merged = Merged(len(buckets.edges_us), buckets.question.filter.trace_roots_only)
    if buckets.edges_us:
        selected = await select_calls(
            source.reader, source.project, buckets.question.filter, buckets.edges_us[0][0], buckets.edges_us[-1][1]
        )
        is_costly = sum(map(len, selected.values())) > CHEAP_CALLS_MAX
        for part in _parts(selected):
            async with source.turns.turn() if is_costly else nullcontext():
                await _add_calls(source.reader, part, buckets, merged)
        await source.reader.fetch_of(source.project, [])
    rows = await _make_rows(source, buckets, merged, size)
    size.add(rows)
    return rows


async def rows_of_rollups(
    source: Source, kept: KeptBuckets, buckets: Buckets, minutes_reach_us: int, size: AnswerSize
) -> list[BucketRows]:
    """Return the rows of buckets as they were kept where nothing has changed, the others anew.

    A batch may give to one bucket what it takes from another, so what has changed meanwhile is read again: all rows are
    of one instant, unless that is costly or they change again and again. Minutes before `minutes_reach_us` may be gone.
    Reads stretch by stretch, with others' work between. Raises NotKept, TooMuchToRead, StateLost, and Refusal.
    """
    parts = stretches(buckets.edges_us)
    digest = _digest(buckets.question)
    planned = [_stretch(digest, buckets.only(part), len(parts) > 1, minutes_reach_us) for part in parts]
    read = [_ReadStretch([], [], [], {}) for _ in parts]
    for _ in range(READS_MAX):
        before = list(read)
        for at, stretch in enumerate(planned):
            read[at] = await _rows_of_stretch(source, kept, stretch, before[at], size)
            if not before[at].rows:
                size.add(read[at].rows)
            # Of a project that is nowhere nothing is read, so that nothing else lets others go on.
            await asyncio.sleep(0)
        is_still = all(one.after == one.prints for one in read)
        if is_still and (len(parts) == 1 or [one.prints for one in before] == [one.prints for one in read]):
            break
    return list(chain.from_iterable(one.rows for one in read))


def _parts(selected: Selected) -> Iterator[Selected]:
    """The records to read in one turn, and in the next."""
    for shard, numbers in selected.items():
        ordered = sorted(numbers)
        for at in range(0, len(ordered), CALLS_IN_A_TURN_MAX):
            yield {shard: set(ordered[at : at + CALLS_IN_A_TURN_MAX])}


class _Stretch(NamedTuple):
    """Buckets that are read together: what each is read from, the blocks of that, and under which key its rows are
    kept.
    """

    buckets: Buckets
    covers: list[Cover]
    sources: list[tuple[Slots, ...]]
    blocks: list[LevelBlock]
    keys: list[BucketKey]
    takes_turns: bool
    minutes_reach_us: int


class _ReadStretch(NamedTuple):
    """The rows of a stretch's buckets, and the fingerprints of what they were read from, before and afterwards;
    afterwards all versions that were read.
    """

    rows: list[BucketRows]
    prints: list[bytes]
    after: list[bytes]
    versions: Versions


def _stretch(digest: bytes, buckets: Buckets, takes_turns: bool, minutes_reach_us: int) -> _Stretch:
    covers = [cover(*edges) for edges in buckets.edges_us]
    sources = [one.slots + tuple(one.cut_slots) if one.cut_minutes else one.slots for one in covers]
    blocks = list(dict.fromkeys([slots.block for one in sources for slots in one]))
    keys = [
        BucketKey(digest, at, from_us, to_us)
        for at, (from_us, to_us) in zip(buckets.timestamps, buckets.edges_us, strict=True)
    ]
    return _Stretch(buckets, covers, sources, blocks, keys, takes_turns, minutes_reach_us)


async def _rows_of_stretch(
    source: Source, kept: KeptBuckets, stretch: _Stretch, before: _ReadStretch, size: AnswerSize
) -> _ReadStretch:
    """Return its rows: those of before, where nothing has changed since, or reading again what has is costly."""
    versions = await read_versions(source.reader, source.project, stretch.blocks)
    if before.rows and before.prints == before.after and versions == before.versions:
        return before
    prints = _prints(stretch, versions)
    found = _kept_rows(kept, stretch, prints)
    fresh = _others(stretch, found)
    is_costly = _is_costly(stretch, fresh)
    under_way = [] if is_costly or stretch.takes_turns else [(stretch.keys[at], prints[at]) for at in fresh]
    if await kept.under_way.wait(under_way):  # then read by another, and kept; it costs no more to read less
        found = _kept_rows(kept, stretch, prints)
        fresh = _others(stretch, found)
        under_way = [(stretch.keys[at], prints[at]) for at in fresh]
    size.add_series(chain.from_iterable({of_one.series for of_one in found.values()}))
    if before.rows and (is_costly or source.facts.budget.looked_at > CHEAP_CALLS_MAX):
        return _ReadStretch(before.rows, prints, prints, versions)
    if not fresh:
        return _ReadStretch(list(found.values()), prints, prints, versions)
    with kept.under_way.work(under_way):
        async with source.turns.turn(is_costly or stretch.takes_turns) as turn:
            fresh_rows, versions_after = await _fresh_rows(source, stretch, fresh, versions, size, turn)
        found |= fresh_rows
        after = prints if versions_after == versions else _prints(stretch, versions_after)
        for at in fresh:
            # What has changed while it was read may be of neither state.
            if prints[at] == after[at] and not _may_be_gone(stretch, at):
                kept.keep(stretch.keys[at], prints[at], found[at])
    return _ReadStretch([found[at] for at in range(len(stretch.keys))], prints, after, versions_after)


def _kept_rows(kept: KeptBuckets, stretch: _Stretch, prints: Sequence[bytes]) -> dict[int, BucketRows]:
    """Return those of its rows that are kept, by their positions."""
    return {at: of_one for at, key in enumerate(stretch.keys) if (of_one := kept.find(key, prints[at]))}


def _others(stretch: _Stretch, found: Mapping[int, BucketRows]) -> list[int]:
    return [at for at in range(len(stretch.keys)) if at not in found]


def _is_costly(stretch: _Stretch, fresh: Sequence[int]) -> bool:
    return read_cost(stretch.buckets.question, [stretch.covers[at] for at in fresh]) > CHEAP_COST_MAX


async def _fresh_rows(
    source: Source, stretch: _Stretch, fresh: Sequence[int], before: Versions, size: AnswerSize, turn: Turn
) -> tuple[dict[int, BucketRows], Versions]:
    """Return the rows of some of its buckets, by their positions, as read now, and all versions afterwards.

    A question that ends now cuts the minute that is filling up. Where all calls of it began before that end, by the
    versions of before and of afterwards, its rollups answer for it, however many they are; else its calls are read.
    """
    buckets, covers = stretch.buckets.only(fresh), [stretch.covers[at] for at in fresh]
    whole = _with_whole_end(buckets, covers, before)
    if whole != covers:
        with suppress(NotKept):  # of views that are too many to be kept; the calls of a minute tell all the same
            merged = await _read(source, buckets, whole, turn)
            after = await read_versions(source.reader, source.project, stretch.blocks)
            if _with_whole_end(buckets, covers, after) == whole:
                return dict(zip(fresh, await _make_rows(source, buckets, merged, size), strict=True)), after
    merged = await _read(source, buckets, covers, turn)
    after = await read_versions(source.reader, source.project, stretch.blocks)
    return dict(zip(fresh, await _make_rows(source, buckets, merged, size), strict=True)), after


def _with_whole_end(buckets: Buckets, covers: list[Cover], versions: Versions) -> list[Cover]:
    """Return the covers, the last of which has the minute that its end cuts as a slot, if that is right.

    Of others it would not be: the calls of a minute that is cut for the next bucket are read for both.
    """
    last, edges_us = covers[-1], buckets.edges_us[-1]
    whole = last.with_whole_end(*edges_us)
    if whole is last or not all_began_before(last.cut_slots[-1], edges_us[1], versions):
        return covers
    return [*covers[:-1], whole]


def _may_be_gone(stretch: _Stretch, at: int) -> bool:
    """Whether a bucket's minutes may be gone while their calls are not: no version tells that these have changed."""
    minutes = stretch.covers[at].cut_minutes
    return bool(minutes) and minutes[0] * MINUTE_US < stretch.minutes_reach_us  # they ascend


def _prints(stretch: _Stretch, versions: Versions) -> list[bytes]:
    """Return the fingerprint of each of its buckets, by these versions."""
    return fingerprints(stretch.sources, versions)


async def _make_rows(source: Source, buckets: Buckets, merged: Merged, size: AnswerSize) -> list[BucketRows]:
    """The rows, made aside where that takes longer than others may wait."""
    make = partial(make_rows, buckets.question, buckets.timestamps, merged, size)
    if merged.size_bytes + len(buckets.timestamps) * keys_of(buckets.question) * VALUE_BYTES < ASIDE_BYTES_MIN:
        return make()
    return await source.turns.aside(make)


def _digest(question: StatsQuestion) -> bytes:
    # What is asked may be a megabyte, and stays as long as its rows do: a digest that nobody can meet by intent.
    return blake2b(
        msgspec.msgpack.encode((question.project_id, question.call_metrics, question.usage_metrics, question.filter)),
        digest_size=32,
    ).digest()


async def _read(source: Source, buckets: Buckets, covers: Sequence[Cover], turn: Turn) -> Merged:
    question, plan = buckets.question, plan_reads(covers)
    merged = Merged(len(covers), question.filter.trace_roots_only, *series_needed(question))
    values = ValuesWanted(
        any(m.metric == "latency_ms" and m.percentiles for m in question.call_metrics),
        any(metric.percentiles for metric in question.usage_metrics),
    )
    dimensions = view_filter(question.filter)
    left = await read_rollups(source.reader, source.project, plan.slots, dimensions, merged, *values, turn.next)
    if left:
        spans, with_usage = spans_of(plan.slots, left), bool(question.usage_metrics)
        await count_spans(source.facts, spans, dimensions, merged, values, with_usage, turn.next)
    if plan.cut_minutes:
        await _add_calls(
            source.reader, await select_minutes(source.reader, source.project, plan.cut_minutes), buckets, merged
        )
    return merged


async def _add_calls(reader: StoreReader, selected: Selected, buckets: Buckets, into: Merged) -> None:
    """Count those of the selected calls that the filter lets through, each in its bucket, if it has one."""
    dimensions, edges_us = view_filter(buckets.question.filter), buckets.edges_us
    begins_us = [from_us for from_us, _ in edges_us]
    async for some in calls_in_pieces(reader, selected):
        by_bucket: dict[int, list[Call]] = {}
        for call in some.values():
            if call.started_us is None or not matches_views(call, dimensions):
                continue
            at = bisect_right(begins_us, call.started_us) - 1
            if at >= 0 and call.started_us < edges_us[at][1]:
                by_bucket.setdefault(at, []).append(call)
        for at, within in by_bucket.items():
            into.add_calls(at, tally_of(within))
