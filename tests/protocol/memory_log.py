"""A topic in memory, and a consumer of it that does what a Kafka consumer may do, at its worst."""

from collections.abc import Callable, Mapping

from confluent_kafka import TIMESTAMP_CREATE_TIME
from confluent_kafka import Message as KafkaMessage

from ingest.batch_limits import BatchLimits
from ingest.kafka.consumer import Place, Polled, Source
from ingest.kafka.message import Message
from ingest.kafka.partition_counts import Register
from tests.protocol.sent import Sent


class MemoryLog:
    """The partitions of one topic. Offsets only grow, and may leave gaps."""

    def __init__(self, places: tuple[Place, ...]) -> None:
        self.messages: dict[Place, list[Message]] = {place: [] for place in places}
        self.sent: dict[Place, list[Sent]] = {place: [] for place in places}

    def append(self, place: Place, sent: Sent, broker_us: int, gap: int) -> None:
        """Add a message, `gap` offsets after the last one."""
        offset = self.end(place) + gap
        self.messages[place].append(Message(*place, offset, broker_us, None, sent.value))
        self.sent[place].append(sent)

    def end(self, place: Place) -> int:
        """The offset that the next message would get."""
        return self.messages[place][-1].offset + 1 if self.messages[place] else 0

    def below(self, place: Place, next_offset: int) -> list[Sent]:
        """All messages before an offset."""
        pairs = zip(self.messages[place], self.sent[place], strict=True)
        return [sent for message, sent in pairs if message.offset < next_offset]


class MemorySource(Source):
    """Reads the log from where it is told. Rebalances wait in `rebalances` until the worker looks, as in Kafka.

    `pause` is called where others may come between.
    """

    def __init__(
        self,
        log: MemoryLog,
        on_assign: Callable[[Place], int | None],
        on_revoke: Callable[[list[Place]], None],
        pause: Callable[[str], None],
    ) -> None:
        self._log = log
        self._on_assign = on_assign
        self._on_revoke = on_revoke
        self._pause = pause
        self._polled = Polled({}, [], [], [])
        self._told_ended: set[Place] = set()  # as a consumer says it: again when it is sent elsewhere or reads more
        self._ends_on_their_way: set[Place] = set()  # what it noticed a while ago, and says before it says more
        self.positions: dict[Place, int] = {}
        self.rebalances: list[Place] = []

    def poll(self, limits: BatchLimits) -> Polled:
        """Up to `messages_max` messages of each place; each end twice, the second time alone and late."""
        polled = self._polled = Polled({}, [], [], [])
        self._serve_rebalances()
        for place in self.positions:
            if place in self._ends_on_their_way:
                self._ends_on_their_way.discard(place)
                polled.ended.append(place)
                continue
            taken = self._take(place, limits.messages_max)
            if taken:
                polled.messages[place] = [as_received(message) for message in taken]
            if place not in self._told_ended and self.positions[place] >= self._log.end(place):
                self._told_ended.add(place)
                self._ends_on_their_way.add(place)
                polled.ended.append(place)
        return polled

    def keep_alive(self, wait_s: float) -> None:
        """What comes by is lost; the worker must read it again."""
        self._pause("keep_alive")
        self._serve_rebalances()
        for place in self.positions:
            self._take(place, 1)

    def seek(self, place: Place, offset: int | None) -> None:
        if place in self.positions:
            self.positions[place] = offset or 0
            self._forget_end(place)

    def count_partitions(self, topics: Mapping[str, Register]) -> None:
        """The log never gets more partitions."""

    def commit(self, next_offsets: Mapping[Place, int], wait: bool) -> None:
        """Nothing reads it back."""

    def will_hold(self, place: Place) -> bool:
        """Whether the place is assigned once the rebalances that wait are served."""
        return (place in self.positions) ^ (self.rebalances.count(place) % 2 == 1)

    def _take(self, place: Place, messages_max: int) -> list[Message]:
        position = self.positions[place]
        taken = [message for message in self._log.messages[place] if message.offset >= position][:messages_max]
        if taken:
            self.positions[place] = taken[-1].offset + 1
            self._told_ended.discard(place)
        return taken

    def _forget_end(self, place: Place) -> None:
        self._told_ended.discard(place)
        self._ends_on_their_way.discard(place)

    def _serve_rebalances(self) -> None:
        """A place that is held is revoked, any other is assigned; what is in hand of it is gone, as in Source."""
        while self.rebalances:
            place = self.rebalances.pop(0)
            self._polled.messages.pop(place, None)
            self._polled.ended[:] = [ended for ended in self._polled.ended if ended != place]
            self._forget_end(place)
            if place in self.positions:
                self._on_revoke([place])
                del self.positions[place]
            else:
                self.positions[place] = self._on_assign(place) or 0


def as_received(message: Message) -> KafkaMessage:
    """As the client gives it; it knows times in milliseconds."""
    assert message.broker_us % 1_000 == 0
    timestamp = TIMESTAMP_CREATE_TIME, message.broker_us // 1_000
    return KafkaMessage(
        message.topic, message.partition, message.offset, message.key, message.value, [], None, timestamp
    )
