"""What a worker tells of itself: of its own partitions alone, also while Redis is away; and when it is ready."""

import urllib.error
import urllib.request
from collections.abc import Iterable
from contextlib import closing

import pytest
from prometheus_client import CollectorRegistry

from aggregator.store.memory import NodeMemory
from callmeter.metrics.worker_metrics import STEP_AGE_US_MAX, Sources, WorkerCollector, why_unready
from callmeter.metrics.worker_server import serve_metrics
from callmeter.stored_offsets import PartitionProgress
from tests.support.standing_worker import NOW_US, Standing, progress


def away() -> Iterable[PartitionProgress]:
    """Redis does not answer."""
    raise OSError("away")


def unpriced() -> dict[tuple[str, int], dict[str, int]]:
    """Two models without a price, one of them also in the partition that is somebody else's."""
    return {("calls", 0): {"house-1": 4, "house-2": 1}, ("calls", 1): {"house-1": 9}}


def registry_of(worker: Standing, source: object = progress) -> CollectorRegistry:
    """A registry with the worker's collector."""
    registry = CollectorRegistry()
    memories = [NodeMemory("a:1", 80, 100), NodeMemory("b:2", 7, 0)]
    sources = Sources(source, lambda: memories, lambda: {"json": 2, "too_late": 1}, unpriced)  # type: ignore[arg-type]
    registry.register(WorkerCollector(worker, sources, lambda: NOW_US + 500_000))
    return registry


def test_its_partitions_alone() -> None:
    """Lag, age and counters of the partition that is assigned; nothing of the other."""
    registry = registry_of(Standing("reading"))
    labels = {"topic": "calls", "partition": "0"}
    assert registry.get_sample_value("callmeter_lag_messages", labels) == 7
    assert registry.get_sample_value("callmeter_as_of_age_seconds", labels) == 2.5
    assert registry.get_sample_value("callmeter_messages_total", labels) == 93
    assert registry.get_sample_value("callmeter_waiting_ends", labels) == 4
    outcomes = {"applied": 147, "duplicate": 3, "sent_on": 5, "dead_letter": 2}
    for outcome, count in outcomes.items():
        assert registry.get_sample_value("callmeter_events_total", labels | {"outcome": outcome}) == count
    assert registry.get_sample_value("callmeter_lag_messages", labels | {"partition": "1"}) is None
    assert registry.get_sample_value("callmeter_partition_state", labels | {"state": "reading"}) == 1
    assert registry.get_sample_value("callmeter_worker_step_age_seconds") == 0.5


def test_memory_and_reasons() -> None:
    """How full each node of Redis is, where it has a limit; and why events were set aside."""
    registry = registry_of(Standing("reading"))
    assert registry.get_sample_value("callmeter_redis_used_bytes", {"node": "a:1"}) == 80
    assert registry.get_sample_value("callmeter_redis_limit_bytes", {"node": "a:1"}) == 100
    assert registry.get_sample_value("callmeter_redis_used_bytes", {"node": "b:2"}) == 7
    assert registry.get_sample_value("callmeter_redis_limit_bytes", {"node": "b:2"}) is None
    assert registry.get_sample_value("callmeter_invalid_events_total", {"reason": "json"}) == 2


def test_models_without_a_price() -> None:
    """Models without a price are told by name, those of the worker's own partition alone."""
    registry = registry_of(Standing("reading"))
    labels = {"topic": "calls", "partition": "0"}
    name = "callmeter_unpriced_model_calls_total"
    assert registry.get_sample_value(name, labels | {"model": "house-1"}) == 4
    assert registry.get_sample_value(name, labels | {"model": "house-2"}) == 1
    assert registry.get_sample_value(name, {"topic": "calls", "partition": "1", "model": "house-1"}) is None


def test_while_redis_is_away() -> None:
    """The scrape still answers, and says that the sources did not."""
    registry = registry_of(Standing("opening"), away)
    assert registry.get_sample_value("callmeter_invalid_events_total", {"reason": "too_late"}) == 1
    assert registry.get_sample_value("callmeter_sources_up") == 0
    assert registry.get_sample_value("callmeter_lag_messages", {"topic": "calls", "partition": "0"}) is None


@pytest.mark.parametrize(
    ("states", "later_us", "why"),
    [
        (["reading", "idle"], 0, None),
        ([], STEP_AGE_US_MAX, None),
        ([], STEP_AGE_US_MAX + 1, "it finished its last step 30 s ago"),
        (["reading", "refused"], 0, "partitions are not read: calls/1 is refused"),
        (["opening"], 0, "partitions are not read: calls/0 is opening"),
    ],
)
def test_ready(states: list[str], later_us: int, why: str | None) -> None:
    """Ready while it steps and reads all that is its own; at the limit still, beyond it no more."""
    assert why_unready(Standing(*states), NOW_US + later_us) == why


def test_the_server() -> None:
    """/metrics, /health and /ready answer; the last says no, with the reason; anything else is a 404."""
    worker = Standing("reading")
    server = serve_metrics("127.0.0.1", 0, registry_of(worker), lambda: why_unready(worker, NOW_US))

    def get(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with closing(refused):
                return refused.code, refused.read().decode()

    try:
        assert 'callmeter_lag_messages{partition="0",topic="calls"} 7.0' in get("/metrics")[1]
        assert get("/health") == (200, '{"status": "ok"}')
        assert get("/ready") == (200, '{"status": "ok"}')
        worker.states = ("refused",)
        status, body = get("/ready")
        assert status == 503
        assert "calls/0 is refused" in body
        assert get("/calls")[0] == 404
    finally:
        server.shutdown()
        server.server_close()
