"""A topic in memory, and a consumer of it that does what a Kafka consumer may do, at its worst."""

from collections.abc import Callable, Iterable, Mapping

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME
from confluent_kafka import Message as KafkaMessage

from ingest.batch_limits import BatchLimits
from ingest.kafka.consumer import LogEnd, Polled, Source
from ingest.kafka.log_ends import EndMark
from ingest.kafka.message import Message
from ingest.kafka.partition import Partition
from ingest.kafka.partition_counts import Register
from tests.protocol.sent import Sent


class MemoryLog:
    """The partitions of one topic. Offsets only grow, and may leave gaps."""

    def __init__(self, partitions: tuple[Partition, ...]) -> None:
        self.messages: dict[Partition, list[Message]] = {partition: [] for partition in partitions}
        self.sent: dict[Partition, list[Sent]] = {partition: [] for partition in partitions}

    def append(self, partition: Partition, sent: Sent, broker_us: int, gap: int) -> None:
        """Add a message, `gap` offsets after the last one."""
        offset = self.end(partition) + gap
        self.messages[partition].append(Message(*partition, offset, broker_us, None, sent.value))
        self.sent[partition].append(sent)

    def end(self, partition: Partition) -> int:
        """The offset that the next message would get."""
        return self.messages[partition][-1].offset + 1 if self.messages[partition] else 0

    def below(self, partition: Partition, next_offset: int) -> list[Sent]:
        """All messages before an offset."""
        pairs = zip(self.messages[partition], self.sent[partition], strict=True)
        return [sent for message, sent in pairs if message.offset < next_offset]


class MemorySource(Source):
    """Reads the log from where it is told. Rebalances wait in `rebalances` until the worker looks, as in Kafka.

    `pause` is called where others may come between.
    """

    def __init__(self, log: MemoryLog, pause: Callable[[str], None]) -> None:
        self._log = log
        self._pause = pause
        self._polled = Polled({}, {}, [], [], [])
        # As a consumer says it: again when it is sent elsewhere or reads more.
        self._told_ended: set[Partition] = set()
        # What it noticed a while ago, and says before it says more.
        self._ends_on_their_way: dict[Partition, LogEnd] = {}
        self.positions: dict[Partition, int] = {}
        self.rebalances: list[Partition] = []

    def subscribe(
        self,
        on_assign: Callable[[Partition], int | None],
        on_revoke: Callable[[list[Partition]], None],
        epoch_of: Callable[[Partition], int] = lambda _: -1,
    ) -> None:
        self._on_assign, self._on_revoke = on_assign, on_revoke

    def poll(self, limits: BatchLimits) -> Polled:
        """Up to `messages_max` messages of each partition; each end twice, the second time alone and late."""
        polled = self._polled = Polled({}, {}, [], [], [])
        self._serve_rebalances()
        for partition in self.positions:
            if partition in self._ends_on_their_way:
                polled.ended[partition] = self._ends_on_their_way.pop(partition)
                continue
            taken = self._take(partition, limits.messages_max)
            if taken:
                polled.messages[partition] = [as_received(message) for message in taken]
            if partition not in self._told_ended and self.positions[partition] >= self._log.end(partition):
                self._told_ended.add(partition)
                polled.ended[partition] = self._ends_on_their_way[partition] = LogEnd(self._log.end(partition))
        return polled

    def keep_alive(self, wait_s: float) -> None:
        """Loses what comes by; the worker must read it again."""
        self._pause("keep_alive")
        self._serve_rebalances()
        for partition in self.positions:
            self._take(partition, 1)

    def seek(self, partition: Partition, offset: int | None) -> None:
        if partition in self.positions:
            self.positions[partition] = offset or 0
            self._forget_end(partition)

    def count_partitions(self, topics: Mapping[str, Register]) -> None:
        """The log never gets more partitions."""

    def topic_id(self, topic: str) -> str | None:
        return None

    def ask_ends(self, partitions: Iterable[Partition]) -> dict[Partition, EndMark]:
        """Messages tell the broker's time."""
        return {}

    def commit(self, next_offsets: Mapping[Partition, int], wait: bool) -> None:
        """Does nothing: nobody reads commits back."""

    def will_hold(self, partition: Partition) -> bool:
        """Whether the partition is assigned once the rebalances that wait are served."""
        return (partition in self.positions) ^ (self.rebalances.count(partition) % 2 == 1)

    def _take(self, partition: Partition, messages_max: int) -> list[Message]:
        position = self.positions[partition]
        taken = [message for message in self._log.messages[partition] if message.offset >= position][:messages_max]
        if taken:
            self.positions[partition] = taken[-1].offset + 1
            self._told_ended.discard(partition)
        return taken

    def _forget_end(self, partition: Partition) -> None:
        self._told_ended.discard(partition)
        self._ends_on_their_way.pop(partition, None)

    def _serve_rebalances(self) -> None:
        """A partition that is held is revoked, any other is assigned; what is in hand of it is gone, as in Source."""
        while self.rebalances:
            partition = self.rebalances.pop(0)
            self._polled.messages.pop(partition, None)
            self._polled.ended.pop(partition, None)
            self._forget_end(partition)
            if partition in self.positions:
                self._on_revoke([partition])
                del self.positions[partition]
            else:
                self.positions[partition] = self._on_assign(partition) or 0


def as_received(message: Message) -> KafkaMessage:
    """Returns a message as the client gives it, which knows times in milliseconds."""
    assert message.broker_us % 1_000 == 0
    timestamp = TIMESTAMP_LOG_APPEND_TIME, message.broker_us // 1_000
    return KafkaMessage(
        message.topic, message.partition, message.offset, message.key, message.value, [], None, timestamp
    )
