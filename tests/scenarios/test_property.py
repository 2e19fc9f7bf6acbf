"""Any events in any batches, any question: the product answers what the brute-force model answers."""

import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from aggregator.writing.limits import ShardLimits
from tests.brute_force import Model, PriceList, fold
from tests.pipeline.in_process import Batch, InProcess
from tests.pipeline.lifelike import Question, lifelike_events, lifelike_questions
from tests.support.answers import differences
from tests.support.event_strategies import event_messages
from tests.support.folding import ROOMY, TINY
from tests.support.paths import CASES
from tests.support.question_strategies import stats_requests, trace_usage_requests, usage_requests
from tests.support.strategies import NOW

Json = dict[str, Any]

# 300 datasets, 2,700 questions, with `pytest --hypothesis-profile=full`, some 10 minutes; else a tenth of them.
FULL_PROFILE = "full"
EXAMPLES_FULL, EXAMPLES = 300, 20
STATS_PER_EXAMPLE, USAGE_PER_EXAMPLE, TRACES_PER_EXAMPLE = 6, 2, 1
LIFELIKE_DATASETS, LIFELIKE_EVENTS, LIFELIKE_QUESTIONS = 6, 2_000, 100


class Folding(NamedTuple):
    """What arrives, in the order in which the model counts it, and how the product gets it."""

    messages: list[Json]
    shards: list[list[Batch]]
    limits: ShardLimits


def entries(message: Json) -> list[Json]:
    """A message as messages of one event each."""
    return [{"batch": [entry]} for entry in message["batch"]] if "batch" in message else [message]


def fields_of(message: Json) -> Json:
    """What a message of one event tells of its call."""
    entry: Json = message["batch"][0] if "batch" in message else message
    entry = entry.get("req", entry)
    return next((entry[shape] for shape in ("start", "end", "complete") if shape in entry), entry)


def split_by_trace(messages: list[Json], shard_count: int) -> list[list[Json]]:
    """The messages of one event each by the trace of their call, as `callmeter produce --key trace` spreads them."""
    traces: dict[tuple[str, str], str] = {}
    for fields in map(fields_of, messages):
        if "op_name" in fields:
            trace_id = fields.get("trace_id")
            traces[fields["project_id"], fields["id"]] = fields["id"] if trace_id is None else trace_id
    shards: list[list[Json]] = [[] for _ in range(shard_count)]
    for message in messages:
        fields = fields_of(message)
        key = traces.setdefault((fields["project_id"], fields["id"]), fields["id"])
        shards[sum(key.encode()) % shard_count].append(message)
    return shards


def doubled(messages: list[Json], rng: random.Random) -> list[Json]:
    """The messages with some of them once more, later."""
    again = list(messages)
    for place in sorted(rng.sample(range(len(messages)), rng.randint(0, len(messages))), reverse=True):
        again.insert(rng.randint(place + 1, len(again)), messages[place])
    return again


def batches(messages: list[Json], rng: random.Random, sizes_max: Sequence[int] = (1, 3, 100)) -> list[Batch]:
    """The messages cut into batches, with a restart of the writer now and then."""
    size_max, left, cut = rng.choice(sizes_max), [json.dumps(message).encode() for message in messages], []
    while left:
        size = rng.randint(1, size_max)
        cut.append(Batch(left[:size], rng.random() < 0.3))
        left = left[size:]
    return cut


@st.composite
def foldings(draw: DrawFn) -> Folding:
    """Messages and how they are folded: by one shard as they are, conflicts and all; or spread by trace over some.

    Where order cannot matter, the product gets them in another one than the model.
    """
    rng = random.Random(draw(st.integers(0, 2**32)))
    limits = draw(st.sampled_from([ROOMY, TINY]))
    shard_count = draw(st.integers(1, 3))
    rings = draw(st.booleans())
    if shard_count == 1:
        messages = doubled(draw(event_messages(rings=rings, conflicts=True)), rng)
        return Folding(messages, [batches(messages, rng)], limits)
    drawn = draw(event_messages(rings=rings, conflicts=False))
    messages = doubled([entry for message in drawn for entry in entries(message)], rng)
    arriving = messages if rings else rng.sample(messages, len(messages))
    shards = [batches(shard, rng) for shard in split_by_trace(arriving, shard_count)]
    return Folding(messages, shards, limits)


def questions() -> st.SearchStrategy[list[Question]]:
    """Requests of all kinds; of those of stats about every second asks for roots only."""
    stats = st.tuples(st.just("/calls/stats"), st.builds(of_roots, stats_requests(), st.booleans()))
    usage = st.tuples(st.just("/calls/usage"), usage_requests())
    traces = st.tuples(st.just("/trace/usage"), trace_usage_requests())
    return st.builds(
        lambda some, others, more: some + others + more,
        st.lists(stats, min_size=STATS_PER_EXAMPLE, max_size=STATS_PER_EXAMPLE),
        st.lists(usage, min_size=USAGE_PER_EXAMPLE, max_size=USAGE_PER_EXAMPLE),
        st.lists(traces, min_size=TRACES_PER_EXAMPLE, max_size=TRACES_PER_EXAMPLE),
    )


def of_roots(request: Json, only: bool) -> Json:
    """A request of stats, about roots only if so wanted."""
    filters = request.get("filter") or {}
    return request | {"filter": filters | {"trace_roots_only": True}} if only else request


def mistakes(
    product: InProcess, model: Model, asked: list[Question], now: datetime
) -> list[tuple[Question, list[str]]]:
    """Questions that are answered otherwise than by the model, each with what differs."""
    found = []
    for question, (status, body) in zip(asked, product.ask(asked), strict=True):
        if differing := differences(model.case(*question, now), status, body):
            found.append((question, differing))
    return found


def test_small_datasets(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Few calls that collide in every way: repeated, contradicting each other, in rings, in any order and batches."""
    prices = PriceList.from_file(CASES / "prices.yaml")
    tally: Counter[str] = Counter()
    examples = EXAMPLES_FULL if settings.get_current_profile_name() == FULL_PROFILE else EXAMPLES
    with InProcess(redis_url, NOW) as product:
        # Without shrinking, which takes minutes here; what is found is small, and noted in a form to paste.
        @settings(
            max_examples=examples,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        @given(foldings(), questions())
        def check(folding: Folding, asked: list[Question]) -> None:
            product.fold(folding.shards, folding.limits)
            found = mistakes(product, fold(folding.messages, prices, NOW), asked, NOW)
            if found:
                note(f"shards = {folding.shards!r}")
                note(f"limits = {folding.limits!r}")
                note(f"mistakes = {[(question, differing[:5]) for question, differing in found]!r}")
            assert not found
            tally.update({"answers": len(asked), f"folded by {len(folding.shards)} shards": 1})

        check()
    with capsys.disabled():
        sys.stdout.write(f"\n{dict(tally)}\n")
    assert tally["answers"] >= 0.8 * examples * (STATS_PER_EXAMPLE + USAGE_PER_EXAMPLE + TRACES_PER_EXAMPLE)


@pytest.mark.parametrize("seed", range(LIFELIKE_DATASETS))
def test_lifelike_datasets(seed: int, redis_url: str) -> None:
    """Some hours of agent traces, doubled and shuffled over three shards; percentiles within their rank bound."""
    rng = random.Random(seed)
    events = lifelike_events(rng, LIFELIKE_EVENTS)
    arriving = doubled(rng.sample(events, len(events)), rng) if seed % 2 else events
    shards = [batches(shard, rng, (10, 400)) for shard in split_by_trace(arriving, 1 + seed % 3)]
    model = fold(events, PriceList.from_file(CASES / "prices.yaml"), NOW)
    asked = lifelike_questions(rng, events, LIFELIKE_QUESTIONS)
    with InProcess(redis_url, NOW) as product:
        product.fold(shards, TINY if seed % 4 == 0 else ROOMY)
        assert mistakes(product, model, asked, NOW) == []
