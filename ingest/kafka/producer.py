"""Sends messages to Kafka and knows of each whether it arrived: idempotent, in order, with a bounded queue."""

import logging
from collections.abc import Mapping
from functools import partial
from types import TracebackType

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ingest.message_size import MESSAGE_BYTES_MAX

# The queue between the caller and the network: room for some tenths of a second at full speed, 64 MiB at most.
QUEUE_MESSAGES_MAX = 100_000
QUEUE_KIB_MAX = 65_600  # and what belongs to one message besides its value
# How long a message may wait for its delivery, retries included.
DELIVERY_TIMEOUT_S = 60
# What a message may have besides its value: key, headers, frame.
FRAME_BYTES_MAX = 64 * 2**10
ERRORS_KEPT_MAX = 10

log = logging.getLogger(__name__)


class DeliveryFailed(Exception):
    """Messages were not delivered; the message says how many and why the first was not."""


class EventProducer:
    """Delivers keyed messages; a context manager that waits for all deliveries on leaving without an error.

    `extra` are librdkafka properties that win over the ones set here. The broker need not be reachable yet.
    """

    def __init__(self, bootstrap_servers: str, extra: Mapping[str, str | int | float | bool] | None = None) -> None:
        self.delivered = 0
        self.failed = 0
        self.errors: list[str] = []
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": 50,  # larger batches are what every broker is fastest with
                "queue.buffering.max.messages": QUEUE_MESSAGES_MAX,
                "queue.buffering.max.kbytes": QUEUE_KIB_MAX,
                "delivery.timeout.ms": DELIVERY_TIMEOUT_S * 1000,
                "message.max.bytes": MESSAGE_BYTES_MAX + FRAME_BYTES_MAX,
                **(extra or {}),
            },
            logger=log,
        )

    def partitions(self, topic: str, timeout_s: float) -> int:
        """How many partitions the topic has, 0 where it does not exist. Raises KafkaException without a broker."""
        return len(self._producer.list_topics(topic, timeout_s).topics[topic].partitions)

    def produce(
        self,
        topic: str,
        key: str | bytes | None,
        value: bytes | None,
        partition: int | None = None,
        headers: dict[str, str | bytes | None] | None = None,
        name: str = "",
    ) -> None:
        """Queue a message; waits while the queue is full. `partition`: None leaves it to the key.

        `name` is what errors call it. Raises DeliveryFailed for one that is too large to send.
        """
        note = partial(self._note, name)
        at = -1 if partition is None else partition  # the client's word for "by the key"
        while True:
            try:
                self._producer.produce(topic, value, key, at, on_delivery=note, headers=headers or {})
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as refused:
                size_bytes = len(value or b"")
                raise DeliveryFailed(f"a message of {size_bytes} bytes was refused: {refused.args[0].str()}") from None
            else:
                return

    def poll(self) -> None:
        """Count what was delivered meanwhile; to be called now and then."""
        self._producer.poll(0)

    def waiting(self) -> int:
        """Messages queued or under way."""
        return len(self._producer)

    def flush(self, timeout_s: float = DELIVERY_TIMEOUT_S) -> None:
        """Wait until every message is delivered. Raises DeliveryFailed when one was not, or not in time."""
        self._producer.flush(timeout_s)
        undelivered = self.failed + self.waiting()
        if undelivered:
            why = self.errors[0] if self.errors else f"no answer from the broker within {timeout_s:g} s"
            raise DeliveryFailed(f"{undelivered} of {undelivered + self.delivered} messages were not delivered: {why}")

    def __enter__(self) -> "EventProducer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.flush()

    def _note(self, name: str, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.delivered += 1
            return
        self.failed += 1
        if len(self.errors) < ERRORS_KEPT_MAX:
            size = f" ({len(message.value() or b'')} bytes)" if error.code() == KafkaError.MSG_SIZE_TOO_LARGE else ""
            self.errors.append(f"{name}: {error.str()}{size}" if name else f"{error.str()}{size}")
