"""The worker: reads its partitions, folds each into its shard, and after any doubt starts again from Redis.

One batch after the other: poll, decode, dead letters, apply, commit. State and next offset move together in the
shard, so whatever dies, reading goes on from the offset that the state itself holds. While Redis stores what it was
sent, the next batch is decoded, and other partitions are folded.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial

import msgspec
from confluent_kafka import Message as KafkaMessage

from aggregator.rollups.levels import SECOND_US
from aggregator.store.shard_store import Fenced, StoreAway, StoreFull
from aggregator.writing.shard import Shard
from ingest.batch_limits import BatchLimits
from ingest.dead_letters import DeadLettersUndelivered, DeadLetterTopic
from ingest.decoding.batch import decode_batch
from ingest.kafka.consumer import BrokerAway, Partition, Polled, Source, brokers_us, message_of, offset_of
from ingest.kafka.message import DeadLetter

log = logging.getLogger(__name__)

RETRY_S = 0.5  # after a failure, before the next attempt
COMMIT_INTERVAL_US = SECOND_US
IDLE_INTERVAL_US = SECOND_US  # how old the as-of time of an idle partition may get
REPORT_INTERVAL_US = 10 * SECOND_US


class Unopened(Exception):
    """A partition was assigned while Redis was away, so its shard is not known yet."""


Recoverable = (*StoreAway, StoreFull, Fenced, DeadLettersUndelivered, Unopened, BrokerAway)


class WorkerSettings(msgspec.Struct, frozen=True):
    """Where to read, and how much at once."""

    bootstrap_servers: str
    group_id: str
    topics: tuple[str, ...]
    retention_us: int
    dead_letter_topic: str = ""
    extra: Mapping[str, str | int | float | bool] = msgspec.field(default_factory=dict)
    limits: BatchLimits = BatchLimits()


class Worker:
    """Folds what it is assigned until it is told to stop.

    `open_shard` gives the shard of a partition, with what Redis holds. `clock`: microseconds since the epoch.
    `fixed_now`: taken as the broker's time of every message, for recorded data.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        open_shard: Callable[[Partition], Shard],
        clock: Callable[[], int],
        memory_bytes: Callable[[], int],
        fixed_now_us: int | None = None,
    ) -> None:
        self._settings = settings
        self._open_shard = open_shard
        self._clock = clock
        self._memory_bytes = memory_bytes
        self._fixed_now_us = fixed_now_us
        self._shards: dict[Partition, Shard | None] = {}
        # Places whose last step has been sent to Redis and not been answered yet, and how many events that had.
        self._under_way: dict[Partition, int] = {}
        self._uncommitted: dict[Partition, int] = {}
        self._committed_us = 0
        # Places of which nothing has come since they were assigned or asked for their end, and when that was.
        self._asked_us: dict[Partition, int] = {}
        # Places read to their end, and when that, or the last question whether it is still so, was.
        self._idle_us: dict[Partition, int] = {}
        # Places that are not read, and when it was last asked whether their shard has been reset.
        self._refused_us: dict[Partition, int] = {}
        self._applied_events = 0
        self._reported = (0, clock())
        self._stopping = False
        self._dead_letters = DeadLetterTopic(settings.bootstrap_servers, settings.dead_letter_topic, settings.extra)

    def stop(self) -> None:
        """Finish the batch in hand, commit, and return from `run`. Safe to call from a signal handler."""
        self._stopping = True

    def run(self) -> None:
        """Read and fold until `stop`. Raises OtherLayout, and what nothing can be done about."""
        settings = self._settings
        source = Source(
            settings.bootstrap_servers,
            settings.group_id,
            settings.topics,
            self._assign,
            self._revoke,
            settings.extra,
            self._clock,
        )
        log.info("worker started", extra={"topics": list(settings.topics), "group": settings.group_id})
        try:
            while not self._stopping:
                self._step(source, source.poll(settings.limits))
        finally:
            for partition in list(self._under_way):
                self._finish_leaving(partition)
            self._commit(source, wait=True)
            source.close()
            log.info("worker stopped", extra=self._progress())

    def _step(self, source: Source, polled: Polled) -> None:
        for topic in set(polled.missing_topics):
            log.warning("waiting for a topic that does not exist yet", extra={"topic": topic})
        for partition in [partition for partition in self._under_way if partition not in polled.messages]:
            self._try(source, partition, self._finish)
        for partition in [partition for partition, shard in self._shards.items() if shard is None]:
            self._try(source, partition, self._shard)
        for partition in polled.out_of_range:
            self._try(source, partition, partial(self._find_log, source))
        # While one partition waits, the source takes away what it has of those that are revoked or assigned anew.
        while polled.messages:
            # Who has few messages does not wait for who has many.
            partition = min(polled.messages, key=lambda one: len(polled.messages[one]))
            messages = polled.messages.pop(partition)
            if not self._try(source, partition, partial(self._apply, messages=messages)):
                polled.ended.clear()  # all partitions are read again: these ends are not reached any more
        while polled.ended:
            self._try(source, polled.ended.pop(), self._note_end)
        self._ask_idle(source)
        self._ask_refused(source)
        self._count_partitions(source)
        self._commit(source, wait=False)
        self._report()

    def _try(self, source: Source, partition: Partition, action: Callable[[Partition], object]) -> bool:
        """Do it; after a failure (False) read again from what Redis then holds, as soon as it answers."""
        if partition not in self._shards:
            return True
        try:
            action(partition)
            return True
        except Recoverable as failed:
            log.warning("will read again from the stored offset", extra={"partition": partition, "why": str(failed)})
        while partition in self._shards and not self._stopping:
            source.keep_alive(RETRY_S)
            try:
                self._recover(partition)
                break
            except Recoverable as failed:
                log.warning("waiting for Redis", extra={"partition": partition, "why": str(failed)})
        # Waiting may have let messages of other partitions pass too; what comes twice is skipped by its offset.
        for other, shard in self._shards.items():
            if shard is not None:
                source.seek(other, shard.next_offset)
                log.info("reading again", extra={"partition": other, "offset": shard.next_offset})
        return False

    def _recover(self, partition: Partition) -> None:
        self._under_way.pop(partition, None)
        if partition in self._shards:  # else revoked meanwhile
            self._shards[partition] = self._open_shard(partition)

    def _assign(self, partition: Partition) -> int | None:
        """The offset to read a new partition from; if Redis is away, it is found out as soon as it answers."""
        try:
            shard = self._shards[partition] = self._open_shard(partition)
        except (*StoreAway, StoreFull, Fenced) as away:
            self._shards[partition] = None
            log.warning("waiting for Redis", extra={"partition": partition, "why": str(away)})
            return None
        log.info("partition assigned", extra={"partition": partition, "offset": shard.next_offset})
        if shard.next_offset is not None:
            self._uncommitted[partition] = shard.next_offset  # who applied it may have died before it was committed
        self._asked_us[partition] = self._clock()
        return shard.next_offset

    def _revoke(self, partitions: list[Partition]) -> None:
        for partition in partitions:
            self._finish_leaving(partition)
            self._shards.pop(partition, None)
            self._uncommitted.pop(partition, None)
            self._idle_us.pop(partition, None)
            self._asked_us.pop(partition, None)
            self._refused_us.pop(partition, None)
            log.info("partition revoked", extra={"partition": partition})

    def _shard(self, partition: Partition) -> Shard:
        shard = self._shards[partition]
        if shard is None:
            raise Unopened("its shard has not been read yet")
        return shard

    def _apply(self, partition: Partition, messages: list[KafkaMessage]) -> None:
        self._idle_us.pop(partition, None)
        self._asked_us.pop(partition, None)
        shard = self._shard(partition)
        first = shard.sent_offset or 0
        new = messages if offset_of(messages[0]) >= first else [one for one in messages if offset_of(one) >= first]
        while new:
            new = new[self._apply_some(partition, shard, new) :]

    def _apply_some(self, partition: Partition, shard: Shard, messages: list[KafkaMessage]) -> int:
        """Apply the first of these, as many as fit into one step; returns how many."""
        fixed_us = self._fixed_now_us
        times_us = brokers_us(messages, self._clock) if fixed_us is None else [fixed_us] * len(messages)
        values = list(map(KafkaMessage.value, messages))
        # Redis stores the step before meanwhile.
        batch = decode_batch(values, times_us, self._settings.retention_us, shard.dropped_before_us)
        self._finish(partition)
        if batch.invalid:
            self._dead_letters.send(
                DeadLetter(message_of(messages[position], times_us[position]), invalid)
                for position, invalid in batch.invalid
            )
        next_offset = offset_of(messages[batch.messages - 1]) + 1
        gap = 0 if shard.next_offset is None else next_offset - shard.next_offset - batch.messages
        counters = {"messages": batch.messages, "dead_letters": len(batch.invalid), "offsets_skipped": gap}
        as_of_us = max(times_us[: batch.messages])
        applied = shard.begin(batch.events, next_offset, as_of_us, self._clock(), counters)
        self._under_way[partition] = applied.events
        return batch.messages

    def _finish(self, partition: Partition) -> None:
        """See what is under way stored."""
        events = self._under_way.pop(partition, None)
        if events is not None:
            shard = self._shard(partition)
            shard.finish()
            assert shard.next_offset is not None
            self._uncommitted[partition] = shard.next_offset
            self._applied_events += events
            log.debug("applied", extra={"partition": partition, "next_offset": shard.next_offset, "events": events})

    def _finish_leaving(self, partition: Partition) -> None:
        """See what is under way stored, of a partition that is given up: its next owner reads from what is stored."""
        try:
            self._finish(partition)
        except Recoverable as failed:
            log.warning("gave up what was under way", extra={"partition": partition, "why": str(failed)})

    def _note_end(self, partition: Partition) -> None:
        """All messages that came before the partition was last asked have been applied: the shard is as of then.

        An end that answers no question says nothing of now: it may have been on its way for long, and come twice.
        """
        shard, asked_us = self._shard(partition), self._asked_us.pop(partition, None)
        self._idle_us.setdefault(partition, self._clock())
        if asked_us is not None:
            self._finish(partition)
            shard.touch(asked_us)

    def _ask_idle(self, source: Source) -> None:
        """Have the broker say again that idle partitions are at their end: it says so after each seek.

        Not before it has said so: a seek drops what has come of the partition meanwhile and is queued behind others.
        """
        for partition, idle_us in self._idle_us.items():
            shard, now_us = self._shards[partition], self._clock()
            if shard is not None and partition not in self._asked_us and now_us - idle_us >= IDLE_INTERVAL_US:
                self._idle_us[partition] = self._asked_us[partition] = now_us
                source.seek(partition, shard.next_offset)

    def _count_partitions(self, source: Source) -> None:
        """Whoever has a topic's first partition sees to it that answers know of all the others."""
        source.count_partitions(
            {
                partition.topic: shard.register_partitions
                for partition, shard in self._shards.items()
                if partition.number == 0 and shard is not None
            }
        )

    def _ask_refused(self, source: Source) -> None:
        """A partition that is not read goes on as soon as its shard has been reset."""
        for partition, asked_us in list(self._refused_us.items()):
            if self._clock() - asked_us >= IDLE_INTERVAL_US:
                self._refused_us[partition] = self._clock()
                self._try(source, partition, self._ask_reset)

    def _ask_reset(self, partition: Partition) -> None:
        if self._open_shard(partition).next_offset != self._shard(partition).next_offset:
            del self._refused_us[partition]
            raise Fenced("its shard has been reset")

    def _find_log(self, source: Source, partition: Partition) -> None:
        """The stored offset is not in the log: go on where the log begins, or, if it ends before, refuse to guess."""
        shard = self._shards.get(partition)
        low, high = source.log_ends(partition)
        next_offset = None if shard is None else shard.next_offset
        extra = {"partition": partition, "next_offset": next_offset, "log_begins": low, "log_ends": high}
        if shard is None or next_offset is None:
            source.seek(partition, low)
        elif next_offset > high:
            command = f"callmeter shard reset --topic {partition.topic} --partition {partition.number} --to-beginning"
            log.error(
                "the topic ends before the stored offset: it was deleted and made again, or lost messages; "
                "not reading it until its shard is reset",
                extra={**extra, "command": command},
            )
            self._idle_us.pop(partition, None)
            self._asked_us.pop(partition, None)
            self._refused_us[partition] = self._clock()
            source.hold(partition)
        else:
            if next_offset < low:
                log.error("messages were deleted before they were read; going on where the log begins", extra=extra)
                shard.skip_lost(low)
            source.seek(partition, shard.next_offset)

    def _commit(self, source: Source, wait: bool) -> None:
        if wait or self._clock() - self._committed_us >= COMMIT_INTERVAL_US:
            source.commit(self._uncommitted, wait)
            self._uncommitted = {}
            self._committed_us = self._clock()

    def _report(self) -> None:
        events_before, reported_us = self._reported
        now_us = self._clock()
        if now_us - reported_us < REPORT_INTERVAL_US:
            return
        if self._applied_events > events_before:
            rate = (self._applied_events - events_before) / ((now_us - reported_us) / SECOND_US)
            log.info("folding", extra={**self._progress(), "events_per_s": round(rate)})
        self._reported = (self._applied_events, now_us)

    def _progress(self) -> dict[str, int]:
        return {
            "events": self._applied_events,
            "partitions": len(self._shards),
            "memory_high_water_bytes": self._memory_bytes(),
        }
