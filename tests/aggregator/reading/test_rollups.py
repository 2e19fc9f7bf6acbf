"""Reading rollups: each wanted slot into its bucket, of the views that match, with the values asked for."""

from collections import Counter
from collections.abc import Sequence

import pytest
import redis

from aggregator.calls.event import Event
from aggregator.layout.keys import ShardName
from aggregator.reading import rollups as rollup_reading
from aggregator.reading.rollups import LevelBlock, TooMuchToRead, Wanted, read_rollups
from aggregator.rollups.accumulator import Merged
from aggregator.rollups.levels import FIVE_MINUTES, HOURS, MINUTES
from aggregator.rollups.series import LATENCY, OF_LATENCY, OF_USAGE, model_series, series_of
from aggregator.rollups.sketch import centroids
from aggregator.rollups.totals import ROWS, Totals
from aggregator.rollups.views import ViewFilter
from aggregator.store.reader import OpenedProject, StoreReader
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_S
from aggregator.writing.limits import ShardLimits
from aggregator.writing.shard import Shard
from tests.support.folding import KEEP_ALL, NOW_US, SHARD, complete, prices, start, tokens
from tests.support.reading import read, totals_in

DAY = 20_515  # T0 is 10:00 of that day
HOUR_OF_MINUTES = LevelBlock(MINUTES, 24 * DAY + 10)
NO_FILTER = ViewFilter()
NAMELESS, PRICED = model_series(""), model_series("gpt-4o")


def fold_into(redis_url: str, events: Sequence[Event], shard: ShardName = SHARD, views_max: int = 2_000) -> None:
    store = ShardStore(redis.Redis.from_url(redis_url), shard)
    Shard(store, prices(), KEEP_ALL, ShardLimits(views_max=views_max)).apply(events, 1, NOW_US, NOW_US, {})


def buckets_of(
    redis_url: str, wanted: Wanted, views: ViewFilter = NO_FILTER, values: tuple[bool, bool] = (False, False)
) -> Merged:
    async def ask(reader: StoreReader, project: OpenedProject) -> Merged:
        into = Merged(1 + max(bucket for slots in wanted.values() for bucket in slots.values()))
        await read_rollups(reader, project, wanted, views, into, *values)
        return into

    return read(redis_url, ask)


def calls_of(redis_url: str, wanted: Wanted, views: ViewFilter = NO_FILTER) -> dict[int, int]:
    return dict(enumerate(buckets_of(redis_url, wanted, views).calls))


def nameless(merged: Merged) -> Totals:
    """The totals of the model without a name."""
    return totals_in(merged.totals(OF_USAGE), (0, NAMELESS))


def kept(merged: Merged) -> dict[bytes, Counter[float]]:
    """Returns, by series of the one bucket, how often each value of its first metric is there, in rows and sketches."""
    found = {}
    for (_, name), values in merged.values.items():
        counts = found[name] = Counter(float(row[0]) for row in series_of(name).unpack(b"".join(values.rows)))
        for sketches in values.sketches:
            for mean, weight in zip(*centroids([sketches[0]]), strict=True):
                counts[float(mean)] += int(weight)
    return found


CALLS = [
    start("a", 0),
    start("b", 59, op_name="other", parent_id="a"),
    start("c", 60, user_id="u"),
    start("d", 300, user_id="u", op_name="op"),
    start("e", 3_600),
    start("f", DAY_S),
]


def test_slots_of_any_level_and_day(redis_url: str) -> None:
    """Every slot adds to its own bucket, several to one; a slot without calls adds nothing."""
    fold_into(redis_url, CALLS)
    wanted = {
        HOUR_OF_MINUTES: {0: 0, 1: 1, 2: 1},
        LevelBlock(FIVE_MINUTES, DAY): {121: 1},
        LevelBlock(HOURS, DAY): {11: 2, 12: 3},
        LevelBlock(HOURS, DAY + 1): {10: 2},
    }
    assert calls_of(redis_url, wanted) == {0: 2, 1: 2, 2: 2, 3: 0}
    assert calls_of(redis_url, {LevelBlock(HOURS, DAY): {10: 0}}) == {0: 4}


def test_shards_add_up(redis_url: str) -> None:
    """Shards add up, also where the project and its views have other numbers in each."""
    fold_into(redis_url, CALLS)
    others = [start("x", project_id="acme/others", user_id="v"), start("g", user_id="w"), start("h", user_id="u")]
    fold_into(redis_url, others, SHARD._replace(partition=1))
    hour = {LevelBlock(HOURS, DAY): {10: 0}}
    assert calls_of(redis_url, hour) == {0: 6}
    assert calls_of(redis_url, hour, ViewFilter(user_ids=("u",))) == {0: 3}


@pytest.mark.parametrize(
    ("views", "calls"),
    [
        (ViewFilter(op_names=("op",)), 3),
        (ViewFilter(op_names=("op", "other", "none")), 4),
        (ViewFilter(roots_only=True), 3),
        (ViewFilter(user_ids=("u",)), 2),
        (ViewFilter(op_names=("op",), user_ids=("u",)), 2),
        (ViewFilter(op_names=("other",), roots_only=True), 0),
        (ViewFilter(run_ids=("r",)), 0),
    ],
)
def test_filters_on_dimensions(redis_url: str, views: ViewFilter, calls: int) -> None:
    """Count what matches in the hour of a, b, c and d."""
    fold_into(redis_url, CALLS)
    assert calls_of(redis_url, {LevelBlock(HOURS, DAY): {10: 0}}, views) == {0: calls}


def test_minutes_of_two_blocks(redis_url: str) -> None:
    """The last minute of an hour and the first of the next, of a view and of all; slots of one number are apart."""
    fold_into(redis_url, [start("a", 59 * 60), start("b", 3_600, user_id="u"), start("c", 3_660, user_id="u")])
    wanted = {HOUR_OF_MINUTES: {59: 0, 1: 2}, LevelBlock(MINUTES, 24 * DAY + 11): {0: 0, 1: 1}}
    assert calls_of(redis_url, wanted) == {0: 2, 1: 1, 2: 0}
    assert calls_of(redis_url, wanted, ViewFilter(user_ids=("u",))) == {0: 1, 1: 1, 2: 0}


def test_values_only_where_asked(redis_url: str) -> None:
    """Values of latencies and of usage by model are read where asked, each, both or none; totals always."""
    usage = {"": tokens(3, 1), "gpt-4o": tokens(5, 2)}
    fold_into(redis_url, [complete("a", 0, 2, usage), complete("b", 60, 63, {"": tokens(4)})])
    wanted = {HOUR_OF_MINUTES: {0: 0, 1: 0}}
    for latency in (False, True):
        for of_usage in (False, True):
            merged = buckets_of(redis_url, wanted, values=(latency, of_usage))
            assert totals_in(merged.totals(OF_LATENCY), (0, LATENCY)) == OF_LATENCY.layout.of_values([(2000,), (3000,)])
            assert {name for _, name in merged.totals(OF_USAGE).keys} == {NAMELESS, PRICED}
            assert nameless(merged)[ROWS] == 2
            of_latency = {LATENCY: {2000: 1, 3000: 1}} if latency else {}
            of_models = {NAMELESS: {3: 1, 4: 1}, PRICED: {5: 1}} if of_usage else {}
            assert kept(merged) == of_latency | of_models


@pytest.mark.parametrize("latency", [False, True])
@pytest.mark.parametrize("of_usage", [False, True])
@pytest.mark.parametrize("counts", [(16, 17), (1, 512), (513, 20), (600, 700)])
def test_what_is_beside_cells(counts: tuple[int, int], latency: bool, of_usage: bool, redis_url: str) -> None:
    """Rows in cells, rows beside them and sketches of two minutes come to one bucket; only what was asked for."""
    events = [
        complete(f"{minute}-{at}", minute * 60, minute * 60 + 1 + minute, {"": tokens(7 + at % 2)})
        for minute, count in enumerate(counts)
        for at in range(count)
    ]
    fold_into(redis_url, events)
    merged = buckets_of(redis_url, {HOUR_OF_MINUTES: {0: 0, 1: 0}}, values=(latency, of_usage))
    latencies = [(1000,)] * counts[0] + [(2000,)] * counts[1]
    inputs = [7 + at % 2 for count in counts for at in range(count)]
    assert merged.calls == [sum(counts)]
    assert totals_in(merged.totals(OF_LATENCY), (0, LATENCY)) == OF_LATENCY.layout.of_values(latencies)
    assert totals_in(merged.totals(OF_USAGE), (0, NAMELESS)) == OF_USAGE.layout.of_values(
        (one, 0, one, 0, 0) for one in inputs
    )
    of_latency = {LATENCY: Counter({1000: counts[0], 2000: counts[1]})} if latency else {}
    assert kept(merged) == of_latency | ({NAMELESS: Counter(inputs)} if of_usage else {})


def test_large_rows(redis_url: str) -> None:
    """Sums beyond 64 bits, and a value for each row, whether the others of its model are in the cell or beside it."""
    most = 2**63 - 1
    events = [complete("a", 0, 1, {"": tokens(most), "gpt-4o": tokens(most)})]
    events += [complete(f"b-{at}", 0, 1, {"": tokens(5)}) for at in range(3)]
    events += [complete(f"c-{at}", 60, 61, {"": tokens(6)}) for at in range(30)]
    events += [complete("d", 60, 61, {"": tokens(most)})]
    fold_into(redis_url, events)
    merged = buckets_of(redis_url, {HOUR_OF_MINUTES: {0: 0, 1: 0}}, values=(False, True))
    inputs = [most, most, *[5] * 3, *[6] * 30]
    assert totals_in(merged.totals(OF_USAGE), (0, NAMELESS)) == OF_USAGE.layout.of_values(
        (one, 0, one, 0, 0) for one in inputs
    )
    assert OF_USAGE.layout.sum(nameless(merged), 0) == 2 * most + 15 + 180
    assert kept(merged) == {NAMELESS: Counter(map(float, inputs)), PRICED: Counter({float(most): 1})}


def test_a_full_directory(redis_url: str) -> None:
    """Says of which day something was not kept, and counts nothing of it; other days are read."""
    fold_into(
        redis_url, [start("a", op_name="x"), start("b", op_name="y"), start("c", DAY_S, op_name="x")], views_max=1
    )
    wanted = {LevelBlock(HOURS, DAY): {10: 0}, LevelBlock(HOURS, DAY + 1): {10: 0}}

    async def ask(reader: StoreReader, project: OpenedProject) -> tuple[list[int], list[int]]:
        into = Merged(1)
        left = await read_rollups(reader, project, wanted, ViewFilter(op_names=("x", "y")), into, False, False)
        return into.calls, [day for shard, day in left if shard in project.shards]

    assert read(redis_url, ask) == ([1], [DAY])
    assert calls_of(redis_url, wanted) == {0: 3}


def test_a_day_of_fewer_calls_than_rollups(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is left to who looks at its calls, where many rollups would be read of it; else it is not asked how many."""
    fold_into(redis_url, CALLS)
    wanted = {HOUR_OF_MINUTES: dict.fromkeys(range(4), 0)}
    both = ViewFilter(op_names=("op", "other"))  # eight rollups, and five calls in that day

    async def ask(reader: StoreReader, project: OpenedProject) -> tuple[list[int], int]:
        into = Merged(1)
        left = await read_rollups(reader, project, wanted, both, into, False, False)
        return into.calls, len(left)

    assert read(redis_url, ask) == ([3], 0)
    monkeypatch.setattr(rollup_reading, "FEW_FIELDS_MAX", 7)
    assert read(redis_url, ask) == ([0], 1)
    wanted = {HOUR_OF_MINUTES: dict.fromkeys(range(2), 0)}  # and now four of them
    monkeypatch.setattr(rollup_reading, "FEW_FIELDS_MAX", 3)
    assert read(redis_url, ask) == ([3], 0)


def test_too_much_to_read(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots times views times shards: as many as the limit are read, one more is refused."""
    fold_into(redis_url, CALLS)
    fold_into(redis_url, CALLS, SHARD._replace(partition=1))
    wanted = {HOUR_OF_MINUTES: dict.fromkeys(range(3), 0)}
    both = ViewFilter(op_names=("op", "other"))
    monkeypatch.setattr(rollup_reading, "FIELDS_READ_MAX", 12)
    assert calls_of(redis_url, wanted, both) == {0: 6}
    monkeypatch.setattr(rollup_reading, "FIELDS_READ_MAX", 11)
    with pytest.raises(TooMuchToRead):
        calls_of(redis_url, wanted, both)


def test_too_many_sketches(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and sketches beside each cell, of latencies and of each model: as many as the limit are read, no more."""
    usage = {"m1": tokens(1), "m2": tokens(2)}
    events = [
        complete(f"{minute}-{at}", minute * 60, minute * 60 + 1, usage) for minute in range(2) for at in range(17)
    ]
    fold_into(redis_url, events)
    wanted = {HOUR_OF_MINUTES: {0: 0, 1: 0}}
    monkeypatch.setattr(rollup_reading, "FIELDS_READ_MAX", 2 * 3 * 2)
    assert buckets_of(redis_url, wanted, values=(True, True)).calls == [34]
    monkeypatch.setattr(rollup_reading, "FIELDS_READ_MAX", 2 * 3 * 2 - 1)
    assert buckets_of(redis_url, wanted, values=(False, True)).calls == [34]
    with pytest.raises(TooMuchToRead, match="percentiles"):
        buckets_of(redis_url, wanted, values=(True, True))


def test_too_many_views(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All views of the window's days are compared with a filter on several fields: as many as the limit, no more."""
    fold_into(redis_url, [start("a", op_name="x"), start("b", DAY_S, op_name="y")])
    wanted = {LevelBlock(HOURS, DAY): {10: 0}, LevelBlock(HOURS, DAY + 1): {10: 0}}
    monkeypatch.setattr(rollup_reading, "VIEWS_COMPARED_MAX", 6)  # of each op, of roots, of roots with the op
    assert calls_of(redis_url, wanted, ViewFilter(op_names=("x",), roots_only=True)) == {0: 1}
    monkeypatch.setattr(rollup_reading, "VIEWS_COMPARED_MAX", 5)
    with pytest.raises(TooMuchToRead, match="views"):
        calls_of(redis_url, wanted, ViewFilter(op_names=("x",), roots_only=True))
    assert calls_of(redis_url, wanted) == {0: 2}
