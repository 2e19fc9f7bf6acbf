"""Filters beyond the views that are kept are answered from calls: right as a scan is, hot, sealed and moved."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
import redis
import redis.asyncio
from hypothesis import given, note, settings
from hypothesis import strategies as st

from aggregator.calls.event import CallStart, Event
from aggregator.objects.frame_cache import FrameCache
from aggregator.rollups.levels import Retention
from aggregator.store.reader import StoreReader
from aggregator.time_units import DAY_S, HOUR_S, SECOND_US
from aggregator.writing.limits import ShardLimits
from api.query.answers import StoreAnswers
from api.query.questions import CallFilter, MetricQuestion, StatsQuestion
from api.refusals import Refusal
from tests.brute_force import PriceList, fold
from tests.pipeline.in_process import InProcess
from tests.scenarios.foldings import WITHOUT_SHRINKING, Folding, Json, foldings
from tests.support.answers import differences
from tests.support.folding import KEEP_ALL, NOW_US, SHARD, apply
from tests.support.moving import AT_ONCE, FailingStore, moved_chunks, open_moving
from tests.support.paths import CASES
from tests.support.question_strategies import stats_requests
from tests.support.sealing import agents_batches, seal_all
from tests.support.small_chunks import small_chunks
from tests.support.strategies import NOW, OP_NAMES, OP_PREFIXES, RUN_IDS, USER_IDS, pool

HOUR_US = HOUR_S * SECOND_US
EXAMPLES = 40
QUESTIONS_PER_EXAMPLE = 8
FIELDS = {"op_names": (*OP_NAMES, *OP_PREFIXES), "wb_user_ids": USER_IDS, "wb_run_ids": RUN_IDS}


@pytest.fixture(autouse=True)
def few_calls_per_chunk() -> Iterator[None]:
    """Some calls fill some chunks, which are sealed."""
    with small_chunks(4):
        yield


def dimension_filters() -> st.SearchStrategy[Json]:
    """Filters on any of the dimensions that views have."""
    fields: dict[str, st.SearchStrategy[Any]] = {
        name: st.lists(pool([*values, "nobody"]), min_size=1, max_size=5) for name, values in FIELDS.items()
    }
    return st.fixed_dictionaries({}, optional=fields | {"trace_roots_only": st.booleans()})


def test_answers_are_those_of_a_scan(redis_url: str) -> None:
    """Whatever is kept of views, none to all, every filter on them is answered as by a scan of all calls."""
    prices = PriceList.from_file(CASES / "prices.yaml")
    asked = st.builds(lambda request, of: request | {"filter": of}, stats_requests(), dimension_filters())
    with InProcess(redis_url, NOW) as product:

        @settings(WITHOUT_SHRINKING, max_examples=EXAMPLES)
        @given(foldings((0, 1, 2)), st.lists(asked, min_size=QUESTIONS_PER_EXAMPLE, max_size=QUESTIONS_PER_EXAMPLE))
        def check(folding: Folding, requests: list[Json]) -> None:
            product.fold(folding.shards, folding.limits)
            model = fold(folding.messages, prices, NOW)
            answers = product.ask([("/calls/stats", request) for request in requests])
            for request, (status, body) in zip(requests, answers, strict=True):
                wrong = differences(model.case("/calls/stats", request, NOW), status, body)
                if wrong:
                    note(f"{folding!r}\n{request!r}\n{wrong[:5]!r}")
                assert not wrong

        check()


LATENCY = MetricQuestion("latency_ms", ("sum", "min", "max", "count"), (50.0, 99.0))
ERRORS = MetricQuestion("error_count", ("sum",), ())
TOKENS = MetricQuestion("total_tokens", ("sum", "min", "max", "count_true"), (90.0,))
COST = MetricQuestion("total_cost", ("sum", "avg"), (50.0,))


def starts_of(batches: Iterable[Iterable[Event]]) -> list[CallStart]:
    """All starts of some events."""
    return [event.start for batch in batches for event in batch if event.start is not None]


def filters_of(starts: Sequence[CallStart]) -> list[CallFilter]:
    """Filters on what these calls have, each of which lets some through."""
    ops = Counter(start.op_name for start in starts).most_common()
    users = sorted({start.user_id for start in starts if start.user_id is not None})
    some, prefix = tuple(name for name, _ in ops[::2]), ops[0][0].rpartition(":")[0]
    return [
        CallFilter(op_names=some, wb_user_ids=tuple(users[:-1])),
        CallFilter(op_names=(f"{prefix}:*",)),
        CallFilter(wb_user_ids=(users[0],), trace_roots_only=True),
        CallFilter(trace_roots_only=True),
    ]


def answers(
    redis_url: str, objects: FailingStore, starts: Sequence[CallStart], retention: Retention = KEEP_ALL
) -> list[bytes]:
    """Return the answers about all of these calls under each filter."""
    begin_us = min(start.started_at_us for start in starts) // HOUR_US * HOUR_US
    end_us = max(start.started_at_us for start in starts) + 1

    async def ask() -> list[bytes]:
        async with redis.asyncio.Redis.from_url(redis_url) as readers:
            reader = StoreReader(readers, SHARD.namespace, frames=FrameCache(objects))
            api = StoreAnswers(reader, retention, lambda: NOW_US)
            asked = [
                StatsQuestion("acme/agents", begin_us, end_us, HOUR_S, "UTC", (TOKENS, COST), (LATENCY, ERRORS), one)
                for one in filters_of(starts)
            ]
            return [(await api.stats(question, NOW_US))[0] for question in asked]

    return asyncio.run(ask())


def limited(views_max: int) -> ShardLimits:
    """Limits under which all is sealed, and moved, at once."""
    return msgspec.structs.replace(AT_ONCE, views_max=views_max)


@pytest.mark.parametrize("seed", range(3))
def test_the_same_with_views_and_without(seed: int, redis_url: str, tmp_path: Path) -> None:
    """Calls in a directory, sealed ones that changed later, and hot ones add up to what views of them say."""
    client: Any = redis.Redis.from_url(redis_url)
    batches = agents_batches(Random(seed), 300)
    starts = starts_of(batches)
    found = {}
    for views_max in (2_000, 0):
        client.flushall()
        objects = FailingStore(tmp_path / f"objects-{views_max}")
        shard = open_moving(client, objects, limited(views_max))
        cut = len(batches) * 2 // 3
        for batch in batches[:cut]:
            apply(shard, batch)
        seal_all(shard)
        assert moved_chunks(client)
        for batch in batches[cut:]:  # some of them of calls that have moved
            apply(shard, batch)
        found[views_max] = answers(redis_url, objects, starts)
    assert found[0] == found[2_000]
    assert all(sum(row["count"] for row in msgspec.json.decode(one)["call_buckets"]) for one in found[0])


def test_what_calls_do_not_reach_is_refused(redis_url: str, tmp_path: Path) -> None:
    """Days without their views whose calls are not kept are refused, with since when there are calls."""
    client: Any = redis.Redis.from_url(redis_url)
    objects = FailingStore(tmp_path / "objects")
    shard = open_moving(client, objects, limited(0))
    batches = agents_batches(Random(7), 100)
    for batch in batches:
        apply(shard, batch)
    shorter = Retention(HOUR_S, 3650 * DAY_S, 3650 * DAY_S, 3650 * DAY_S)
    client.hdel(shard._store.keys.writer, "retention")
    with pytest.raises(Refusal, match="reach back to"):
        answers(redis_url, objects, starts_of(batches), shorter)
