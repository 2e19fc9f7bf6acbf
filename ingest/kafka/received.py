"""What a message of the Kafka client says of itself: its partition, its offset, its time, and our form of it."""

from collections.abc import Callable

from confluent_kafka import Message as KafkaMessage

from ingest.kafka.message import Headers, Message
from ingest.kafka.partition import Partition


def partition_of(message: KafkaMessage) -> Partition:
    """Return which partition a message came from."""
    return Partition(message.topic() or "", message.partition() or 0)


def offset_of(received: KafkaMessage) -> int:
    """The offset of a message that came without an error."""
    offset = received.offset()
    assert offset is not None
    return offset


def stamped_us(received: KafkaMessage, clock: Callable[[], int]) -> int:
    """The time that a message carries, be it the broker's or the producer's. `clock` stands in where it has none."""
    _, milliseconds = received.timestamp()
    return milliseconds * 1_000 if milliseconds > 0 else clock()


def message_of(received: KafkaMessage, broker_us: int) -> Message:
    """A message that came without an error."""
    headers: Headers = received.headers() or ()  # type: ignore[assignment]  # a list, never a dict
    return Message(*partition_of(received), offset_of(received), broker_us, received.key(), received.value(), headers)
