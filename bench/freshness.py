"""Freshness: how long from producing an event until an answer shows it, while many others come in.

A probe is one complete call, produced to the topic that is being filled at the given rate; its usage is then asked for
over and over until it is there. Probes go out at fixed times, however long those before them take, so that workers
that stop for a while are late for all that come meanwhile.
"""

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from bench.asking import Asker
from bench.feeding import Feeding, live_messages
from bench.folding import start_sharing
from bench.measuring import Line, Target, ours_at_most, percentile_in_parts
from bench.scale import Scale, tell
from bench.stage import Stage
from ingest.kafka.producer import EventProducer

PROJECT = "acme/probes"
PARTITIONS = 4
PROBE_EVERY_S = 0.1
# A hundredth of what is promised. Asking as fast as the api answers took a seventh of the processors that all share.
ASK_AGAIN_S = 0.01
# Broker, worker and api have just been started, and are slow for some seconds.
WARM_UP_S = 5.0
# Workers that fall behind are never fresh again: what is not seen so long after the last probe counts as that late.
WAIT_S_MAX = 30.0
P99_S_MAX = 1.0


def run(scale: Scale) -> Iterator[Line]:
    """Measures at two rates, each with workers and an api of its own; at the higher one also with a second worker."""
    bound = ours_at_most(P99_S_MAX * 1000)
    with Stage() as stage:
        runs = [(1, 1_000, None), (1, 20_000, bound)] + ([] if scale.short else [(2, 20_000, None)])
        for workers, events_per_s, target in runs:
            events_per_s = max(100, events_per_s // scale.divisor)
            yield from _at_rate(stage, workers, events_per_s, scale.amount(300, 40), target)


def _at_rate(stage: Stage, workers: int, events_per_s: int, probes: int, target: Target | None) -> Iterator[Line]:
    feeding_s = WARM_UP_S + probes * PROBE_EVERY_S + P99_S_MAX
    tell(f"making {events_per_s * feeding_s:,.0f} events")
    messages = live_messages(datetime.now(UTC), events_per_s, feeding_s)
    topic = stage.new_topic(PARTITIONS)
    programs = start_sharing(stage, topic, PARTITIONS, workers)
    api, address = stage.api(topic)
    tell(f"{probes} probes at {events_per_s:,} events/s")
    with Feeding(stage.bootstrap_servers, topic, iter(messages), events_per_s) as feeding:
        time.sleep(WARM_UP_S)
        taken = _probe(stage, topic, address, probes, feeding)
    for program in programs[1:]:
        program.stop()
    stage.forget(topic, programs[0])
    api.stop()
    for wanted in (50, 99):
        number, for_number = percentile_in_parts(taken, wanted), target if wanted == 99 else None
        folded_by = f"{workers} workers" if workers > 1 else "one worker"
        yield Line(f"fresh at {events_per_s:,} events/s, {folded_by}: p{wanted}", "ms", number, target=for_number)


def _probe(stage: Stage, topic: str, address: str, probes: int, feeding: Feeding) -> list[float]:
    """Milliseconds until each probe was seen, or until it was given up, in the order in which they were seen."""
    asker = Asker(address)
    taken: list[float] = []
    waiting: dict[str, float] = {}
    with EventProducer(stage.bootstrap_servers, {"linger.ms": 5}) as producer:
        begun_s = now_s = time.perf_counter()
        until_s = begun_s + probes * PROBE_EVERY_S + WAIT_S_MAX
        while len(taken) < probes and now_s < until_s:
            feeding.check()
            sent = len(taken) + len(waiting)
            if sent < probes and now_s >= begun_s + sent * PROBE_EVERY_S:
                call_id = uuid.uuid4().hex
                waiting[call_id] = time.perf_counter()
                producer.produce(topic, call_id, _complete(call_id, datetime.now(UTC)))
                producer.poll()
            for call_id in _seen(asker, list(waiting)):
                taken.append((time.perf_counter() - waiting.pop(call_id)) * 1000)
            time.sleep(ASK_AGAIN_S)
            now_s = time.perf_counter()
    asker.close()
    return taken + [(now_s - produced_s) * 1000 for produced_s in waiting.values()]


def _seen(asker: Asker, call_ids: list[str]) -> list[str]:
    """Returns the calls whose usage an answer shows."""
    if not call_ids:
        return []
    answer = msgspec.json.decode(
        asker.ask("/calls/usage", msgspec.json.encode({"project_id": PROJECT, "call_ids": call_ids}))
    )
    return [call_id for call_id, by_model in answer["call_usage"].items() if by_model]


def _complete(call_id: str, now: datetime) -> bytes:
    """A message with a whole call that has used something."""
    usage = {"gpt-4o": {"prompt_tokens": 10, "completion_tokens": 1}}
    call = {"project_id": PROJECT, "id": call_id, "op_name": "probe", "started_at": now, "ended_at": now}
    return msgspec.json.encode({"complete": {**call, "summary": {"usage": usage}}})
