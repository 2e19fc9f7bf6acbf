"""Where the partitions of a topic begin and end now: what lag is measured against."""

import logging
import time
from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaException, TopicPartition

log = logging.getLogger(__name__)


def watermarks(
    bootstrap_servers: str,
    topic: str,
    extra: Mapping[str, str | int | float | bool] | None = None,
    timeout_s: float = 5.0,
) -> dict[int, tuple[int, int]]:
    """Return for each partition the oldest offset there is, and the offset that the next message will get.

    Empty when the topic does not exist. Raises KafkaException when the broker does not answer within `timeout_s`.

    The end is taken from the answer to a fetch, since not every broker answers ListOffsets rightly for it (Tansu gives
    the begin of its newest batches); the position asked there only says where to fetch, so that little is read.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "callmeter-lag",  # required by the client; never joined, nothing is committed
            "enable.auto.commit": False,
            "auto.offset.reset": "latest",
            "fetch.wait.max.ms": 10,
            "fetch.message.max.bytes": 1024,
            **(extra or {}),
        },
        logger=log,
    )
    try:
        return _watermarks(consumer, topic, time.monotonic() + timeout_s, timeout_s)
    finally:
        consumer.close()


def partition_count(
    bootstrap_servers: str,
    topic: str,
    extra: Mapping[str, str | int | float | bool] | None = None,
    timeout_s: float = 5.0,
) -> int:
    """How many partitions the topic has; 0 when it does not exist, or the broker does not answer within `timeout_s`."""
    settings = {"bootstrap.servers": bootstrap_servers, "group.id": "callmeter-lag", **(extra or {})}
    consumer = Consumer(settings, logger=log)
    try:
        return len(consumer.list_topics(topic, timeout_s).topics[topic].partitions)
    except KafkaException as failed:
        log.warning("the partitions of the topic are not known", extra={"topic": topic, "why": failed.args[0].str()})
        return 0
    finally:
        consumer.close()


def _watermarks(consumer: Consumer, topic: str, deadline_s: float, timeout_s: float) -> dict[int, tuple[int, int]]:
    partitions = consumer.list_topics(topic, timeout_s).topics[topic].partitions
    answered = {
        partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout_s)
        for partition in partitions
    }
    consumer.assign([TopicPartition(topic, partition, high) for partition, (_, high) in answered.items()])
    ends: dict[int, int] = {}
    while len(ends) < len(answered):
        if time.monotonic() > deadline_s:
            raise KafkaException(f"no answer about {topic} from the broker within {timeout_s:g} s")
        consumer.consume(100, 0.02)
        for partition in answered.keys() - ends.keys():
            _, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
            if high >= 0:
                ends[partition] = high
    return {partition: (low, ends[partition]) for partition, (low, _) in sorted(answered.items())}
