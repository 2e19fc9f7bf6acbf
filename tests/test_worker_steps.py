"""One step of the worker after the other, with a source and shards that only note what they are told."""

from collections.abc import Mapping, Sequence
from typing import cast
from unittest.mock import patch

from aggregator.event import Event
from aggregator.levels import SECOND_US
from aggregator.shard import Applied, Shard
from ingest.message import Message
from ingest.source import Place, Polled, Source
from ingest.worker import Worker, WorkerSettings
from tests.folding import NOW_US
from tests.protocol.memory_log import as_received
from tests.protocol.worker_process import NoTopic

HOT, QUIET = Place("calls", 0), Place("calls", 1)


class NotedShard:
    """Takes everything, and notes when."""

    dropped_before_us = 0

    def __init__(self, place: Place, noted: list[tuple[Place, int]]) -> None:
        self.next_offset = 0
        self.as_of_us = 0
        self._place = place
        self._noted = noted

    def apply(
        self, events: Sequence[Event], next_offset: int, as_of_us: int, now_us: int, counters: Mapping[str, int]
    ) -> Applied:
        self.next_offset = next_offset
        self._noted.append((self._place, next_offset))
        return Applied(len(events), 0, 0, 0)

    def touch(self, as_of_us: int) -> None:
        self.as_of_us = as_of_us


class Steps:
    """A worker with two places."""

    def __init__(self) -> None:
        self.now_us = NOW_US
        self.applied: list[tuple[Place, int]] = []
        self.sought: list[Place] = []
        self.shards: dict[Place, NotedShard] = {}
        settings = WorkerSettings("", "", (), 30 * 86_400 * SECOND_US)
        with patch("ingest.worker.DeadLetterTopic", NoTopic):
            self._worker = Worker(settings, self._open, lambda: self.now_us, lambda: 0)
        for place in (HOT, QUIET):
            self._worker._assign(place)

    def step(self, ended: Sequence[Place] = (), messages: Mapping[Place, int] = {}) -> None:
        """A second later, with so many messages of each place, and the ends of some."""
        self.now_us += SECOND_US
        polled = {}
        for place, count in messages.items():
            first = self.shards[place].next_offset
            polled[place] = [as_received(Message(*place, first + number, 1_000, None, b"")) for number in range(count)]
        self._worker._step(cast(Source, self), Polled(polled, list(ended), [], []))

    def seek(self, place: Place, offset: int | None) -> None:
        self.sought.append(place)

    def commit(self, next_offsets: Mapping[Place, int], wait: bool) -> None: ...

    def _open(self, place: Place) -> Shard:
        self.shards[place] = NotedShard(place, self.applied)
        return cast(Shard, self.shards[place])


def test_few_messages_before_many() -> None:
    """What a step brought of a quiet place is applied before what it brought of a hot one, whichever came first."""
    for order in ({HOT: 3, QUIET: 2}, {QUIET: 2, HOT: 3}):
        steps = Steps()
        steps.step(messages=order)
        assert steps.applied == [(QUIET, 2), (HOT, 3)]


def test_an_idle_place_is_asked_once_for_each_answer() -> None:
    """To ask is to seek, which drops what has come and waits behind others: so not again before the answer is there."""
    steps = Steps()
    steps.step([QUIET])
    for _ in range(3):
        steps.step(messages={HOT: 1})
    assert steps.sought == [QUIET]
    asked_us = NOW_US + 2 * SECOND_US
    steps.step([QUIET], {HOT: 1})
    assert steps.shards[QUIET].as_of_us == asked_us
    assert steps.sought == [QUIET, QUIET]
    steps.step(messages={QUIET: 1})
    steps.step([QUIET])
    steps.step()
    assert steps.sought == [QUIET, QUIET, QUIET]
