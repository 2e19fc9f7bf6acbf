"""The first calls of busy minutes, as workers keep them while they fold: the same as a look at all calls, and cheap."""

import asyncio
import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest
import redis
import redis.asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from aggregator.calls.event import Event
from aggregator.objects.frame_cache import FrameCache
from aggregator.objects.object_store import ObjectStore
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
from tests.support.folding import KEEP_ALL, PROJECT, T0_US, apply, decoded, end, open_shard, start, tokens
from tests.support.moving import FailingStore, check_pointers, open_moving
from tests.support.paths import CASES
from tests.support.sealing import seal_all
from tests.support.strategies import NOW

Json = dict[str, Any]
EXAMPLES = 60
OPS = ("a", "b", "c", "op:v1", "op:v2")
USERS = ("ann", "bob", "c")
RUNS = ("run-1", "run-2")
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
        if rng.random() < 0.6:
            start["wb_user_id"] = rng.choice(USERS)
        if rng.random() < 0.3:
            start["wb_run_id"] = rng.choice(RUNS)
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
    """All orders, over ops, users, runs, roots, and what they have in common; some windows cut their minutes."""
    found = []
    for order in ORDERS:
        begin_us = T0_US + rng.choice((0, 0, -MINUTE_US, 20_500_000))
        end_us = T0_US + rng.choice((2 * MINUTE_US, HOUR_US, 90_000_000))
        ops = rng.choice((("a",), ("b",), ("a", "c"), ("op:*",), ("missing",)))
        user, run = rng.choice((("ann",), ("bob", "c"))), rng.choice((("run-1",), ("run-2", "gone")))
        asked = CallFilter(
            op_names=rng.choice((None, ops)),
            wb_user_ids=rng.choice((None, None, user)),
            wb_run_ids=rng.choice((None, None, None, run)),
            trace_roots_only=rng.random() < 0.2,
        )
        found.append(ExamplesQuestion(PROJECT, begin_us, end_us, asked, order, rng.randrange(1, 9)))
    return found


def answered(redis_url: str, asked: Sequence[ExamplesQuestion], objects: ObjectStore | None = None) -> list[Json]:
    """Returns what the endpoint answers."""

    async def run() -> list[Json]:
        client = redis.asyncio.Redis.from_url(redis_url)
        reader = StoreReader(client, "callmeter", frames=FrameCache(objects))
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
        "filter": {
            **{
                name: list(values)
                for name in ("op_names", "wb_user_ids", "wb_run_ids")
                if (values := getattr(one.filter, name)) is not None
            },
            "trace_roots_only": one.filter.trace_roots_only,
        },
    }
    return brute_force.answer_examples(model_calls, prices, request)


def ranks(answer: Json) -> list[Any]:
    """Returns what was promised of the order: which calls, or how slow or dear they are."""
    rank = {"slowest": "latency_ms", "dearest": "cost"}.get(answer["kind"], "id")
    return [answer["complete"], *(call[rank] for call in answer["calls"])]


@pytest.mark.parametrize("is_moved", [False, True])
def test_they_are_those_of_a_look_at_all_calls(is_moved: bool, redis_url: str, tmp_path: Path) -> None:
    """Answers are right in any order and batches, with repeats, late ends, crashes between batches, sealed blocks, and
    where what is kept has moved into objects and comes back when it changes.
    """
    client = redis.Redis.from_url(redis_url)
    objects = FailingStore(tmp_path) if is_moved else None
    prices = PriceList.from_file(CASES / "prices.yaml")

    @settings(max_examples=EXAMPLES, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**32))
    def check(seed: int) -> None:
        rng = Random(seed)
        client.flushall()
        seal_after_s = rng.choice((None, -10 * DAY_S))
        limits = ShardLimits(
            seal_after_s=seal_after_s,
            busy_calls_min=rng.randrange(1, 12),
            first_calls_max=rng.randrange(1, 6),
            views_max=rng.choice((2_000, 2_000, 4)),
            move_after_s=-10 * DAY_S,
        )
        shard = open_moving(client, objects, limits)
        messages = messages_of(rng)
        done = 0
        while done < len(messages):
            batch = messages[done : done + rng.choice((1, 3, 10, 40))]
            if rng.random() < 0.3:
                shard = open_moving(client, objects, limits)
            if rng.random() < 0.3:
                seal_all(shard)
            apply(shard, [event for events in decoded(batch) for event in events])
            done += len(batch)
            if done >= len(messages) or rng.random() < 0.2:
                model = fold([json.dumps(one).encode() for one in messages[:done]], prices, NOW)
                calls = list(model.calls.started(PROJECT).values())
                asked = questions(rng)
                for one, answer in zip(asked, answered(redis_url, asked, objects), strict=True):
                    assert ranks(answer) == ranks(expected(calls, prices, one)), (seed, one)
        if objects is not None:
            check_pointers(client, objects)

    check()


FILTERS = {
    "none": CallFilter(),
    "op": CallFilter(op_names=("op-1",)),
    "rare op": CallFilter(op_names=("rare",)),
    "user": CallFilter(wb_user_ids=("user-1",)),
    "rare user": CallFilter(wb_user_ids=("rare",)),
    "run": CallFilter(wb_run_ids=("run-0",)),
    "roots": CallFilter(trace_roots_only=True),
    "op and user": CallFilter(op_names=("op-1", "op-2"), wb_user_ids=("user-1",)),
    "op and rare user": CallFilter(op_names=("op-1",), wb_user_ids=("rare",)),
}
CALLS = 6_000


def busy_events() -> list[Event]:
    """A minute of many calls, of views with many and with few of them."""
    events = []
    for number in range(CALLS):
        told: Json = {} if number % 3 else {"run_id": f"run-{number % 2}"}
        if number % 4 == 1:
            told["parent_id"] = "somebody"
        op_name, user_id = f"op-{number % 5}", f"user-{number % 7}"
        if number % 600 == 7:
            op_name, user_id = "rare", "rare"
        elif number % 1_000 == 11:
            op_name, user_id = "op-1", "rare"
        began_s = number * 59 / CALLS
        usage = {"gpt-4o": tokens(number % 1_009)}
        told |= {"op_name": op_name, "user_id": user_id}
        events.append(start(str(number), began_s, **told))
        events.append(end(str(number), began_s + number % 997, usage=usage, failed=number % 50 == 0))
    return events


def ranked(
    redis_url: str, asked: Sequence[tuple[CallFilter, Order]], end_us: int, limits: RankingLimits
) -> list[tuple[list[int], bool]]:
    """Returns what the first calls are ranked by, and whether they are complete, of each filter and order."""

    async def run() -> list[tuple[list[int], bool]]:
        client = redis.asyncio.Redis.from_url(redis_url)
        reader = StoreReader(client, "callmeter")
        project = await reader.open_project(PROJECT)
        found = []
        for wanted, order in asked:
            question = ExamplesQuestion(PROJECT, T0_US, end_us, wanted, order, 60)
            ranking, is_complete = await rank_examples(reader, project, question, NOW_US, KEEP_ALL, limits=limits)
            found.append(([one.rank for one in ranking.first], is_complete))
        await client.aclose()
        return found

    return asyncio.run(run())


def test_few_calls_of_a_busy_minute_are_read(redis_url: str) -> None:
    """However many a minute has: those kept are enough, of views that many are of, and else those of the view."""
    client, events = redis.Redis.from_url(redis_url), busy_events()
    asked = list(product(FILTERS.values(), ORDERS))
    found = []
    for busy_calls_min, calls_read_max in ((CALLS + 1, CALLS), (400, 400)):
        client.flushall()
        shard = open_shard(client, ShardLimits(busy_calls_min=busy_calls_min))
        for at in range(0, len(events), 1_000):
            apply(shard, events[at : at + 1_000])
        found.append(ranked(redis_url, asked, T0_US + MINUTE_US, RankingLimits(calls_read_max)))
    everything, kept = found
    assert all(is_complete for _, is_complete in everything)
    assert kept == everything


def test_minutes_that_promise_more_than_they_hold(redis_url: str) -> None:
    """No more of them are looked through than a limit allows, where a full directory does not tell in which minutes a
    user has calls; and the answer says so.
    """
    shard = open_shard(redis.Redis.from_url(redis_url), ShardLimits(busy_calls_min=4, first_calls_max=1, views_max=2))
    for number in range(200):
        begun_s = number // 5 * 60 + number % 5
        user_id = "rare" if number == 199 else ("ann", "bob")[number % 2]
        apply(shard, [start(str(number), begun_s, user_id=user_id), end(str(number), begun_s + 1)])
    asked = [(CallFilter(wb_user_ids=("rare",)), Order.SLOWEST)]
    within, beyond = (RankingLimits(calls_told_max=most) for most in (1_000, 50))
    assert ranked(redis_url, asked, T0_US + HOUR_US, within) == [([1_000], True)]
    assert not ranked(redis_url, asked, T0_US + HOUR_US, beyond)[0][1]


def test_an_op_that_a_full_directory_did_not_admit(redis_url: str) -> None:
    """Calls of such an op are found: their busy minute does not tell which op they are of, so they are looked at."""
    shard = open_shard(redis.Redis.from_url(redis_url), ShardLimits(busy_calls_min=4, first_calls_max=1, views_max=1))
    for number in range(20):
        op_name, user_id = ("first", "second")[number % 2], f"user-{number}"
        apply(shard, [start(str(number), number, op_name=op_name, user_id=user_id), end(str(number), 2 * number)])
    asked = [(CallFilter(op_names=("second",)), order) for order in (Order.SLOWEST, Order.NEWEST)]
    found = ranked(redis_url, asked, T0_US + MINUTE_US, RankingLimits())
    slowest = [number * 1_000 for number in range(19, 0, -2)]
    assert found == [(slowest, True), ([T0_US + number * 1_000 for number in slowest], True)]
