"""The worker: reads its partitions, folds each into its shard, and after any doubt starts again from Redis.

One batch after the other: poll, decode, dead letters, apply, commit. State and next offset move together in the
shard, so whatever dies, reading goes on from the offset that the state itself holds. While Redis stores what it was
sent, the next batch is decoded, and other partitions are folded.
"""

import gc
import logging
from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from aggregator.store.shard_store import EvictingPolicy, Fenced, OtherLayout, StoreTrouble
from aggregator.time_units import SECOND_US
from aggregator.writing.shard import Shard
from ingest.assignment import Assignment, State, Unopened
from ingest.batch_limits import BatchLimits
from ingest.dead_letters import DeadLetters, DeadLettersUndelivered
from ingest.fold_step import Folding, UnreadUsage
from ingest.folding_report import FoldingReport
from ingest.invalid_share import InvalidLimit, InvalidShare
from ingest.kafka.consumer import BrokerAway, Polled, Source
from ingest.kafka.partition import Partition, named
from ingest.kafka.sent_events import NotSentOn
from ingest.other_log import MADE_AGAIN, TRUNCATED, find_log, refuse
from ingest.topology import SETTLING_S, Topology

log = logging.getLogger(__name__)

RETRY_S = 0.5  # after a failure, before the next attempt
COMMIT_INTERVAL_US = SECOND_US

Recoverable = (*StoreTrouble, Fenced, DeadLettersUndelivered, NotSentOn, Unopened, BrokerAway)
"""What is waited for: Redis away or refusing, whatever it says, another writer, a broker that does not answer."""


class WorkerSettings(msgspec.Struct, frozen=True):
    """How much to read at once, and what to keep.

    `fixed_now_us`: what time it is for all that is kept, for recorded data. `default_project`: whose spans are that
    name no project.
    """

    retention_us: int
    limits: BatchLimits = BatchLimits()
    fixed_now_us: int | None = None
    default_project: str = ""
    invalid: InvalidLimit = InvalidLimit()


class Worker:
    """Folds what it is assigned until it is told to stop.

    `open_shard` gives the shard of a partition, with what Redis holds. `clock`: microseconds since the epoch.
    `topology`: what is asked of other shards; None where each message is known to come through its one partition.
    `note_batch` is told how many seconds each batch took.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        source: Source,
        dead_letters: DeadLetters,
        open_shard: Callable[[Partition], Shard],
        clock: Callable[[], int],
        memory_bytes: Callable[[], int],
        topology: Topology | None = None,
    ) -> None:
        self._settings = settings
        self._source = source
        self._topology = topology
        self._open_shard = open_shard
        self._clock = clock
        fixed_now_us, project = settings.fixed_now_us, settings.default_project
        self._folding = Folding(settings.retention_us, clock, dead_letters.send, fixed_now_us, project, UnreadUsage())
        self._assignments: dict[Partition, Assignment] = {}
        self._invalid = InvalidShare(settings.invalid)
        self._committed_us = 0
        self._report = FoldingReport(self._invalid, memory_bytes, clock())
        self.stepped_us = clock()
        self.note_batch: Callable[[float], object] = float
        self._stopping = False
        self._polled = Polled({}, {}, [], [], [])  # what is in hand

    def stop(self) -> None:
        """Finish the batch in hand, commit, and return from `run`. Safe to call from a signal handler."""
        self._stopping = True

    @property
    def input_is_broken(self) -> bool:
        """Whether what comes is wholly invalid, or as much of it as the limit says: a producer is broken."""
        return self._invalid.is_broken(self._clock())

    def run(self) -> None:
        """Read and fold until `stop`. Raises OtherLayout, and what nothing can be done about."""
        self._source.subscribe(self.assign, self.revoke, self._leader_epoch)
        log.info("worker started")
        try:
            while not self._stopping:
                self.step(self._settings.limits)
        finally:
            for assignment in self._assignments.values():
                self._finish_leaving(assignment)
            self._commit(wait=True)
            self._source.close()
            log.info("worker stopped", extra=self._report.fields(self._assignments.values()))

    def step(self, limits: BatchLimits) -> None:
        """Read one batch, and do with it, and with all else that is due, what is to be done."""
        try:
            polled = self._polled = self._source.poll(limits)
        except MemoryError:
            log.exception("what was read does not fit into memory")
            self._let_go(None)
            self._read_again()
            return
        for topic in set(polled.missing_topics):
            log.warning("waiting for a topic that does not exist yet", extra={"topic": topic})
        for assignment in self._each():
            if assignment.state is State.OPENING:
                self._try(assignment, lambda one: one.shard)
            elif assignment.is_under_way and assignment.partition not in polled.messages:
                self._try(assignment, Assignment.finish)
        for partition in polled.out_of_range:
            self._try_in(partition, partial(find_log, source=self._source, now_us=self._clock()))
        for partition in polled.truncated:
            self._try_in(partition, partial(refuse, source=self._source, now_us=self._clock(), why=TRUNCATED))
        for assignment in self._each():
            if assignment.is_of_another_topic(self._source.topic_id(assignment.partition.topic)):
                refuse(assignment, self._source, self._clock(), MADE_AGAIN)
        if self._topology is not None and polled.messages:
            self._look_at_partitions(self._topology, {partition.topic for partition in polled.messages})
        began_us = self._clock() if polled.messages else None
        self._fold(polled)
        if began_us is not None:
            self.note_batch((self._clock() - began_us) / SECOND_US)
        self._ask()
        self._commit(wait=False)
        self._report.log_if_due(self._assignments.values(), self._clock())
        self.stepped_us = self._clock()

    def partitions(self) -> list[tuple[str, int, str]]:
        """Topic, number and state of each partition that is assigned; safe to call from another thread."""
        assignments = list(self._assignments.values())
        return [(one.partition.topic, one.partition.number, one.state.name.lower()) for one in assignments]

    def assign(self, partition: Partition) -> int | None:
        """Take on a partition: the offset to read it from; if Redis is away, it is found out as soon as it answers."""
        assignment = self._assignments[partition] = Assignment(partition, self._open_shard, self._invalid)
        try:
            assignment.open(self._clock())
        except (*StoreTrouble, Fenced) as away:
            log.warning("waiting for Redis", extra={**named(partition), "why": str(away)})
            return None
        log.info("partition assigned", extra={**named(partition), "offset": assignment.next_offset})
        return assignment.next_offset

    def revoke(self, partitions: list[Partition]) -> None:
        """Give partitions up, with nothing of them under way."""
        for partition in partitions:
            if (assignment := self._assignments.pop(partition, None)) is not None:
                self._finish_leaving(assignment)
                self._report.note_left(assignment)
            log.info("partition revoked", extra=named(partition))

    def _fold(self, polled: Polled) -> None:
        # While one partition waits, the source takes away what it has of those that are revoked or assigned anew.
        while polled.messages:
            # Who has few messages does not wait for who has many.
            partition = min(polled.messages, key=lambda one: len(polled.messages[one]))
            messages = polled.messages.pop(partition)
            self._try_in(partition, partial(Assignment.apply, messages=messages, folding=self._folding))
        while polled.ended:
            partition, end = polled.ended.popitem()
            self._try_in(
                partition,
                partial(Assignment.note_end, end=end, now_us=self._clock(), fixed_now_us=self._settings.fixed_now_us),
            )

    def _each(self) -> Iterator[Assignment]:
        """Each that is assigned, as long as it is: while one waits, others may be revoked."""
        return (one for one in list(self._assignments.values()) if self._assignments.get(one.partition) is one)

    def _try_in(self, partition: Partition, action: Callable[[Assignment], object]) -> bool:
        assignment = self._assignments.get(partition)
        return assignment is None or self._try(assignment, action)

    def _try(self, assignment: Assignment, action: Callable[[Assignment], object]) -> bool:
        """Do it; after a failure (False) read again from what Redis then holds, as soon as it answers."""
        fields = named(assignment.partition)
        try:
            action(assignment)
            return True
        except Recoverable as failed:
            log.warning("will read again from the stored offset", extra={**fields, "why": str(failed)})
        except (OtherLayout, EvictingPolicy):
            raise
        except Exception as failed:  # whatever a message may do to us, the partition goes on
            log.exception("a step failed; its messages are tried one by one", extra=fields)
            assignment.failed()
            if isinstance(failed, MemoryError):
                self._let_go(assignment)
        # What is in hand of it may lie behind what Redis then holds.
        self._polled.messages.pop(assignment.partition, None)
        # Revoked meanwhile, it is another's to open.
        while self._assignments.get(assignment.partition) is assignment and not self._stopping:
            self._source.keep_alive(RETRY_S)
            try:
                if self._assignments.get(assignment.partition) is assignment:
                    assignment.open(self._clock())
                break
            except Recoverable as failed:
                log.warning("waiting for Redis", extra={**fields, "why": str(failed)})
            except MemoryError:
                self._let_go(assignment)
        self._read_again()
        return False

    def _read_again(self) -> None:
        """Waiting may have let messages of any partition pass; what comes twice is skipped by its offset.

        The ends that are in hand are not reached any more: what Redis has forgotten lies before them.
        """
        self._polled.ended.clear()
        for other in self._assignments.values():
            if other.state is not State.OPENING:
                self._source.seek(other.partition, other.next_offset)
                log.info("reading again", extra={**named(other.partition), "offset": other.next_offset})

    def _let_go(self, of: Assignment | None) -> None:
        """Memory has run out: forget what the other partitions keep in it, too; they open again in the next step."""
        for assignment in self._assignments.values():
            if assignment is not of:
                self._finish_leaving(assignment)
                assignment.close()
        gc.collect()

    def _finish_leaving(self, assignment: Assignment) -> None:
        """See stored what is under way of a partition that is given up.

        If it was not, whoever has it next reads from what is stored, whatever that is.
        """
        try:
            assignment.finish()
        except Recoverable as failed:
            log.warning("gave up what was under way", extra={**named(assignment.partition), "why": str(failed)})

    def _ask(self) -> None:
        """Ask what is to be known from time to time: ends, partitions, and whether refused shards have been reset."""
        for assignment in self._each():
            if assignment.state is State.OPENING:
                continue
            # The broker says again that a partition is at its end after each seek.
            if assignment.ask_end(self._clock(), len(self._assignments)):
                self._source.seek(assignment.partition, assignment.next_offset)
            elif assignment.state is State.REFUSED:
                self._try(assignment, self._ask_reset)
            elif assignment.is_opened:
                self._try(assignment, lambda one: one.look_for_starts(self._clock()))
        opened = [one for one in self._each() if one.state is not State.OPENING]
        reading = [one.partition for one in opened if one.state is State.READING]
        for partition, mark in self._source.ask_ends(reading).items():
            if partition in self._assignments:
                self._assignments[partition].note_mark(mark)
        # Whoever has a topic's first partition sees to it that answers know of all the others.
        self._source.count_partitions(
            {one.partition.topic: one.shard.store.register_partitions for one in opened if one.partition.number == 0}
        )

    def _look_at_partitions(self, topology: Topology, topics: set[str]) -> None:
        first, *_ = self._assignments.values() if self._assignments else [None]
        has_grown = False

        def look(_: Assignment) -> None:
            nonlocal has_grown
            has_grown = topology.look(list(self._assignments.values()), topics, self._clock())

        if first is not None and not self._try(first, look):
            self._polled.messages.clear()  # all are read again, and folded once it is known how they are shared out
        if has_grown:
            self._source.keep_alive(SETTLING_S)
            self._read_again()

    def _ask_reset(self, assignment: Assignment) -> None:
        if assignment.was_reset(self._clock()):
            raise Fenced("its shard has been reset")

    def _leader_epoch(self, partition: Partition) -> int:
        return self._assignments[partition].leader_epoch

    def _commit(self, wait: bool) -> None:
        if wait or self._clock() - self._committed_us >= COMMIT_INTERVAL_US:
            self._source.commit(
                {one.partition: one.to_commit for one in self._assignments.values() if one.to_commit is not None}, wait
            )
            for assignment in self._assignments.values():
                assignment.to_commit = None
            self._committed_us = self._clock()
