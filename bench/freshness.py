"""Freshness: how long from producing an event until an answer shows it, while many others come in.

A probe is one complete call, produced to the topic that is being filled at the given rate; its usage is then asked for
over and over until it is there. The time is taken from the moment the producer is given the probe.
"""

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from bench.asking import Asker
from bench.feeding import Feeding, live_lines
from bench.measuring import Line, Target, ours_at_most, percentile_in_parts
from bench.scale import Scale, tell
from bench.stage import Stage
from ingest.producer import EventProducer

PROJECT = "acme/probes"
PARTITIONS = 4
ASK_AGAIN_S = 0.002
# A worker that falls behind is never fresh again; what has been measured until then says so.
PROBING_S_MAX = 90.0
WARM_UP_S = 2.0
P99_S_MAX = 1.0


def run(scale: Scale) -> Iterator[Line]:
    """At two rates, each with a worker and an api of its own."""
    with Stage() as stage:
        for events_per_s, target in ((1_000, None), (20_000, ours_at_most(P99_S_MAX * 1000))):
            yield from _at_rate(stage, max(100, events_per_s // scale.divisor), scale.amount(300, 40), target)


def _at_rate(stage: Stage, events_per_s: int, probes: int, target: Target | None) -> Iterator[Line]:
    topic = stage.new_topic(PARTITIONS)
    worker = stage.worker(topic)
    worker.start_until_logged("partition assigned")
    api, address = stage.api(topic)
    tell(f"{probes} probes at {events_per_s:,} events/s")
    with Feeding(stage.bootstrap_servers, topic, live_lines(datetime.now(UTC), events_per_s), events_per_s) as feeding:
        time.sleep(WARM_UP_S)
        taken = _probe(stage, topic, address, probes, feeding)
    stage.forget(topic, worker)
    api.stop()
    for wanted in (50, 99):
        number, for_number = percentile_in_parts(taken, wanted), target if wanted == 99 else None
        yield Line(f"fresh at {events_per_s:,} events/s: p{wanted}", "ms", number, target=for_number)


def _probe(stage: Stage, topic: str, address: str, probes: int, feeding: Feeding) -> list[float]:
    """Milliseconds until each probe was seen, or, for the last one, until PROBING_S_MAX were over."""
    asker = Asker(address)
    taken: list[float] = []
    with EventProducer(stage.bootstrap_servers, {"linger.ms": 5}) as producer:
        until_s = time.perf_counter() + PROBING_S_MAX
        while len(taken) < probes and time.perf_counter() < until_s:
            feeding.check()
            call_id = uuid.uuid4().hex
            question = msgspec.json.encode({"project_id": PROJECT, "call_ids": [call_id]})
            begun_s = time.perf_counter()
            producer.produce(topic, call_id, _complete(call_id, datetime.now(UTC)))
            producer.poll()
            while b"prompt_tokens" not in asker.ask("/calls/usage", question) and time.perf_counter() < until_s:
                time.sleep(ASK_AGAIN_S)
            taken.append((time.perf_counter() - begun_s) * 1000)
    asker.close()
    return taken


def _complete(call_id: str, now: datetime) -> bytes:
    """A message with a whole call that has used something."""
    usage = {"gpt-4o": {"prompt_tokens": 10, "completion_tokens": 1}}
    call = {"project_id": PROJECT, "id": call_id, "op_name": "probe", "started_at": now, "ended_at": now}
    return msgspec.json.encode({"complete": {**call, "summary": {"usage": usage}}})
