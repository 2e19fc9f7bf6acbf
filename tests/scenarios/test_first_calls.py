"""The first calls of busy minutes, as workers keep them while they fold: the same as a look at all calls, and cheap."""

import asyncio
import json
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
import redis
import redis.asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from aggregator.calls.packed_id import unpack_id
from aggregator.reading.ranked_calls import RankingLimits
from aggregator.rollups.orders import ORDERS, Order
from aggregator.store.reader import StoreReader
from aggregator.time_units import DAY_S, HOUR_US, MINUTE_US
from aggregator.timestamps import format_utc
from aggregator.writing.limits import ShardLimits
from api.query.examples_answer import answer_examples, no_link, rank_examples
from api.query.examples_question import ExamplesQuestion
from api.query.questions import CallFilter
from tests.brute_force import examples as brute_force
from tests.brute_force.model import fold
from tests.brute_force.prices import PriceList
from tests.support.folding import KEEP_ALL, PROJECT, T0_US, apply, complete, decoded, end, open_shard, start, tokens
from tests.support.paths import CASES
from tests.support.strategies import NOW

Json = dict[str, Any]
EXAMPLES = 60
OPS = ("a", "b", "c")
NOW_US = T0_US + 30 * 24 * HOUR_US


def messages_of(rng: Random) -> list[Json]:
    """Starts and ends of some calls of two minutes: many collide in time, latency and cost; some come twice."""
    messages = []
    for number in range(rng.randrange(5, 60)):
        begun_us = T0_US + rng.randrange(120) * 1_000_000 + rng.choice((0, 0, 500_000))
        start = {
            "project_id": PROJECT,
            "id": f"call-{number}",
            "op_name": rng.choice(OPS),
            "started_at": format_utc(begun_us),
            "trace_id": f"trace-{number % 7}",
        }
        if number and rng.random() < 0.3:  # what is below a call may count as its own until the call below comes
            start |= {"parent_id": f"call-{rng.randrange(number)}", "trace_id": "trace-0"}
        usage = {"gpt-4o": {"prompt_tokens": rng.choice((1, 10, 100)), "completion_tokens": 1}}
        end = {
            "project_id": PROJECT,
            "id": f"call-{number}",
            "ended_at": format_utc(begun_us + rng.choice((1_000, 2_000, 5_000, 90_000_000))),
            "exception": rng.choice((None, None, "Timeout: no answer")),
            "summary": rng.choice(({}, {"usage": usage}, {"usage": usage})),
        }
        messages += [{"start": start}] + [{"end": end}] * (rng.random() < 0.9)
    messages += rng.sample(messages, len(messages) // 4)
    rng.shuffle(messages)
    return messages


def questions(rng: Random) -> list[ExamplesQuestion]:
    """All orders, over ops and windows; some windows cut their minutes."""
    found = []
    for order in ORDERS:
        ops = rng.choice((None, None, ("a",), ("b",), ("a", "c"), ("missing",)))
        begin_us = T0_US + rng.choice((0, 0, -MINUTE_US, 20_500_000))
        end_us = T0_US + rng.choice((2 * MINUTE_US, HOUR_US, 90_000_000))
        asked = CallFilter(op_names=ops, wb_user_ids=None)
        found.append(ExamplesQuestion(PROJECT, begin_us, end_us, asked, order, rng.randrange(1, 6)))
    return found


def answered(redis_url: str, asked: Sequence[ExamplesQuestion]) -> list[Json]:
    """Returns what the endpoint answers."""

    async def run() -> list[Json]:
        client = redis.asyncio.Redis.from_url(redis_url)
        reader = StoreReader(client, "callmeter")
        project = await reader.open_project(PROJECT)
        bodies = [await answer_examples(reader, project, one, NOW_US, KEEP_ALL, no_link) for one in asked]
        await client.aclose()
        return list(map(json.loads, bodies))

    return asyncio.run(run())


def expected(model_calls: Any, prices: PriceList, one: ExamplesQuestion) -> Json:
    """Returns what a look at all calls answers."""
    request = {
        "project_id": PROJECT,
        "start": format_utc(one.start_us),
        "end": format_utc(one.end_us),
        "kind": one.order.value,
        "limit": one.limit,
        "filter": {} if one.filter.op_names is None else {"op_names": list(one.filter.op_names)},
    }
    return brute_force.answer_examples(model_calls, prices, request)


def ranks(answer: Json) -> list[Any]:
    """Returns what was promised of the order: which calls, or how slow or dear they are."""
    rank = {"slowest": "latency_ms", "dearest": "cost"}.get(answer["kind"], "id")
    return [answer["complete"], *(call[rank] for call in answer["calls"])]


def test_they_are_those_of_a_look_at_all_calls(redis_url: str) -> None:
    """Answers are right in any order and batches, with repeats, late ends, crashes between batches, sealed blocks."""
    client = redis.Redis.from_url(redis_url)
    prices = PriceList.from_file(CASES / "prices.yaml")

    @settings(max_examples=EXAMPLES, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**32))
    def check(seed: int) -> None:
        rng = Random(seed)
        client.flushall()
        seal_after_s = rng.choice((None, -10 * DAY_S))
        limits = ShardLimits(
            seal_after_s=seal_after_s, busy_calls_min=rng.randrange(1, 12), first_calls_max=rng.randrange(1, 6)
        )
        shard = open_shard(client, limits)
        messages = messages_of(rng)
        done = 0
        while done < len(messages):
            batch = messages[done : done + rng.choice((1, 3, 10, 40))]
            if rng.random() < 0.3:
                shard = open_shard(client, limits)
            apply(shard, [event for events in decoded(batch) for event in events])
            done += len(batch)
            if done >= len(messages) or rng.random() < 0.2:
                model = fold([json.dumps(one).encode() for one in messages[:done]], prices, NOW)
                calls = list(model.calls.started(PROJECT).values())
                asked = questions(rng)
                for one, answer in zip(asked, answered(redis_url, asked), strict=True):
                    assert ranks(answer) == ranks(expected(calls, prices, one)), (seed, one)

    check()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("op_name", [None, "rare"])
def test_few_calls_of_a_busy_minute_are_read(redis_url: str, order: Order, op_name: str | None) -> None:
    """However many a minute has: those kept are enough, of all calls and of an op that few are of."""
    shard = open_shard(redis.Redis.from_url(redis_url), ShardLimits(busy_calls_min=1_000))
    events = [
        complete(
            str(number),
            number / 50,
            number / 50 + number % 997,
            {"gpt-4o": tokens(number % 1_009)},
            op_name="rare" if number % 600 == 7 else f"op-{number % 5}",
        )
        for number in range(3_000)
    ]
    for at in range(0, 3_000, 500):
        apply(shard, events[at : at + 500])
    apply(shard, [start("failed", 1, op_name="rare"), end("failed", 2, failed=True)])
    limits = RankingLimits(calls_read_max=250, newest_calls_read_max=250)

    async def run() -> tuple[list[str], bool]:
        client = redis.asyncio.Redis.from_url(redis_url)
        reader = StoreReader(client, "callmeter")
        project = await reader.open_project(PROJECT)
        asked = CallFilter(op_names=None if op_name is None else (op_name,))
        question = ExamplesQuestion(PROJECT, T0_US, T0_US + MINUTE_US, asked, order, 20)
        ranking, is_complete = await rank_examples(reader, project, question, NOW_US, KEEP_ALL, limits=limits)
        await client.aclose()
        return [unpack_id(one.call.packed_id) for one in ranking.first], is_complete

    found, is_complete = asyncio.run(run())
    assert is_complete
    if order is Order.FAILING:
        assert found == ["failed"]
    else:
        assert len(found) == (20 if op_name is None else 5 if order is Order.DEAREST else 6)
