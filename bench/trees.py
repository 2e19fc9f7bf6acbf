"""Traces of given sizes as events, and what `/calls/usage` is asked about them."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from aggregator.calls.event import CallEnd, CallStart, Event, UsageCounts
from bench.scale import watched

PROJECT = "acme/trees"
CHILDREN = 10
USAGE = {"gpt-4o": UsageCounts(1_000, 200, 1_200, 0, 0, 1)}


def tree_events(name: str, traces: int, calls: int, end: datetime) -> Iterator[Event]:
    """Returns so many traces of so many calls each, all finished; every call but the first has a parent, up to
    CHILDREN."""
    started_us = int((end - timedelta(minutes=30)).timestamp() * 1e6)
    what = f"calls in {traces:,} traces of {calls:,}"
    for number in watched(range(traces * calls), traces * calls, what):
        trace, place = divmod(number, calls)
        parent = f"{name}-{trace}-{(place - 1) // CHILDREN}" if place else None
        yield Event(
            PROJECT,
            f"{name}-{trace}-{place}",
            CallStart("agent.step", started_us, f"{name}-{trace}", parent),
            CallEnd(started_us + 1_500_000, False, USAGE if place % 2 else {}),
        )


def usage_body(name: str, traces: int) -> bytes:
    """A request for the roots of all these traces."""
    roots = [f"{name}-{trace}-0" for trace in range(traces)]
    return msgspec.json.encode({"project_id": PROJECT, "call_ids": roots, "include_costs": True})
