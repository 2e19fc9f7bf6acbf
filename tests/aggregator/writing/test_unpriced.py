"""Calls without a cost are counted by model, within a bound, whatever batches they come in."""

from collections import Counter
from typing import Any

import redis

from aggregator.calls.event import UsageCounts
from aggregator.layout.keys import ShardKeys
from aggregator.layout.unpriced import OTHERS, Unpriced, read_unpriced, unpriced_field
from aggregator.layout.write import ShardWrite
from aggregator.writing.unpriced import UnpricedCounts
from tests.support.folding import SHARD, apply, complete, end, open_shard, start, tokens

KEYS = ShardKeys(SHARD)
UNREAD_USAGE = UsageCounts(0, 0, 0, 0, 0, 1, is_read=False)


def test_stored_form() -> None:
    """The example of its bytes."""
    unpriced = Unpriced(1, "acme-llm-1", False)
    assert unpriced_field(unpriced).hex() == "9301aa61636d652d6c6c6d2d31c2"
    assert read_unpriced({unpriced_field(unpriced): b"12"}) == {unpriced: 12}


def stored_in(client: redis.Redis) -> dict[Unpriced, int]:
    fields: Any = client.hgetall(KEYS.unpriced)
    return read_unpriced(fields)


def test_a_shard_counts_calls_without_a_cost(redis_url: str) -> None:
    """A shard counts each call without a cost once, when start and end are known, in this writer or the next; priced
    calls are not among them."""
    client = redis.Redis.from_url(redis_url)
    unknown, unread = {"acme-llm-1": tokens(5)}, {"gpt-4o": UNREAD_USAGE}
    priced = complete("c", usage={"gpt-4o": tokens(1)})
    shard = open_shard(client)
    apply(shard, [complete("a", usage=unknown), complete("b", usage=unread), priced])
    apply(shard, [complete("a", usage=unknown), end("d", usage=unread | unknown)])
    counted = {Unpriced(1, "acme-llm-1", False): 1, Unpriced(1, "gpt-4o", True): 1}
    assert stored_in(client) == counted
    apply(open_shard(client), [start("d")])
    assert stored_in(client) == dict.fromkeys(counted, 2)


def test_what_is_too_many_counts_together() -> None:
    """Models that are known count on; all others are one."""
    counts = UnpricedCounts({}, models_max=2)
    write = ShardWrite()
    a, b, c = (Unpriced(1, model, False) for model in "abc")
    for more in ({a: 1}, {b: 2}, {c: 3}, {a: 4, c: 5}):
        counts.add(Counter(more), KEYS, write)
    stored = {field: str(calls).encode() for field, calls in write.fields[KEYS.unpriced].items()}
    assert read_unpriced(stored) == {a: 5, b: 2, OTHERS: 8}  # type: ignore[arg-type]
