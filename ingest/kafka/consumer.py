"""The Kafka consumer of a worker: a group member that reads from the offsets it is told."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from ingest.batch_limits import BatchLimits
from ingest.kafka.consumer_properties import MEMBER, consumer_properties
from ingest.kafka.log_ends import EndMark, LogEnds
from ingest.kafka.partition import Partition as Partition
from ingest.kafka.partition_counts import PartitionCounts, Register
from ingest.kafka.received import partition_of
from ingest.kafka.topic_facts import TopicFacts

log = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 10.0
# A member with a name leaves its group only when it says so, which takes the client some steps; they take milliseconds.
LEAVE_S_MAX = 2.0
LEAVE_POLL_S = 0.1

_NO_TOPIC = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)
NO_OFFSET = (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET)


class BrokerAway(Exception):
    """The broker did not answer a question in time."""


class ClientEnded(Exception):
    """The client cannot go on, whatever is tried: the sentence says why."""


class LogEnd(NamedTuple):
    """Everything before `offset` has been given. `is_open`: more has been written that cannot be read yet, as the
    transaction that it belongs to is open, or that has just come.
    """

    offset: int
    is_open: bool = False


class Polled(NamedTuple):
    """What one poll brought: messages by partition, in order; which are read to their end; whose offset is gone; whose
    log has lost its tail and has grown past the offset since, with other messages.
    """

    messages: dict[Partition, list[KafkaMessage]]
    ended: dict[Partition, LogEnd]
    out_of_range: list[Partition]
    truncated: list[Partition]
    missing_topics: list[str]


class Source:
    """A group member, once it has subscribed; `member` is its name in the group, empty for none."""

    def __init__(
        self,
        bootstrap_servers: str,
        group_id: str,
        topics: Sequence[str],
        extra: Mapping[str, str | int | float | bool],
        clock: Callable[[], int],
        member: str = "",
    ) -> None:
        self._topics = list(topics)
        self._on_assign: Callable[[Partition], int | None] = lambda _: None
        self._on_revoke: Callable[[list[Partition]], None] = lambda _: None
        self._clock = clock
        self._ends = LogEnds({"bootstrap.servers": bootstrap_servers, **extra})
        self._counts = PartitionCounts(self.partition_count, clock)
        self._largest_bytes = 1_000
        self._polled_s = 0.0
        self._polled = Polled({}, {}, [], [], [])
        self._epoch_of: Callable[[Partition], int] = lambda _: -1
        self._topics_known = TopicFacts({"bootstrap.servers": bootstrap_servers, **extra})
        properties = consumer_properties(bootstrap_servers, group_id, member, extra)
        self._member = str(properties.get(MEMBER, ""))
        self._consumer = Consumer(properties, logger=log)

    def subscribe(
        self,
        on_assign: Callable[[Partition], int | None],
        on_revoke: Callable[[list[Partition]], None],
        epoch_of: Callable[[Partition], int] = lambda _: -1,
    ) -> None:
        """Join the group. `on_assign` gives the offset to read each new partition from; None: its beginning.

        `epoch_of`: the leader epoch of the message before that offset (-1: not known), by which a log is found out that
        has lost its tail and has grown again.
        """
        self._on_assign, self._on_revoke, self._epoch_of = on_assign, on_revoke, epoch_of
        self._consumer.subscribe(self._topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)

    def poll(self, limits: BatchLimits) -> Polled:
        """One batch, as large as `limits` allow, or what has come when their wait is over.

        The wait begins when the poll before ended: what came while a long step was at work is a batch, and is not kept
        waiting for more.

        Until the next poll, a partition that is revoked or assigned anew disappears from its messages and from those
        that have ended: a new assignment may begin at another offset than the one that follows what is in hand.
        """
        polled = self._polled = Polled({}, {}, [], [], [])
        left_messages, left_bytes = limits.messages_max, limits.bytes_max
        wait_s = max(0.0, self._polled_s + limits.wait_s - time.perf_counter())
        while left_messages > 0 and left_bytes > 0:
            # Sizes are not known before messages are here: ask for no more than would fit were all as large as the
            # largest.
            asked = min(left_messages, max(1, left_bytes // self._largest_bytes))
            received = self._consumer.consume(asked, wait_s)
            left_bytes -= self._sort(received, polled)
            left_messages -= len(received)
            if len(received) < asked:
                break
            wait_s = 0
        self._polled_s = time.perf_counter()
        return polled

    def _sort(self, received: list[KafkaMessage], polled: Polled) -> int:
        """Put messages, and what they say of their partitions, where they belong; returns the size of all in bytes."""
        topic = number = None
        messages: list[KafkaMessage] = []
        for message in received:
            error = message.error()
            if error is not None:
                self._note(error, message, polled)
                continue
            # Messages of a partition come together: their list is looked up once.
            if message.partition() != number or message.topic() != topic:
                topic, number = partition = partition_of(message)
                messages = polled.messages.setdefault(partition, [])
            messages.append(message)
        sizes = [*map(len, received), 1_000]
        self._largest_bytes = max(*sizes, self._largest_bytes * 9 // 10)
        return sum(sizes)

    def _note(self, error: KafkaError, message: KafkaMessage, polled: Polled) -> None:
        code, partition = error.code(), partition_of(message)
        if code == KafkaError._PARTITION_EOF:
            polled.ended[partition] = self._log_end(partition, message.offset() or 0)
        elif code in NO_OFFSET and "truncation" in error.str().lower():
            polled.truncated.append(partition)
        elif code in NO_OFFSET:
            polled.out_of_range.append(partition)
        elif code in _NO_TOPIC:
            polled.missing_topics.append(partition.topic)
            self._topics_known.forget(partition.topic)
        else:
            self._refuse_to_go_on(error)
            log.warning("the Kafka client reports", extra={"why": error.str()})

    def _refuse_to_go_on(self, error: KafkaError) -> None:
        """Raise ClientEnded where the client gives nothing any more, which it says once."""
        if error.code() != KafkaError._FATAL:
            return
        if self._member and "fenced" in error.str():
            raise ClientEnded(f"another worker has joined the group as {self._member!r}: each needs a name of its own")
        raise ClientEnded(f"the Kafka client cannot go on: {error.str()}")

    def _log_end(self, partition: Partition, offset: int) -> LogEnd:
        """The end that the client noticed: it reads no further than the last stable offset, and the log may."""
        _, high = self._consumer.get_watermark_offsets(TopicPartition(*partition), cached=True)
        return LogEnd(offset, is_open=high > offset)

    def keep_alive(self, wait_s: float) -> None:
        """Stay a member of the group while nothing can be read: rebalances are served, no message is taken.

        Raises ClientEnded, as `poll` does.
        """
        assigned = self._consumer.assignment()
        self._consumer.pause(assigned)
        left = self._consumer.poll(wait_s)
        if left is not None and (error := left.error()) is not None:
            self._refuse_to_go_on(error)
        elif left is not None:
            log.debug("a message came while paused; it is read again after the seek that follows")
        self._consumer.resume(self._consumer.assignment())

    def seek(self, partition: Partition, offset: int | None) -> None:
        """Read `partition` from `offset` on (None: from its beginning)."""
        wanted = [TopicPartition(*partition, OFFSET_BEGINNING if offset is None else offset)]
        try:
            self._consumer.seek(wanted[0])
        except KafkaException as failed:
            if failed.args[0].code() != KafkaError._STATE:
                raise
            # After an offset that is not in the log the client is done with the partition: only anew can it be read.
            self._consumer.incremental_unassign(wanted)
            self._consumer.incremental_assign(wanted)

    def hold(self, partition: Partition) -> None:
        """Stop reading `partition` until it is assigned again."""
        self._consumer.pause([TopicPartition(*partition)])

    def log_ends(self, partition: Partition) -> tuple[int, int]:
        """The oldest offset there is, and the one the next message will get. Raises BrokerAway."""
        try:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*partition), timeout=ANSWER_TIMEOUT_S)
        except KafkaException as failed:
            raise BrokerAway(failed.args[0].str()) from failed
        return low, high

    def count_partitions(self, topics: Mapping[str, Register]) -> None:
        """See how many partitions these have registered, soon and now and then."""
        self._counts.begin(topics)

    def ask_ends(self, partitions: Iterable[Partition]) -> dict[Partition, EndMark]:
        """Return where these end, open transactions included: the answers to the question before, once they
        are here.
        """
        return self._ends.ask(partitions, self._clock())

    def partition_count(self, topic: str) -> int | None:
        """How many partitions the topic has now; None where the broker does not say."""
        return self._topics_known.partition_count(topic)

    def topic_id(self, topic: str) -> str | None:
        """The id that the topic got when it was made, as of a moment ago; None where the broker does not say."""
        return self._topics_known.find(topic, self._clock())

    def commit(self, next_offsets: Mapping[Partition, int], wait: bool) -> None:
        """Tell Kafka how far each partition is applied, for lag tools; nothing here reads it back."""
        if next_offsets:
            offsets = [TopicPartition(*partition, offset) for partition, offset in next_offsets.items()]
            try:
                if wait:
                    self._consumer.commit(offsets=offsets, asynchronous=False)
                else:
                    self._consumer.commit(offsets=offsets, asynchronous=True)
            except KafkaException as refused:  # the group moved on; who reads now commits
                log.info("offsets not committed", extra={"why": refused.args[0].str()})

    def close(self) -> None:
        """Leave the group."""
        self._counts.close()
        self._ends.close()
        if self._member:
            self._leave()
        self._consumer.close()

    def _leave(self) -> None:
        """Say that who has this name does not come back at once; else its partitions would wait for it."""
        until_s = time.perf_counter() + LEAVE_S_MAX
        try:
            self._consumer.unsubscribe()
            self._consumer.poll(LEAVE_POLL_S)
            while self._consumer.assignment() and time.perf_counter() < until_s:
                self._consumer.poll(LEAVE_POLL_S)
        except KafkaException as refused:  # the group has another of that name, or no broker answers
            log.info("the group was not left", extra={"why": refused.args[0].str()})

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        starts = []
        for assigned in partitions:
            partition = Partition(assigned.topic, assigned.partition)
            self._drop(partition)
            offset = self._on_assign(partition)
            start = OFFSET_BEGINNING if offset is None else offset
            epoch = self._epoch_of(partition)
            starts.append(
                TopicPartition(*partition, start, leader_epoch=epoch)
                if epoch >= 0 and offset is not None
                else TopicPartition(*partition, start)
            )
        consumer.incremental_assign(starts)
        consumer.resume(starts)  # the client remembers that a partition was paused before it was lost

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = [Partition(revoked.topic, revoked.partition) for revoked in partitions]
        for partition in gone:
            self._drop(partition)
        self._on_revoke(gone)
        consumer.incremental_unassign(partitions)

    def _drop(self, partition: Partition) -> None:
        """Take away what the last poll brought of a partition."""
        self._polled.messages.pop(partition, None)
        self._polled.ended.pop(partition, None)
