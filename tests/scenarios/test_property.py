"""Any events in any batches, any question: the product answers what the brute-force model answers."""

import random
import sys
from collections import Counter
from datetime import datetime

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from tests.brute_force import Model, PriceList, fold
from tests.pipeline.in_process import InProcess
from tests.pipeline.lifelike import Question, lifelike_events, lifelike_questions
from tests.scenarios.foldings import WITHOUT_SHRINKING, Folding, Json, batches, doubled, foldings, split_by_trace
from tests.support.answers import differences
from tests.support.folding import ROOMY, TINY
from tests.support.paths import CASES
from tests.support.question_strategies import stats_requests, trace_usage_requests, usage_requests
from tests.support.strategies import NOW

# 300 datasets, 2,700 questions, with `pytest --hypothesis-profile=full`, some 10 minutes; else a tenth of them.
FULL_PROFILE = "full"
EXAMPLES_FULL, EXAMPLES = 300, 20
FULL_S_MAX = 3_600
STATS_PER_EXAMPLE, USAGE_PER_EXAMPLE, TRACES_PER_EXAMPLE = 6, 2, 1
LIFELIKE_DATASETS, LIFELIKE_EVENTS, LIFELIKE_QUESTIONS = 6, 2_000, 100


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


@pytest.mark.timeout(FULL_S_MAX)
def test_small_datasets(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Few calls that collide in every way: repeated, contradicting each other, in rings, in any order and batches."""
    prices = PriceList.from_file(CASES / "prices.yaml")
    tally: Counter[str] = Counter()
    examples = EXAMPLES_FULL if settings.get_current_profile_name() == FULL_PROFILE else EXAMPLES
    with InProcess(redis_url, NOW) as product:

        @settings(WITHOUT_SHRINKING, max_examples=examples)
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
