"""Steps of the worker, one after the other, with a source and shards that only note what they are told."""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from aggregator.calls.event import Event
from aggregator.layout.attempt import Attempt
from aggregator.layout.keys import ShardName
from aggregator.store.shard_store import Fenced
from aggregator.time_units import SECOND_US
from aggregator.writing.batch_changes import Applied
from aggregator.writing.fold_batch import FoldBatch
from aggregator.writing.shard import Shard
from ingest.batch_limits import BatchLimits
from ingest.kafka.consumer import LogEnd, Polled, Source
from ingest.kafka.log_ends import EndMark
from ingest.kafka.message import Message
from ingest.kafka.partition import Partition
from ingest.kafka.partition_counts import Register
from ingest.worker import Worker, WorkerSettings
from tests.protocol.memory_log import as_received
from tests.protocol.worker_process import NoTopic
from tests.support.folding import NOW_US

HOT, QUIET = Partition("calls", 0), Partition("calls", 1)


class NotedShard:
    """Takes everything, and notes when."""

    dropped_before_us = 0
    next_element = 0

    def __init__(self, partition: Partition, noted: list[tuple[Partition, int]]) -> None:
        self.next_offset = self.sent_offset = 0
        self.store = self
        self.shard = ShardName("callmeter", *partition)
        self.log: dict[str, str] = {}
        self.as_of_us = 0
        self.counted: list[tuple[int, int]] = []
        self.fails = False
        self._partition = partition
        self._noted = noted

    def read_attempt(self) -> Attempt | None:
        return None

    def note_log(self, name: str, value: str) -> None: ...

    def note_attempt(self, attempt: Attempt) -> None: ...

    def begin(
        self,
        events: Sequence[Event],
        next_offset: int,
        as_of_us: int | None,
        now_us: int,
        counters: Mapping[str, int],
        next_element: int,
        fold: FoldBatch,
    ) -> Applied:
        self.sent_offset = next_offset
        self._noted.append((self._partition, next_offset))
        return Applied(len(events), 0, 0, 0)

    def finish(self) -> None:
        if self.fails:
            raise Fenced("another wrote")
        self.next_offset = self.sent_offset

    def note_end(self, next_offset: int, as_of_us: int | None) -> None:
        self.as_of_us = as_of_us or self.as_of_us

    def register_partitions(self, partitions: int, counted_us: int) -> None:
        self.counted.append((partitions, counted_us))


class Steps:
    """A worker with two partitions."""

    def __init__(self) -> None:
        self.now_us = NOW_US
        self.is_lost = False
        self.applied: list[tuple[Partition, int]] = []
        self.sought: list[Partition] = []
        self.committed: dict[Partition, int] = {}
        self.to_count: Mapping[str, Register] = {}
        self.shards: dict[Partition, NotedShard] = {}
        self._polled = Polled({}, {}, [], [], [])
        settings = WorkerSettings(30 * 86_400 * SECOND_US)
        self._worker = Worker(settings, cast(Source, self), NoTopic(), self._open, lambda: self.now_us, lambda: 0)
        for partition in (HOT, QUIET):
            self._worker.assign(partition)

    def step(
        self,
        ended: Sequence[Partition] = (),
        messages: Mapping[Partition, int] = {},
        truncated: Sequence[Partition] = (),
    ) -> None:
        """A second later, with so many messages of each partition, the ends of some, and lost tails."""
        self.now_us += SECOND_US
        polled = {}
        for partition, count in messages.items():
            first = self.shards[partition].sent_offset
            polled[partition] = [
                as_received(Message(*partition, first + number, 1_000, None, b"")) for number in range(count)
            ]
        ends = {partition: LogEnd(self.shards[partition].sent_offset) for partition in ended}
        self._polled = Polled(polled, ends, [], list(truncated), [])
        self._worker.step(BatchLimits())

    def poll(self, limits: BatchLimits) -> Polled:
        return self._polled

    def topic_id(self, topic: str) -> str | None:
        return None

    def ask_ends(self, partitions: Iterable[Partition]) -> dict[Partition, EndMark]:
        return {}

    def seek(self, partition: Partition, offset: int | None) -> None:
        self.sought.append(partition)

    def count_partitions(self, topics: Mapping[str, Register]) -> None:
        self.to_count = topics

    def commit(self, next_offsets: Mapping[Partition, int], wait: bool) -> None:
        self.committed |= next_offsets

    def keep_alive(self, for_s: float) -> None:
        if self.is_lost:
            self._worker.revoke([HOT, QUIET])

    def hold(self, partition: Partition) -> None: ...

    def leave(self, partition: Partition) -> None:
        """Revokes the partition."""
        self._worker.revoke([partition])

    def _open(self, partition: Partition) -> Shard:
        if self.is_lost:
            raise Fenced("another wrote")
        self.shards[partition] = NotedShard(partition, self.applied)
        return cast(Shard, self.shards[partition])


def test_few_messages_before_many() -> None:
    """The messages of a quiet partition are applied before those of a hot one in the same step, whichever came
    first."""
    for order in ({HOT: 3, QUIET: 2}, {QUIET: 2, HOT: 3}):
        steps = Steps()
        steps.step(messages=order)
        assert steps.applied == [(QUIET, 2), (HOT, 3)]


def test_an_idle_partition_is_asked_once_for_each_answer() -> None:
    """An idle partition is asked again only after the answer: to ask is to seek, which drops what has come and waits
    behind others."""
    steps = Steps()
    steps.step([QUIET])
    for _ in range(3):
        steps.step(messages={HOT: 1})
    assert steps.sought == [QUIET]
    asked_us = NOW_US + SECOND_US
    steps.step([QUIET], {HOT: 1})
    assert steps.shards[QUIET].as_of_us == asked_us
    assert steps.sought == [QUIET, QUIET]
    steps.step(messages={QUIET: 1})
    steps.step([QUIET])
    steps.step()
    assert steps.sought == [QUIET, QUIET, QUIET]


def test_only_what_is_stored_is_committed() -> None:
    """Messages that a step has sent are known to be stored in the next, whether or not that has messages of the
    partition."""
    for messages in ({}, {HOT: 1}):
        steps = Steps()
        steps.step(messages={HOT: 3})
        assert steps.committed == {HOT: 0, QUIET: 0}
        steps.step(messages=messages)
        assert steps.committed == {HOT: 3, QUIET: 0}


def test_what_was_not_stored_is_read_again() -> None:
    """Messages that were not stored are read again from what is stored then; what came after is not folded before, and
    other partitions read again too."""
    for messages in ({}, {HOT: 1}):
        steps = Steps()
        steps.step(messages={HOT: 3})
        steps.shards[HOT].fails = True
        steps.step(messages=messages)
        assert steps.applied == [(HOT, 3)]
        assert (steps.committed[HOT], steps.sought) == (0, [HOT, QUIET])
        steps.step(messages={HOT: 3})
        steps.step()
        assert (steps.applied, steps.committed[HOT]) == ([(HOT, 3)] * 2, 3)


def test_a_partition_is_left_with_nothing_under_way() -> None:
    """A partition is left with nothing under way: its next worker finds all of it stored; where that failed, nothing is
    told here, nor committed."""
    steps = Steps()
    steps.step(messages={HOT: 3, QUIET: 2})
    steps.shards[QUIET].fails = True
    steps.leave(HOT)
    steps.leave(QUIET)
    steps.step()
    assert [steps.shards[partition].next_offset for partition in (HOT, QUIET)] == [3, 0]
    assert steps.committed == {HOT: 0, QUIET: 0}


def test_what_is_revoked_while_another_waits_is_let_be() -> None:
    """The client knows a partition no more that it has lost: to seek in it would end the worker."""
    steps = Steps()
    steps.step([QUIET], truncated=[HOT])
    assert steps.sought == [QUIET]
    steps.is_lost = True  # the next look at the refused partition waits, and the group goes on without this worker
    steps.step([QUIET])
    assert steps.sought == [QUIET]


def test_partitions_are_counted_by_who_has_the_first() -> None:
    """Whose shard registers them, as long as it has it."""
    steps = Steps()
    steps.step()
    assert list(steps.to_count) == [HOT.topic]
    steps.to_count[HOT.topic](4, NOW_US)
    assert [steps.shards[partition].counted for partition in (HOT, QUIET)] == [[(4, NOW_US)], []]
    steps.leave(HOT)
    steps.step()
    assert not steps.to_count
