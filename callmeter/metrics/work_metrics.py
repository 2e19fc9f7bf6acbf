"""Metrics of what a process does: batches, round trips to Redis, reads of objects. Their number does not grow."""

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

from aggregator.objects.object_store import ForwardingStore, ObjectStore, Span

# From a batch of a few messages to one of 32 MB on a slow machine.
BATCH_BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class StoreMetrics:
    """How often a process asked Redis and the object store. `component`: `worker`, `api`."""

    def __init__(self, registry: CollectorRegistry, component: str) -> None:
        round_trips = Counter(
            "callmeter_redis_round_trips",
            "Sendings to Redis, of one command or many.",
            ("component",),
            registry=registry,
        )
        reads = Counter(
            "callmeter_segment_reads", "Reads of objects that hold sealed rollups.", ("component",), registry=registry
        )
        self.note_round_trip: Callable[[], None] = round_trips.labels(component).inc
        self._note_read: Callable[[], None] = reads.labels(component).inc

    def counted(self, store: ObjectStore | None) -> ObjectStore | None:
        """Return the store with its reads counted."""
        return None if store is None else _CountedStore(store, self._note_read)


class _CountedStore(ForwardingStore):
    def __init__(self, store: ObjectStore, note_read: Callable[[], None]) -> None:
        super().__init__(store)
        self._note_read = note_read

    def read(self, name: str, spans: Sequence[Span]) -> list[bytes]:
        self._note_read()
        return self._store.read(name, spans)

    def read_whole(self, name: str) -> bytes:
        self._note_read()
        return self._store.read_whole(name)


def batch_histogram(registry: CollectorRegistry) -> Histogram:
    """How long batches take, in seconds."""
    return Histogram(
        "callmeter_batch_seconds",
        "Seconds from a batch in hand to all of it folded and sent to Redis.",
        buckets=BATCH_BOUNDS_S,
        registry=registry,
    )
