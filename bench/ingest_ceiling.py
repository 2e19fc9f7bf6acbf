"""Ingest against its ceiling: the same topic consumed only, consumed and decoded, and folded with everything on.

Events are those of the generator, some 1 KB or 20 KB each, inputs and outputs in them: one project's backlog at 100
calls a second. Redis writes its append-only file (`appendfsync everysec`). Broker, Redis and worker share the machine.
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from statistics import median

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka import Message as KafkaMessage

from bench.folding import Folded, fold
from bench.generator import GeneratorSettings, generate
from bench.measuring import Line, Target, alone, compared, in_turn, ours_at_least, ratio_at_least
from bench.scale import Scale, tell
from bench.stage import Ends, Stage
from ingest.decoding.batch import decode_batch
from ingest.fold_step import message_times
from ingest.kafka.consumer_properties import READ_AHEAD_KIB_MAX, READ_AHEAD_MESSAGES, READ_AHEAD_PAUSE_MS

BATCH = 5_000
CALLS_PER_S = 100
WAIT_S = 10.0
RETAINED_US = 30 * 86_400 * 1_000_000
# A machine whose bare consumer is that fast is one on which the worker has a rate to reach, too.
FAST_CONSUME_PER_S, WORKER_PER_S_MIN = 500_000, 100_000

Touch = Callable[[list[KafkaMessage]], None]


def run(scale: Scale) -> Iterator[Line]:
    """Seven lines for each size of event."""
    with Stage() as stage:
        for name, size, events, targets in (
            ("1 KB", 1_000, scale.amount(1_000_000, 120_000), (ratio_at_least(0.2), None)),
            ("20 KB", 20_000, scale.amount(100_000, 10_000, least=10_000), (None, ratio_at_least(0.5))),
        ):
            yield from _compare(stage, name, size, events, scale.rounds(), targets)


def _compare(
    stage: Stage, name: str, message_bytes: int, events: int, rounds: int, targets: tuple[Target | None, Target | None]
) -> Iterator[Line]:
    topic = stage.new_topic()
    ends = stage.fill(topic, generate(backlog(events, message_bytes=message_bytes)), events, f"events of {name}")
    tell(f"consuming, decoding and folding {events:,} events of {name}, {rounds} rounds")
    folded: list[Folded] = []

    def worker_rate() -> float:
        folded.append(fold(stage, topic, ends))
        return folded[-1].events_per_s

    rates = in_turn(
        rounds,
        {
            "consume": lambda: consume_rate(stage, topic, ends, _touch),
            "decode": lambda: consume_rate(stage, topic, ends, _decode),
            "worker": worker_rate,
        },
    )
    yield compared(f"ingest {name}: decode only / bare consume", "events/s", rates["decode"], rates["consume"])
    yield compared(f"ingest {name}: worker / bare consume", "events/s", rates["worker"], rates["consume"], targets[0])
    yield compared(f"ingest {name}: worker / decode only", "events/s", rates["worker"], rates["decode"], targets[1])
    is_fast = targets[0] is not None and median(rates["consume"]) >= FAST_CONSUME_PER_S
    yield alone(
        f"ingest {name}: worker", "events/s", rates["worker"], ours_at_least(WORKER_PER_S_MIN) if is_fast else None
    )
    costs = {
        "worker": ("elapsed per event", [1e6 / rate for rate in rates["worker"]]),
        "worker_cpu": ("CPU per event", [one.cpu_s_per_million for one in folded]),
        "redis_cpu": ("Redis's CPU per event", [one.redis_cpu_s_per_million for one in folded]),
    }
    for figure, (what, values_us) in costs.items():
        yield alone(f"ingest {name}: {what}", "us", values_us, figure=f"{figure}_us_per_event.{message_bytes}")


def backlog(events: int, message_bytes: int = 1_000, **more: object) -> GeneratorSettings:
    """Returns so many events of the hours before now, at CALLS_PER_S."""
    calls = events // 2
    days = calls / CALLS_PER_S / 86_400
    start = datetime.now(UTC) - timedelta(days=days, hours=1)
    return GeneratorSettings(calls, start, days, message_bytes=message_bytes, **more)  # type: ignore[arg-type]


def consume_rate(stage: Stage, topic: str, ends: Ends, touch: Touch) -> float:
    """Events per second of a consumer that reads the topic from its beginning in batches."""
    consumer = Consumer(
        {
            "bootstrap.servers": stage.bootstrap_servers,
            "group.id": "ceiling",
            "enable.auto.commit": False,
            "queued.min.messages": READ_AHEAD_MESSAGES,
            "queued.max.messages.kbytes": READ_AHEAD_KIB_MAX,
            "fetch.queue.backoff.ms": READ_AHEAD_PAUSE_MS,
        }
    )
    consumer.list_topics(topic, WAIT_S)  # connects
    total, read = sum(ends.values()), 0
    begun_s = time.perf_counter()
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in ends])
    while read < total:
        messages = consumer.consume(min(BATCH, total - read), WAIT_S)  # more would be waited for
        assert messages, "the topic ends before it should"
        touch(messages)
        read += len(messages)
    elapsed_s = time.perf_counter() - begun_s
    consumer.close()
    return total / elapsed_s


def _touch(messages: list[KafkaMessage]) -> None:
    for message in messages:
        message.value()


def _decode(messages: list[KafkaMessage]) -> None:
    decode_batch(list(map(KafkaMessage.value, messages)), message_times(messages, 0).now_us, RETAINED_US)
