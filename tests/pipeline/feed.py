"""Messages into a topic, each with the key it is given, and where the topic then ends."""

from collections.abc import Iterable
from typing import NamedTuple

from confluent_kafka import KafkaError, Producer
from confluent_kafka import Message as KafkaMessage

DELIVERY_TIMEOUT_S = 60.0


class Line(NamedTuple):
    """A message to be produced. `partition`: None leaves it to the key; `timestamp_ms`: None is now."""

    key: str
    value: bytes | None
    partition: int | None = None
    timestamp_ms: int | None = None


class Feed:
    """A producer for one topic. `ends`: by partition, the offset after the last message that was delivered."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self.topic = topic
        self.ends: dict[int, int] = {}
        self._failures: list[str] = []
        self._producer = Producer(
            {"bootstrap.servers": bootstrap_servers, "enable.idempotence": True, "message.max.bytes": 65_000_000}
        )

    def send(self, lines: Iterable[Line]) -> None:
        """Produce all of them, in order, and return when the broker has them."""
        for line in lines:
            # -1 is the client's word for "by the key".
            partition = -1 if line.partition is None else line.partition
            self._producer.produce(
                self.topic,
                line.value,
                line.key,
                partition,
                on_delivery=self._delivered,
                timestamp=line.timestamp_ms or 0,
            )
            self._producer.poll(0)
        assert self._producer.flush(DELIVERY_TIMEOUT_S) == 0
        assert not self._failures, self._failures[0]

    def _delivered(self, error: KafkaError | None, message: KafkaMessage) -> None:
        if error is not None:
            self._failures.append(error.str())
            return
        partition, offset = message.partition(), message.offset()
        assert partition is not None
        assert offset is not None
        self.ends[partition] = max(self.ends.get(partition, 0), offset + 1)
