"""Sends events on to another partition of their topic, and waits until the broker has them."""

import logging
from collections.abc import Mapping, Sequence

from confluent_kafka import KafkaException, Producer

from aggregator.calls.event import Event
from ingest.decoding.sent_on import write_sent_on
from ingest.kafka.producer import FRAME_BYTES_MAX, QUEUE_KIB_MAX
from ingest.message_size import MESSAGE_BYTES_MAX

log = logging.getLogger(__name__)

DELIVERY_S_MAX = 30


class NotSentOn(Exception):
    """The broker did not take the events in time; their batch must not be applied yet."""


class SentEvents:
    """Delivers events to given partitions. The broker need not be reachable yet."""

    def __init__(self, bootstrap_servers: str, extra: Mapping[str, str | int | float | bool]) -> None:
        self._settings = {
            "bootstrap.servers": bootstrap_servers,
            "enable.idempotence": True,
            "queue.buffering.max.kbytes": QUEUE_KIB_MAX,
            "message.max.bytes": MESSAGE_BYTES_MAX + FRAME_BYTES_MAX,
            "compression.type": "lz4",
            "linger.ms": 1,
            **extra,
        }
        self._producer: Producer | None = None

    def send(self, topic: str, events: Sequence[tuple[int, Event]]) -> None:
        """Deliver each to its partition; raises NotSentOn. What is sent twice counts once."""
        producer = self._producer = self._producer or Producer(self._settings, logger=log)
        failures: list[str] = []
        try:
            for partition, event in events:
                self._produce(producer, topic, partition, event, failures)
        except KafkaException as refused:
            failures.append(refused.args[0].str())
        if producer.flush(DELIVERY_S_MAX):
            producer.purge()
            failures.append(f"no answer within {DELIVERY_S_MAX} s")
        if failures:
            raise NotSentOn(f"events were not sent on: {failures[0]}")

    def _produce(self, producer: Producer, topic: str, partition: int, event: Event, failures: list[str]) -> None:
        value = write_sent_on(event)
        while True:
            try:
                producer.produce(
                    topic,
                    value,
                    event.project_id,
                    partition,
                    on_delivery=lambda error, _: failures.append(error.str()) if error else None,
                )
                return
            except BufferError:
                producer.poll(0.1)
