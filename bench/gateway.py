"""What the gateway takes a second with acknowledgement, and what a span costs a worker beside an event of ours."""

import asyncio
import json
import statistics
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import uvicorn
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from aggregator.time_units import DAY_US
from aggregator.writing.limits import ShardLimits
from api.http.connection import ConnectionLimits
from api.server import http_config
from callmeter.gateway_app import gateway_app
from callmeter.local.embedded_broker import EmbeddedBroker
from callmeter.local.embedded_redis import EmbeddedRedis
from callmeter.local.loopback_port import LOOPBACK, free_loopback_port
from callmeter.settings import KafkaSettings, Settings
from ingest.decoding.batch import decode_batch
from tests.pipeline.in_process import Batch, InProcess
from tests.support.dialects import BEGIN_US, calls, own_events, span
from tests.support.spans import one_resource, protobuf

CALLS_OF_BODY = 100
CONNECTIONS = 8
RUN_S = 10.0
SPANS = 5_000


def decoding_us() -> dict[str, float]:
    """Microseconds of processor time to decode one event of ours, and one span of the same content; the best of 5."""
    given = calls(SPANS)
    own = [json.dumps({"complete": start | end}).encode() for start, end in map(own_events, given)]
    spans = [span(call, "gen_ai") for call in given]
    otlp = [protobuf(one_resource(*spans[at : at + 50])) for at in range(0, SPANS, 50)]
    return {"event": _best_us(own), "span": _best_us(otlp)}


def folding_us() -> dict[str, float]:
    """Returns how long an event takes from the message to Redis, in the worker's own processor time; the best of 3."""
    given = calls(SPANS)
    own = [json.dumps({"complete": start | end}).encode() for start, end in map(own_events, given)]
    spans = [span(call, "gen_ai") for call in given]
    otlp = [protobuf(one_resource(*spans[at : at + 50])) for at in range(0, SPANS, 50)]
    with TemporaryDirectory() as directory:
        server = EmbeddedRedis(Path(directory))
        server.start()
        try:
            with InProcess(server.url, datetime(2026, 6, 11, tzinfo=UTC)) as product:
                return {"event": _folded_us(product, own), "span": _folded_us(product, otlp)}
        finally:
            server.stop()


def _folded_us(product: InProcess, values: list[bytes]) -> float:
    took_s = []
    for _ in range(3):
        began_s = time.process_time()
        product.fold([[Batch(values, restart=False)]], ShardLimits())
        took_s.append(time.process_time() - began_s)
    return min(took_s) / SPANS * 1e6


def _best_us(values: list[bytes]) -> float:
    took_s = []
    for _ in range(5):
        began_s = time.process_time()
        batch = decode_batch(values, [BEGIN_US + DAY_US] * len(values), 10**15)
        took_s.append(time.process_time() - began_s)
        assert len(batch.events) == SPANS
    return min(took_s) / SPANS * 1e6


def calls_per_s(path: str, body: bytes, headers: dict[str, str]) -> dict[str, float]:
    """Returns what an embedded broker takes: acknowledged calls a second, the answer's median time in milliseconds, and
    the processor time of a call in microseconds, which on a busy machine says more; both with the load's own part."""
    with TemporaryDirectory() as directory:
        broker = EmbeddedBroker(Path(directory))
        broker.start()
        topic = f"gateway-{uuid.uuid4().hex}"
        admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
        admin.create_topics([NewTopic(topic, 4, 1)])[topic].result(10)
        settings = Settings(kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers, topics=(topic,)))
        with gateway_app(settings, auth=False) as app:
            port = free_loopback_port()
            config = http_config(app, ConnectionLimits(), "warning")
            config.host, config.port = LOOPBACK, port
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run)
            thread.start()
            try:
                return _loaded(f"http://{LOOPBACK}:{port}{path}", body, headers, lambda: server.started)
            finally:
                server.should_exit = True
                thread.join()
                broker.kill()


def _loaded(url: str, body: bytes, headers: dict[str, str], is_ready: Callable[[], bool]) -> dict[str, float]:
    while not is_ready():
        time.sleep(0.01)

    async def load() -> dict[str, float]:
        answered_ms: list[float] = []
        until_s = time.monotonic() + RUN_S

        async def send(client: httpx.AsyncClient) -> None:
            while time.monotonic() < until_s:
                began_s = time.monotonic()
                response = await client.post(url, content=body, headers=headers)
                response.raise_for_status()
                answered_ms.append((time.monotonic() - began_s) * 1e3)

        async with httpx.AsyncClient(timeout=60) as client:
            began_s, began_cpu_s = time.monotonic(), time.process_time()
            await asyncio.gather(*(send(client) for _ in range(CONNECTIONS)))
            took_s, cpu_s = time.monotonic() - began_s, time.process_time() - began_cpu_s
        sent = len(answered_ms) * CALLS_OF_BODY
        return {"calls_per_s": sent / took_s, "p50_ms": statistics.median(answered_ms), "cpu_us": cpu_s / sent * 1e6}

    return asyncio.run(load())


def main() -> None:
    """Measure and print; the load is made in the same process, so the gateway alone is faster."""
    given = calls(CALLS_OF_BODY)
    batch = json.dumps({"batch": [start | end for start, end in map(own_events, given)]}).encode()
    spans = protobuf(one_resource(*[span(call, "gen_ai") for call in given]))
    results: dict[str, Any] = {
        "decoding_us": decoding_us(),
        "folding_us": folding_us(),
        "weave": calls_per_s("/v2/acme/agents/calls/complete", batch, {}),
        "otlp": calls_per_s("/v1/traces", spans, {"content-type": "application/x-protobuf"}),
    }
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
