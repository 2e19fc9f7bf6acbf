"""A month of calls in Redis, folded in this process: one project, five models, half of the calls with usage.

One trace in sixteen belongs to a run, one call in sixteen puts out a ref, so that every filter finds something.
"""

import gc
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import NamedTuple

import msgspec

from aggregator.calls.event import Event
from aggregator.layout.keys import ShardName
from aggregator.prices.book import PriceBook
from aggregator.prices.catalogue import PriceCatalogue
from aggregator.rollups.levels import Retention
from aggregator.store.connection import connect
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_S
from aggregator.writing.limits import ShardLimits
from aggregator.writing.shard import Shard
from bench.generator import GeneratorSettings, generate
from bench.scale import watched
from bench.stage import key_and_value
from ingest.decoding.single import decode_message

DAYS = 30
PROJECT = "acme/project-0"
# A dozen names: what a dashboard's list shows. Every combination that occurs is rolled up.
OPS, USERS = 6, 5
BATCH_EVENTS = 50_000
RETENTION = Retention(calls_s=32 * DAY_S, minutes_s=32 * DAY_S)
SAMPLE_BEFORE_END = timedelta(hours=12)


class Sample(NamedTuple):
    """A call of the last day that has all that filters ask for, and the refs it goes with."""

    call_id: str
    trace_id: str
    parent_id: str
    thread_id: str
    turn_id: str
    user_id: str
    run_id: str
    op_name: str
    input_ref: str
    output_ref: str


def month_until(end: datetime, calls: int) -> GeneratorSettings:
    """Returns so many calls in the DAYS before `end`."""
    return GeneratorSettings(calls, end - timedelta(days=DAYS), DAYS, message_bytes=0, ops=OPS, users=USERS)


def month_lines(settings: GeneratorSettings) -> Iterator[bytes]:
    """The generator's lines, with a bar."""
    return watched(generate(settings), 2 * settings.calls, f"events of {settings.calls:,} calls in {DAYS} days")


def events_of(lines: Iterable[bytes], end: datetime) -> Iterator[Event]:
    """Decoded, with runs and output refs."""
    now_us = int(end.timestamp() * 1e6)
    for line in lines:
        [event] = decode_message(key_and_value(line)[1], now_us).events
        start, ending = event.start, event.end
        if start is not None and start.trace_id is not None and start.trace_id.endswith("0"):
            start = msgspec.structs.replace(start, run_id=f"run-{start.trace_id[-2]}")
        if ending is not None and event.call_id.endswith("0"):
            ref = f"weave:///{PROJECT}/object/Answer:v{event.call_id[-3:]}"
            ending = msgspec.structs.replace(ending, output_refs=(ref,))
        yield msgspec.structs.replace(event, start=start, end=ending)


def prices() -> PriceBook:
    """Prices of public models."""
    return PriceBook(None, PriceCatalogue())


def fold(
    redis_url: str, shard: ShardName, events: Iterable[Event], end: datetime, limits: ShardLimits | None = None
) -> None:
    """Into a shard whose next offset is then 0, so that a worker can go on with an empty topic."""
    client = connect(redis_url)
    writer = Shard(ShardStore(client, shard), prices(), RETENTION, limits or ShardLimits())
    now_us = int(end.timestamp() * 1e6)
    rest = iter(events)
    gc.disable()  # only this loading, never a measurement, runs without
    try:
        while batch := list(islice(rest, BATCH_EVENTS)):
            writer.apply(batch, 0, now_us, now_us, {})
    finally:
        gc.enable()
        client.close()


class Sampled:
    """Passes events on and keeps a call to filter by, SAMPLE_BEFORE_END before the end."""

    def __init__(self, events: Iterable[Event], end: datetime) -> None:
        self._events = events
        self._from_us = int((end - SAMPLE_BEFORE_END).timestamp() * 1e6)
        self._started: Event | None = None
        self._output_ref = ""
        self._run_id = ""

    def __iter__(self) -> Iterator[Event]:
        for event in self._events:
            start, ending = event.start, event.end
            if start is not None and start.started_at_us >= self._from_us:
                self._run_id = self._run_id or start.run_id or ""
                if self._started is None and start.parent_id is not None and ".op-" in start.op_name:
                    self._started = event
            if ending is not None and ending.ended_at_us >= self._from_us and ending.output_refs:
                self._output_ref = self._output_ref or ending.output_refs[0]
            yield event

    def sample(self) -> Sample:
        """Returns what was kept; everything must have been passed on before."""
        assert self._started is not None, "the last half day has no call to filter by; fold more calls"
        start = self._started.start
        assert start is not None
        return Sample(
            self._started.call_id,
            start.trace_id or "",
            start.parent_id or "",
            start.thread_id or "",
            start.turn_id or "",
            start.user_id or "",
            self._run_id,
            start.op_name,
            start.input_refs[0],
            self._output_ref,
        )


def last_minute() -> datetime:
    """The end of the month: not long ago, and 34 seconds into a minute, as most requests are."""
    return datetime.now(UTC).replace(second=34, microsecond=0) - timedelta(minutes=1)
