"""Series of models without a price: bounded, never lost, and never going back while the process lives."""

from collections import Counter

import redis
from hypothesis import given
from hypothesis import strategies as st

from aggregator.calls.event import UsageCounts
from aggregator.store.connection import connect
from aggregator.store.shard_store import ShardStore
from aggregator.writing.shard import Shard
from callmeter.metrics.unpriced_models import OTHER, ModelsTold, unpriced_calls
from tests.support.folding import KEEP_ALL, SHARD, T0_US, complete, prices

GROWTH = st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["", *"abcdefgh"]), st.integers(1, 5)), max_size=30)


@given(GROWTH)
def test_series_are_few_and_only_grow(growth: list[tuple[int, str, int]]) -> None:
    """Whatever comes in whatever order: three models and the others, all calls in one of them, no counter falls."""
    told = ModelsTold(3)
    calls: dict[tuple[str, int], Counter[str]] = {}
    before: dict[tuple[tuple[str, int], str], int] = {}
    for partition, model, more in growth:
        calls.setdefault(("calls", partition), Counter())[model] += more
        now = {(name, one): count for name, row in told.bounded(calls).items() for one, count in row.items()}
        assert len({model for _, model in now} - {OTHER}) <= 3
        assert sum(now.values()) == sum(row.total() for row in calls.values())
        assert all(now[series] >= count for series, count in before.items())
        before = now


def test_what_a_shard_counted(redis_url: str) -> None:
    """Calls of two models that nobody lists, as the shard keeps them, of the live namespace."""
    client: redis.Redis = connect(redis_url)
    shard = Shard(ShardStore(client, SHARD), prices(), KEEP_ALL)
    events = [
        complete(
            f"call-{number}", number, number + 1, usage={f"nobody-lists-{number % 2}": UsageCounts(5, 0, 5, 0, 0, 1)}
        )
        for number in range(5)
    ]
    shard.apply(events, len(events), T0_US, T0_US, {})
    found = unpriced_calls(client, SHARD.namespace)
    assert found == {(SHARD.topic, SHARD.partition): {"nobody-lists-0": 3, "nobody-lists-1": 2}}
