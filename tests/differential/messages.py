"""Messages for engines: agent traces in steps of any size, repeated, out of order, and with bytes that are none."""

import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME
from confluent_kafka import Message as KafkaMessage

from aggregator.time_units import HOUR_S, SECOND_US
from tests.pipeline.lifelike import BEGIN, lifelike_events
from tests.support.folding import SHARD

EVENTS = 120
READ_AT_US = (int(BEGIN.timestamp()) + 2 * HOUR_S) * SECOND_US
STAMP = (TIMESTAMP_LOG_APPEND_TIME, READ_AT_US // 1_000)
# Parts of messages that mean something: what is put elsewhere is still often JSON.
TOKENS = (
    b'"',
    b"{",
    b"}",
    b"[",
    b",",
    b":",
    b"null",
    b"0",
    b"-1",
    b"1e400",
    b'"start"',
    b'"end"',
    b'"id"',
    b"\\u0000",
    b"\xff",
)
# What stands nowhere in an event, or not there.
ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    10**30,
    1.5,
    "",
    "x" * 1_100,
    "1969-12-31T23:59:59Z",
    "2126-01-01T00:00:00Z",
    [],
    {},
)


def steps_of(seed: int) -> list[list[KafkaMessage]]:
    """Messages that follow one another, in steps as a worker may take them."""
    rng = Random(seed)
    values = list(_values(rng))
    steps, offset = [], 0
    while values:
        size = rng.choice((1, 2, 7, 40))
        step = [
            KafkaMessage(SHARD.topic, SHARD.partition, offset + at, b"key", value, [], None, STAMP)
            for at, value in enumerate(values[:size])
        ]
        steps.append(step)
        offset += len(step) + rng.choice((0, 0, 0, 3))  # the log may have gaps
        values = values[size:]
    return steps


def _values(rng: Random) -> Iterator[bytes | None]:
    """Events in about the order of time, some in batches, one in four also changed at random, one in ten once more."""
    events = [json.dumps(event, separators=(",", ":")).encode() for event in lifelike_events(rng, EVENTS)]
    for at in range(0, len(events) - 1, 5):
        if rng.random() < 0.3:
            other = rng.randrange(len(events))
            events[at], events[other] = events[other], events[at]
    while events:
        size = rng.choice((1, 1, 1, 3))
        together, events = events[:size], events[size:]
        value = together[0] if size == 1 else b'{"batch":[' + b",".join(together) + b"]}"
        yield value
        if rng.random() < 0.125:
            yield mutated(rng, value)
        if rng.random() < 0.125:
            yield changed(rng, together[0])
        if rng.random() < 0.1:
            yield value
        if rng.random() < 0.02:
            yield rng.choice((None, b"", b"null"))


def mutated(rng: Random, value: bytes) -> bytes:
    """The value with some of its bytes changed, gone, repeated, or replaced by what means something."""
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        begin = rng.randrange(len(value) + 1)
        end = min(len(value), begin + rng.choice((0, 1, 1, 2, 10, 100)))
        put: Sequence[bytes] = (b"", value[begin:end] * 2, rng.choice(TOKENS), rng.randbytes(end - begin))
        value = value[:begin] + rng.choice(put) + value[end:]
    return value


def changed(rng: Random, value: bytes) -> bytes:
    """The event with one of its fields gone, or something odd in it."""
    event = json.loads(value)
    fields = event
    while (inner := [one for one in fields.values() if isinstance(one, dict) and one]) and rng.random() < 0.8:
        fields = rng.choice(inner)
    name = rng.choice(list(fields))
    if rng.random() < 0.3:
        del fields[name]
    else:
        fields[name] = rng.choice(ODD)
    return json.dumps(event).encode()
