"""Reads a partition from an offset to its end, outside any group: dead letters, and topics to be folded anew."""

import logging
from collections.abc import Callable, Iterator, Mapping

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from ingest.batch_limits import BatchLimits
from ingest.kafka.consumer import ANSWER_TIMEOUT_S, NO_OFFSET
from ingest.kafka.message import Message
from ingest.kafka.partition import Partition
from ingest.kafka.received import message_of, offset_of, stamped_us
from ingest.message_size import MESSAGE_BYTES_MAX

log = logging.getLogger(__name__)

POLL_S = 0.2
POLLS_EMPTY_MAX = round(3 * ANSWER_TIMEOUT_S / POLL_S)


class LogReader:
    """A consumer that is told what to read; nothing is committed. Close it after use.

    `clock`: microseconds since 1970, for messages without a time of the broker.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        extra: Mapping[str, str | int | float | bool],
        clock: Callable[[], int],
        limits: BatchLimits = BatchLimits(),  # noqa: B008  frozen
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._largest_bytes = 1_000
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": "callmeter-log-reader",  # required by the client; never joined
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 50,
                "receive.message.max.bytes": 2 * MESSAGE_BYTES_MAX,
                **extra,
            },
            logger=log,
        )

    def read(self, partition: Partition, first: int | None, until: int | None = None) -> Iterator[list[Message]]:
        """Yield what `read_received` gives, as messages, with the time that each carries, whoever's clock it was."""
        for batch in self.read_received(partition, first, until):
            yield [message_of(received, stamped_us(received, self._clock)) for received in batch]

    def read_received(
        self, partition: Partition, first: int | None, until: int | None = None
    ) -> Iterator[list[KafkaMessage]]:
        """Messages in order, in batches, from offset `first` (None: where the log begins) to where the log ends.

        Ends before `until` if that comes first. Where the log begins after `first`, it is read from there. Raises
        KafkaException when the broker does not answer.
        """
        self._assign(partition, first)
        empty_polls = 0
        while empty_polls < POLLS_EMPTY_MAX:
            asked = min(self._limits.messages_max, max(1, self._limits.bytes_max // self._largest_bytes))
            received = self._consumer.consume(asked, POLL_S)
            empty_polls = 0 if received else empty_polls + 1
            messages = [one for one in received if one.error() is None]
            self._largest_bytes = max(*map(len, messages), self._largest_bytes * 9 // 10, 1_000)
            wanted = [message for message in messages if until is None or offset_of(message) < until]
            if wanted:
                yield wanted
            errors = [error for one in received if (error := one.error()) is not None]
            if len(wanted) < len(messages) or any(error.code() == KafkaError._PARTITION_EOF for error in errors):
                return
            for error in errors:
                if error.code() in NO_OFFSET:
                    self._assign(partition, None)
                else:
                    log.warning("the Kafka client reports", extra={"why": error.str()})
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"no answer about {partition.topic}/{partition.number}"))

    def close(self) -> None:
        """Let go of the broker."""
        self._consumer.close()

    def _assign(self, partition: Partition, offset: int | None) -> None:
        self._consumer.assign([TopicPartition(*partition, OFFSET_BEGINNING if offset is None else offset)])
