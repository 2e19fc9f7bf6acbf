"""Calls that get other prices: the state is what it would be had they always had them."""

from collections.abc import Sequence
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from aggregator.calls.event import Event
from aggregator.prices.book import PriceBook
from aggregator.store.shard_store import Fenced, ShardStore
from aggregator.time_units import SECOND_US
from aggregator.writing.limits import ShardLimits
from aggregator.writing.shard import Shard
from tests.servers.redis_server import RedisServer
from tests.support.event_strategies import event_messages
from tests.support.folding import (
    KEEP_ALL,
    NOW_US,
    ROOMY,
    SHARD,
    TINY,
    NoCatalogue,
    apply,
    complete,
    decoded,
    end,
    fold_all,
    in_batches,
    prices,
    read_state,
    start,
    tokens,
)

Json = dict[str, Any]
batch_sizes = st.lists(st.integers(1, 5), min_size=1, max_size=4)
# Each example folds several times into a real Redis.
few = settings(max_examples=20, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
NOTHING_HAS_A_PRICE = PriceBook(None, NoCatalogue())
CHUNK = 256


@pytest.fixture(scope="module")
def client(redis_server: RedisServer) -> redis.Redis:
    """A connection that examples share; the server is emptied for each."""
    return redis.Redis.from_url(redis_server.url)


def opened(client: redis.Redis, book: PriceBook, limits: ShardLimits = ROOMY) -> Shard:
    """A writer with these prices."""
    return Shard(ShardStore(client, SHARD), book, KEEP_ALL, limits)


def counted(state: Json) -> Json:
    """A state without counters that are back at 0."""
    return state | {
        name: {key: more for key, more in state.get(name, {}).items() if more} for name in ("shard", "unpriced")
    }


def repriced(
    client: redis.Redis, batches: Sequence[Sequence[Event]], by: PriceBook, to: PriceBook, limits: ShardLimits
) -> Json:
    """The state of calls that were counted by some prices and then got others."""
    client.flushall()
    shard = opened(client, by, limits)
    for batch in batches:
        apply(shard, batch)
    while shard.seal(NOW_US):
        pass
    other = opened(client, to, limits)
    for first in range(0, 10 * CHUNK, CHUNK):
        other.reprice(range(first, first + CHUNK), NOW_US)
    return counted(read_state(client))


@few
@given(event_messages(rings=True), batch_sizes, st.sampled_from([ROOMY, TINY]))
def test_as_if_they_had_always_had_them(
    client: redis.Redis, messages: list[Json], sizes: list[int], limits: ShardLimits
) -> None:
    """Records, subtrees, rollups, what has no price: whatever the calls, roll-ups among them, sealed or not."""
    batches = in_batches(decoded(messages), sizes)
    expected = counted(fold_all(client, batches, limits))
    assert repriced(client, batches, NOTHING_HAS_A_PRICE, prices(), limits) == expected
    expected = repriced(client, batches, NOTHING_HAS_A_PRICE, NOTHING_HAS_A_PRICE, limits)
    assert repriced(client, batches, prices(), NOTHING_HAS_A_PRICE, limits) == expected


@pytest.mark.parametrize("limits", [ROOMY, TINY])
def test_trees(client: redis.Redis, limits: ShardLimits) -> None:
    """A root of its own, one with a child, a roll-up above its child, a child whose parent has not come."""
    used = {"gpt-4o": tokens(1_000, 10)}
    events = [
        complete("alone", usage=used),
        complete("root"),
        complete("child", usage=used, parent_id="root"),
        complete("sums", usage={"gpt-4o": tokens(1_500, 20)}, may_roll_up=True),
        complete("part", usage=used, parent_id="sums"),
        complete("early", usage=used, parent_id="late"),
        start("open"),
    ]
    assert repriced(client, [events], NOTHING_HAS_A_PRICE, prices(), limits) == counted(
        fold_all(client, [events], limits)
    )
    later = [start("late"), end("open", usage=used)]
    shard = opened(client, prices(), limits)
    repriced(client, [events], NOTHING_HAS_A_PRICE, prices(), limits)
    shard.recover()
    apply(shard, later)
    assert counted(read_state(client)) == counted(fold_all(client, [events, later], limits))


def test_one_of_two_writers_is_refused(client: redis.Redis) -> None:
    """Whoever has read what another changed meanwhile writes nothing, and goes on from what Redis holds."""
    client.flushall()
    first, second = complete("a", usage={"gpt-4o": tokens(1_000)}), complete("b", usage={"gpt-4o": tokens(2_000)})
    worker = opened(client, NOTHING_HAS_A_PRICE)
    apply(worker, [first])
    other = opened(client, prices())
    assert other.reprice(range(CHUNK), NOW_US) == 1
    with pytest.raises(Fenced):
        apply(worker, [second])
    worker.recover()
    apply(worker, [second])
    with pytest.raises(Fenced):
        other.reprice(range(CHUNK), NOW_US)
    other.recover()
    assert other.reprice(range(CHUNK), NOW_US) == 1
    assert other.reprice(range(CHUNK), NOW_US) == 0
    assert counted(read_state(client)) == counted(fold_all(client, [[first], [second]]))


def test_calls_that_are_about_to_go_are_left(client: redis.Redis) -> None:
    """Calls that are about to go are left as they are: their rollups may have gone before them."""
    client.flushall()
    apply(opened(client, NOTHING_HAS_A_PRICE), [complete("a", usage={"gpt-4o": tokens(1_000)})])
    past_us = NOW_US + KEEP_ALL.calls_s * SECOND_US
    assert opened(client, prices()).reprice(range(CHUNK), past_us) == 0
