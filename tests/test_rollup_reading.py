"""Reading rollups: each wanted slot into its bucket, of the views that match, with the sketches asked for."""

from collections.abc import Sequence

import pytest
import redis

from aggregator import rollup_reading
from aggregator.event import Event
from aggregator.levels import FIVE_MINUTES, HOURS, MINUTES
from aggregator.merged import Merged
from aggregator.redis_layout import ShardName
from aggregator.rollup_reading import LevelDay, TooMuchToRead, Wanted, read_rollups
from aggregator.shard import Shard, ShardLimits
from aggregator.shard_store import ShardStore
from aggregator.store_reader import OpenedProject, StoreReader
from aggregator.view import NotKept, ViewFilter
from tests.folding import KEEP_ALL, NOW_US, SHARD, complete, prices, start, tokens
from tests.reading import read

DAY = 20_515  # T0 is 10:00 of that day
DAY_S = 86_400
NO_FILTER = ViewFilter()


def fold_into(redis_url: str, events: Sequence[Event], shard: ShardName = SHARD, views_max: int = 2_000) -> None:
    store = ShardStore(redis.Redis.from_url(redis_url), shard)
    Shard(store, prices(), KEEP_ALL, ShardLimits(views_max=views_max)).apply(events, 1, NOW_US, NOW_US, {})


ALL = ViewFilter()


def buckets_of(
    redis_url: str, wanted: Wanted, views: ViewFilter = NO_FILTER, sketches: tuple[bool, bool] = (False, False)
) -> dict[int, Merged]:
    async def ask(reader: StoreReader, project: OpenedProject) -> dict[int, Merged]:
        into = {bucket: Merged() for slots in wanted.values() for bucket in slots.values()}
        await read_rollups(reader, project, wanted, views, into, *sketches)
        return into

    return read(redis_url, ask)


def calls_of(redis_url: str, wanted: Wanted, views: ViewFilter = NO_FILTER) -> dict[int, int]:
    return {bucket: merged.rollup.calls for bucket, merged in buckets_of(redis_url, wanted, views).items()}


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
        LevelDay(MINUTES, DAY): {600: 0, 601: 1, 602: 1},
        LevelDay(FIVE_MINUTES, DAY): {121: 1},
        LevelDay(HOURS, DAY): {11: 2, 12: 3},
        LevelDay(HOURS, DAY + 1): {10: 2},
    }
    assert calls_of(redis_url, wanted) == {0: 2, 1: 2, 2: 2, 3: 0}
    assert calls_of(redis_url, {LevelDay(HOURS, DAY): {10: 0}}) == {0: 4}


def test_shards_add_up(redis_url: str) -> None:
    """Also where the project and its views have other numbers there."""
    fold_into(redis_url, CALLS)
    others = [start("x", project_id="acme/others", user_id="v"), start("g", user_id="w"), start("h", user_id="u")]
    fold_into(redis_url, others, SHARD._replace(partition=1))
    hour = {LevelDay(HOURS, DAY): {10: 0}}
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
    assert calls_of(redis_url, {LevelDay(HOURS, DAY): {10: 0}}, views) == {0: calls}


def test_sketches_only_where_asked(redis_url: str) -> None:
    """Of latencies and of usage by model, each or both or none; the totals always."""
    usage = {"": tokens(3, 1), "gpt-4o": tokens(5, 2)}
    fold_into(redis_url, [complete("a", 0, 2, usage), complete("b", 60, 63, {"": tokens(4)})])
    wanted = {LevelDay(MINUTES, DAY): {600: 0, 601: 0}}
    for latency in (False, True):
        for of_usage in (False, True):
            [merged] = buckets_of(redis_url, wanted, sketches=(latency, of_usage)).values()
            assert merged.rollup.latency == [5000, 2000, 3000, 0, 0]
            assert merged.rollup.models[""].rows == 2
            assert merged.latencies == ([[2000], [3000]] if latency else [])
            inputs = {model: metrics[0] for model, metrics in merged.usage.items()}
            assert inputs == ({"": [[3], [4]], "gpt-4o": [[5]]} if of_usage else {})


def test_a_full_directory(redis_url: str) -> None:
    """Refuses what it did not keep, and only on its day."""
    fold_into(
        redis_url, [start("a", op_name="x"), start("b", op_name="y"), start("c", DAY_S, op_name="x")], views_max=1
    )
    y = ViewFilter(op_names=("y",))
    with pytest.raises(NotKept):
        calls_of(redis_url, {LevelDay(HOURS, DAY): {10: 0}}, y)
    assert calls_of(redis_url, {LevelDay(HOURS, DAY + 1): {10: 0}}, y) == {0: 0}
    assert calls_of(redis_url, {LevelDay(HOURS, DAY): {10: 0}}) == {0: 2}


def test_too_much_to_read(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots times views times shards: as many as the limit are read, one more is refused."""
    fold_into(redis_url, CALLS)
    fold_into(redis_url, CALLS, SHARD._replace(partition=1))
    wanted = {LevelDay(MINUTES, DAY): dict.fromkeys(range(600, 603), 0)}
    both = ViewFilter(op_names=("op", "other"))
    monkeypatch.setattr(rollup_reading, "FIELDS_READ_MAX", 12)
    assert calls_of(redis_url, wanted, both) == {0: 6}
    monkeypatch.setattr(rollup_reading, "FIELDS_READ_MAX", 11)
    with pytest.raises(TooMuchToRead):
        calls_of(redis_url, wanted, both)


def test_too_many_sketches(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of latencies and one for each model of each rollup: as many as the limit are read, one more is refused."""
    usage = {f"m{number}": tokens(1) for number in range(4)}
    fold_into(redis_url, [complete("a", usage=usage), complete("b", 60, usage=usage)])
    wanted = {LevelDay(MINUTES, DAY): {600: 0, 601: 0}}
    monkeypatch.setattr(rollup_reading, "FIELDS_READ_MAX", 10)
    assert buckets_of(redis_url, wanted, sketches=(True, True))[0].rollup.calls == 2
    monkeypatch.setattr(rollup_reading, "FIELDS_READ_MAX", 9)
    assert buckets_of(redis_url, wanted, sketches=(False, True))[0].rollup.calls == 2
    with pytest.raises(TooMuchToRead, match="percentiles"):
        buckets_of(redis_url, wanted, sketches=(True, True))


def test_too_many_views(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All views of the window's days are compared with a filter: as many as the limit, and no more."""
    fold_into(redis_url, [start("a", op_name="x"), start("b", DAY_S, op_name="y")])
    wanted = {LevelDay(HOURS, DAY): {10: 0}, LevelDay(HOURS, DAY + 1): {10: 0}}
    monkeypatch.setattr(rollup_reading, "VIEWS_READ_MAX", 6)  # of each op, of roots, of roots with the op
    assert calls_of(redis_url, wanted, ViewFilter(op_names=("x",))) == {0: 1}
    monkeypatch.setattr(rollup_reading, "VIEWS_READ_MAX", 5)
    with pytest.raises(TooMuchToRead, match="views"):
        calls_of(redis_url, wanted, ViewFilter(op_names=("x",)))
    assert calls_of(redis_url, wanted) == {0: 2}
