"""Round trips and reads of objects are counted where they happen: one for each sending, whatever it holds."""

import asyncio
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from aggregator.objects.object_store import Span
from aggregator.objects.opening import open_store
from aggregator.store.connection import connect, connect_readers
from callmeter.metrics.work_metrics import StoreMetrics


def told(registry: CollectorRegistry, name: str) -> float | None:
    """The value of a counter of the api."""
    return registry.get_sample_value(name, {"component": "api"})


@pytest.mark.single_redis
def test_round_trips_are_counted(redis_url: str) -> None:
    """A pipeline of many commands is one, for a writer and for readers."""
    registry = CollectorRegistry()
    metrics = StoreMetrics(registry, "api")

    def since(before: float | None) -> float:
        return (told(registry, "callmeter_redis_round_trips_total") or 0) - (before or 0)

    client = connect(redis_url, on_round_trip=metrics.note_round_trip)
    client.ping()  # the first one greets, too
    before = told(registry, "callmeter_redis_round_trips_total")
    pipeline = client.pipeline(transaction=False)
    for name in "abc":
        pipeline.get(name)
    pipeline.execute()
    client.get("a")
    assert since(before) == 2

    async def read() -> float:
        readers = connect_readers(redis_url, on_round_trip=metrics.note_round_trip)
        await readers.ping()
        before = told(registry, "callmeter_redis_round_trips_total")
        pipeline = readers.pipeline(transaction=False)
        for name in "ab":
            pipeline.get(name)
        await pipeline.execute()
        await readers.aclose()
        return since(before)

    assert asyncio.run(read()) == 1


def test_reads_of_objects_are_counted(tmp_path: Path) -> None:
    """Parts of one object are one read; writing and listing are none."""
    registry = CollectorRegistry()
    store = StoreMetrics(registry, "api").counted(open_store(f"file://{tmp_path}"))
    assert store is not None
    store.put("a/b", b"0123456789")
    assert store.read("a/b", [Span(0, 2), Span(4, 2)]) == [b"01", b"45"]
    assert store.read_whole("a/b") == b"0123456789"
    assert [one.name for one in store.listed("a/")] == ["a/b"]
    store.delete(["a/b"])
    assert told(registry, "callmeter_segment_reads_total") == 2
    assert StoreMetrics(CollectorRegistry(), "api").counted(None) is None
