"""Whatever a message holds, a worker under 2 GB never ends, and what follows is counted."""

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.pipeline.pipeline import Pipeline
from tests.pipeline.program import Program
from tests.servers.kafka_server import KafkaServer

ADDRESS_SPACE_KIB = 2_000_000
SURVIVED_S_MAX = 240
NOW = datetime.now(UTC)
PROJECT = "acme/agents"


def call(call_id: str, **more: Any) -> dict[str, Any]:
    """The fields of a complete."""
    at = NOW.isoformat()
    return {
        "project_id": PROJECT, "id": call_id, "op_name": "op", "started_at": at, "ended_at": at, "summary": {}, **more
    }  # fmt: skip


def complete(call_id: str, **more: Any) -> bytes:
    """A message with one call."""
    return json.dumps({"complete": call(call_id, **more)}).encode()


def start(call_id: str, parent_id: str | None) -> dict[str, Any]:
    """A start in one trace."""
    at = NOW.isoformat()
    return {"start": {"project_id": PROJECT, "id": call_id, "op_name": "op", "started_at": at, "trace_id": "t",
                      "parent_id": parent_id}}  # fmt: skip


def usage(models: int, name: str = "m") -> dict[str, Any]:
    """A summary with so many models."""
    return {"usage": {f"{name}-{number}": {"input_tokens": 1} for number in range(models)}}


def bad_elements(_: random.Random) -> Iterator[bytes]:
    """A valid batch of ten million elements that are no events; a few kilobytes when it is compressed."""
    yield b'{"batch":[' + b"0," * 9_999_999 + b"0]}"


def a_deep_chain_with_many_models(_: random.Random) -> Iterator[bytes]:
    """15,000 starts, each below the one before, and the end of the deepest with 1,000 models."""
    starts = [start(f"c{number}", f"c{number - 1}" if number else None) for number in range(15_000)]
    for at in range(0, len(starts), 1_000):
        yield json.dumps({"batch": starts[at : at + 1_000]}).encode()
    end = {"project_id": PROJECT, "id": "c14999", "ended_at": NOW.isoformat(), "summary": usage(1_000)}
    yield json.dumps({"end": end}).encode()


def many_models(_: random.Random) -> Iterator[bytes]:
    """300 messages of 900 models each, none of which has been there before."""
    for number in range(300):
        yield complete(f"models-{number}", summary=usage(900, f"model-{number}"))


def many_refs(_: random.Random) -> Iterator[bytes]:
    """24 MB of refs, none of them twice, in a message and in many."""
    refs = [f"weave:///e/p/object/{'x' * 3_900}{number}:v1" for number in range(6_000)]
    yield complete("refs", inputs=refs)
    for at in range(0, len(refs), 200):
        yield complete(f"refs-{at}", inputs=refs[at : at + 200])


def nested(_: random.Random) -> Iterator[bytes]:
    """Arrays in arrays, a million deep, in a call and before the elements of a batch; and many bad elements."""
    deep = b"[" * 500_000 + b"]" * 500_000
    yield complete("deep", inputs="DEEP").replace(b'"DEEP"', deep)
    yield b'{"deep":' + deep + b',"batch":[' + b"{}," * 1_000_000 + b"{}]}"
    yield b'{"batch":[' + b"{}," * 150_000 + b'{"a":NaN}]}'
    yield b'{"batch":[' + b"{}," * 150_000


def wide_usage(_: random.Random) -> Iterator[bytes]:
    """Usage with millions of models, as one call and as one of a batch."""
    models = b",".join(b'"%d":{}' % number for number in range(2_000_000))
    one = complete("wide", summary={"usage": "MODELS"}).replace(b'"MODELS"', b"{" + models + b"}")
    yield one
    yield b'{"batch":[' + one + b"]}"


def spread(rng: random.Random) -> Iterator[bytes]:
    """A batch of 12,000 calls, each with another op, user, run and model, in any minute of a month."""
    calls = []
    for number in range(12_000):
        at = (NOW - timedelta(minutes=rng.randrange(40_000))).isoformat()
        calls.append(
            call(f"spread-{number}", op_name=f"op{number}", wb_user_id=f"u{number}", wb_run_id=f"r{number}",
                 started_at=at, ended_at=at, summary=usage(1, f"m{number}"))
        )  # fmt: skip
    yield json.dumps({"batch": calls}).encode()


def noise(rng: random.Random) -> Iterator[bytes]:
    """Anything: random bytes, cut messages, long texts, escapes, huge numbers."""
    whole = complete("noise", summary=usage(3), inputs={"a": ["weave:///x"] * 50})
    for _ in range(300):
        yield rng.randbytes(rng.randrange(2_000))
        yield whole[: rng.randrange(len(whole))]
    yield complete("long", inputs="é" * 8_000_000)
    yield complete("escapes", inputs="E").replace(b'"E"', b'"' + rb"\n" * 6_000_000 + rb'\ud800"')
    yield complete("number", summary={"usage": {"m": {"input_tokens": 1}}}).replace(
        b": 1}", b": 1" + b"0" * 9**7 + b"}"
    )


Poison = Callable[[random.Random], Iterator[bytes]]
POISONS: list[Poison] = [
    bad_elements, a_deep_chain_with_many_models, many_models, many_refs, nested, wide_usage, spread, noise
]  # fmt: skip


def limited(worker: Program) -> Program:
    """The worker, with an address space of 2 GB."""
    worker.command = ["/bin/sh", "-c", f'ulimit -v {ADDRESS_SPACE_KIB}; exec "$@"', "sh", *worker.command]
    return worker


@pytest.mark.timeout(400)
@pytest.mark.parametrize("poison", POISONS, ids=lambda poison: poison.__name__)
def test_a_worker_survives(poison: Poison, kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    """A worker never ends, what follows is counted, and nothing is in doubt: each message is counted once."""
    rng = random.Random(1)
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, {}, partitions=1) as pipeline:
        pipeline.create_topic({"max.message.bytes": "80000000"})
        settings = {
            "compression.type": "gzip",
            "message.max.bytes": 80_000_000,
            "queue.buffering.max.kbytes": 1_000_000,
        }
        producer = Producer({"bootstrap.servers": pipeline.bootstrap_servers, **settings})
        count = 0
        for value in poison(rng):
            producer.produce(pipeline.topic, value, b"k")
            count += 1
            producer.poll(0)
        producer.produce(pipeline.topic, complete("follows"), b"k")
        assert producer.flush(60) == 0
        pipeline.feed.ends[0] = count + 1
        worker = limited(pipeline.worker())
        worker.start_until_logged("worker started")
        pipeline.wait_until_applied(SURVIVED_S_MAX)
        assert pipeline.counters()["messages"] == count + 1
        assert pipeline.redis.hget(pipeline._keys(0).shard, "calls") is not None
        assert worker.terminate() == 0
