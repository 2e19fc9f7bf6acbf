"""The made-up stream obeys the laws of a real one: every event is valid, calls nest, sums add up, bursts show."""

import json
from collections import Counter, defaultdict
from itertools import pairwise, takewhile
from random import Random
from typing import Any

import pytest

from aggregator.time_units import MINUTE_US
from callmeter.local.agent_traces import TimedEvent, agent_traces, failing_provider
from ingest.decoding.single import decode_message

BEGIN_US = 1_781_049_600_000_000  # 2026-06-10T00:00Z
MINUTES = 30
CALLS_PER_SECOND = 10


@pytest.fixture(scope="module")
def events() -> list[TimedEvent]:
    """Half an hour of events, with those of the traces still running cut off."""
    stream = agent_traces(Random(1), "demo/agents", BEGIN_US, CALLS_PER_SECOND)
    return list(takewhile(lambda event: event.at_us < BEGIN_US + MINUTES * MINUTE_US, stream))


Calls = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def starts(events: list[TimedEvent]) -> Calls:
    """The start of each call, by its id."""
    return {timed.event["start"]["id"]: timed.event["start"] for timed in events if "start" in timed.event}


@pytest.fixture(scope="module")
def ends(events: list[TimedEvent]) -> Calls:
    """The end of each call that has ended, by its id."""
    return {timed.event["end"]["id"]: timed.event["end"] for timed in events if "end" in timed.event}


def test_time_goes_forward(events: list[TimedEvent]) -> None:
    """Events come in the order in which they happen, from the beginning on."""
    assert events[0].at_us >= BEGIN_US
    assert all(before.at_us <= after.at_us for before, after in pairwise(events))


def test_every_event_decodes(events: list[TimedEvent]) -> None:
    """The worker takes every event as valid."""
    for timed in events[:5000]:
        decoded = decode_message(json.dumps(timed.event).encode(), timed.at_us)
        assert not decoded.invalid
        assert len(decoded.events) == 1


def test_calls_nest(starts: Calls, ends: Calls) -> None:
    """A call starts before it ends, within its parent, in the same trace; the root has none."""
    assert ends.keys() <= starts.keys()
    for call, end in ends.items():
        start = starts[call]
        assert start["started_at"] == end["started_at"]
        assert start["started_at"] <= end["ended_at"]
        if start["parent_id"] is not None:
            parent = starts[start["parent_id"]]
            assert parent["trace_id"] == start["trace_id"]
            assert parent["started_at"] <= start["started_at"]
            assert start["parent_id"] not in ends or end["ended_at"] <= ends[start["parent_id"]]["ended_at"]
    roots = Counter(start["trace_id"] for start in starts.values() if start["parent_id"] is None)
    assert set(roots.values()) == {1}
    assert roots.keys() == {start["trace_id"] for start in starts.values()}


def test_some_events_come_twice(events: list[TimedEvent], starts: Calls, ends: Calls) -> None:
    """A few events are repeated, unchanged, as retries repeat them."""
    repeated = len(events) - len(starts) - len(ends)
    assert 0 < repeated < len(events) / 100
    assert len({json.dumps(timed.event) for timed in events}) == len(starts) + len(ends)


def test_a_parent_sums_up_its_children(starts: Calls, ends: Calls) -> None:
    """A parent's summary holds the sum of its children's, and says so by its status counts."""
    children: dict[str, list[str]] = defaultdict(list)
    for call in ends:
        if starts[call]["parent_id"] is not None:
            children[starts[call]["parent_id"]].append(call)
    parents = [call for call in children if call in ends]
    assert len(parents) > 1000
    for parent in parents:
        counted = [ends[child]["summary"]["status_counts"] for child in children[parent]]
        own = ends[parent]["summary"]["status_counts"]
        assert own["success"] + own["error"] == 1 + sum(count["success"] + count["error"] for count in counted)
        requests: Counter[str] = Counter()
        for child in children[parent]:
            for model, usage in ends[child]["summary"]["usage"].items():
                requests[model] += usage["requests"]
        assert {m: u["requests"] for m, u in ends[parent]["summary"]["usage"].items()} == requests


def test_what_a_dashboard_shows(starts: Calls, ends: Calls) -> None:
    """All four models and several users appear, calls come at about the rate asked for, caches are hit."""
    leaves = [end for end in ends.values() if sum(end["summary"]["status_counts"].values()) == 1]
    models = {model for end in leaves for model in end["summary"]["usage"]}
    assert models == {"gpt-4o", "gpt-4o-mini", "claude-sonnet-4", "gemini-2.5-flash"}
    assert len({start["wb_user_id"] for start in starts.values()}) > 10
    assert len(starts) == pytest.approx(MINUTES * 60 * CALLS_PER_SECOND, rel=0.15)
    assert any(end["summary"]["usage"].get("claude-sonnet-4", {}).get("cache_read_input_tokens") for end in leaves)


def test_bursts_of_failures(ends: Calls, events: list[TimedEvent]) -> None:
    """A provider breaks down in the last minute of three; errors are many then, and few else, and retries follow."""
    failing = [failing_provider(BEGIN_US + minute * MINUTE_US) is not None for minute in range(6)]
    assert failing == [False, False, True] * 2
    calls, errors = Counter[bool](), Counter[bool]()
    for timed in events:
        if "end" in timed.event:
            burst = failing_provider(timed.at_us) is not None
            calls[burst] += 1
            errors[burst] += timed.event["end"]["exception"] is not None
    assert errors[True] / calls[True] > 5 * errors[False] / calls[False]
    assert errors[False] > 0


def test_the_same_seed_tells_the_same_story() -> None:
    """The generator and the time alone decide what comes."""
    first, second = (agent_traces(Random(7), "p", BEGIN_US, 5) for _ in range(2))
    assert [next(first) for _ in range(1000)] == [next(second) for _ in range(1000)]
