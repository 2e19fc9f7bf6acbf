"""All there is in a topic."""

from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

from confluent_kafka import Consumer, TopicPartition

from ingest.kafka.watermarks import watermarks

MESSAGE_TIMEOUT_S = 10.0


class Arrived(NamedTuple):
    """A message as a topic holds it."""

    key: bytes | None
    value: bytes | None
    headers: dict[str, str]


def read_topic(bootstrap_servers: str, topic: str) -> list[Arrived]:
    """All messages, partition by partition; none where the topic does not exist."""
    return list(_messages(bootstrap_servers, topic))


def _messages(bootstrap_servers: str, topic: str) -> Iterator[Arrived]:
    settings = {"bootstrap.servers": bootstrap_servers, "group.id": "reading", "enable.auto.commit": False}
    with closing(Consumer(settings)) as consumer:
        for partition, (low, high) in watermarks(bootstrap_servers, topic).items():
            consumer.assign([TopicPartition(topic, partition, low)])
            for _ in range(low, high):
                message = consumer.poll(MESSAGE_TIMEOUT_S)
                assert message is not None
                assert message.error() is None
                key, value = message.key(), message.value()
                assert not isinstance(key, str)
                assert not isinstance(value, str)
                headers = dict(message.headers() or {}).items()
                yield Arrived(key, value, {name: text.decode() for name, text in headers if isinstance(text, bytes)})
