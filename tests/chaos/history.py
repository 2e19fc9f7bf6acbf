"""What a topic holds, message by message, and what an answer may say when so many of them are applied."""

from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from confluent_kafka import Consumer, TopicPartition

from tests.brute_force.calls import Call, Calls
from tests.chaos.load import Delivered
from tests.chaos.workload import Workload

MESSAGE_TIMEOUT_S = 30.0
READ_MAX = 10_000
# When a message can be read of which the broker did not say where it is: with the next one.
NEVER_US = 2**62

# By partition: the first offset that is not applied.
Offsets = Mapping[int, int]
Counts = npt.NDArray[np.int64]


class Totals(NamedTuple):
    """Sums over a project; they only grow as more is applied, but for tokens: what roll-ups repeat is taken back."""

    calls: int
    errors: int
    latency_ms: int
    tokens: int


_TOKENS = Totals._fields.index("tokens")
# Beside the sums: what calls have gained of tokens so far, and what roll-ups have lost of them.
_GAINED, _LOST = len(Totals._fields), len(Totals._fields) + 1
_COLUMNS = len(Totals._fields) + 2


class Appended(NamedTuple):
    """A message: when it could certainly be read, microseconds since the epoch, and what it says."""

    at_us: int
    value: bytes | None


class History:
    """A topic as it was read once, from offset 0 on."""

    def __init__(self, log: Mapping[int, list[Appended]], workload: Workload) -> None:
        self._log = log
        self._workload = workload
        self._at_us = {partition: _times_us(messages) for partition, messages in log.items()}
        self._totals = {partition: self._running(messages) for partition, messages in log.items()}

    def between(
        self, project_id: str, low: Offsets, high: Offsets | None, at_one_instant: bool = True
    ) -> tuple[Totals, Totals]:
        """The least and the most that each sum may be while every partition is applied to somewhere in between.

        A partition that `low` lacks may not have begun; one that `high` lacks has not; None: all may be applied.
        `at_one_instant`: else each call counts as it was at some instant in between, another one than others perhaps.
        """
        least, most = np.zeros(len(Totals._fields), np.int64), np.zeros(len(Totals._fields), np.int64)
        for partition, totals in self._totals.items():
            if project_id in totals:
                length = len(self._log[partition])
                begin = min(low.get(partition, 0), length)
                end = length if high is None else max(begin, min(high.get(partition, 0), length))
                possible = totals[project_id][begin : end + 1]
                lowest, highest = possible.min(axis=0), possible.max(axis=0)
                if not at_one_instant:
                    lowest[_TOKENS] = possible[0, _TOKENS] - (highest - lowest)[_LOST]
                    highest[_TOKENS] = possible[0, _TOKENS] + (highest - lowest)[_GAINED]
                least += lowest[: len(Totals._fields)]
                most += highest[: len(Totals._fields)]
        return Totals(*map(int, least)), Totals(*map(int, most))

    def applied_in_all(self, offsets: Offsets) -> bool:
        """Whether something of every partition that holds anything is applied."""
        return all(offsets.get(partition) for partition, messages in self._log.items() if messages)

    def applied_as_of(self, as_of_us: int) -> dict[int, int]:
        """How far each partition must be applied by who says that all before `as_of_us` is."""
        return {partition: int(np.searchsorted(at_us, as_of_us)) for partition, at_us in self._at_us.items()}

    def _running(self, messages: list[Appended]) -> dict[str, Counts]:
        """Returns by project the sums after each number of messages of a partition."""
        known = Calls()
        sums: dict[str, Counts] = {}
        trees: dict[tuple[str, str], _Tree] = {}
        for number, message in enumerate(messages, start=1):
            for event in self._workload.events[message.value]:
                running = sums.get(event.project_id)
                if running is None:
                    running = sums[event.project_id] = np.zeros((len(messages) + 1, _COLUMNS), np.int64)
                call = known.by_identity.get((event.project_id, event.call_id))
                was_started = call is not None and call.start is not None
                was_ended = call is not None and call.end is not None
                known.add(event)
                call = known.by_identity[event.project_id, event.call_id]
                running[number][: len(Totals._fields)] += _taken(call, was_started, was_ended)
                if call.start is not None:
                    gained, lost = trees.setdefault(call.place[:2], _Tree()).add(call)
                    running[number][[_TOKENS, _GAINED, _LOST]] += gained - lost, gained, lost
        return {project_id: np.cumsum(running, axis=0) for project_id, running in sums.items()}


def _times_us(messages: list[Appended]) -> Counts:
    """Returns when each message could be read: at the latest when a later one could."""
    return np.minimum.accumulate(np.array([one.at_us for one in messages], np.int64)[::-1])[::-1]


def _taken(call: Call, was_started: bool, was_ended: bool) -> Totals:
    """Returns what an event adds to the sums but for tokens, as the first start and the first end."""
    if call.start is None or (was_started and (was_ended or call.end is None)):
        return Totals(0, 0, 0, 0)
    if call.end is None:
        return Totals(1, 0, 0, 0)
    latency_ms = call.latency_ms
    assert latency_ms is not None
    return Totals(int(not was_started), int(call.end.failed), latency_ms, 0)


class _Tree:
    """The tokens of a trace: what a roll-up states counts only as far as it exceeds what is below it."""

    def __init__(self) -> None:
        self._calls: dict[str, Call] = {}
        self._tokens: dict[str, int] = {}

    def add(self, call: Call) -> tuple[int, int]:
        """Count a call that has started, again when it has ended; how many tokens calls gain by it, and lose."""
        self._calls[call.call_id] = call
        children: dict[str, list[Call]] = {}
        tops = []
        for one in self._calls.values():
            parent_id = one.start.parent_id if one.start is not None else None
            if parent_id in self._calls:
                children.setdefault(parent_id or "", []).append(one)
            else:
                tops.append(one)
        before, self._tokens = self._tokens, {}
        for top in tops:
            self._below(top, children)
        more = [self._tokens.get(one, 0) - before.get(one, 0) for one in {*before, *self._tokens}]
        return sum(one for one in more if one > 0), -sum(one for one in more if one < 0)

    def _below(self, call: Call, children: Mapping[str, list[Call]]) -> Counter[str]:
        """Returns by model the tokens of a call and all below it, and notes those of each call."""
        below: Counter[str] = Counter()
        for child in children.get(call.call_id, ()):
            below.update(self._below(child, children))
        of_others = sum(below.values())
        for model, counts in call.end.usage.items() if call.end is not None else ():
            stated = counts.total_tokens
            below[model] = max(stated, below[model]) if call.may_roll_up else below[model] + stated
        self._tokens[call.call_id] = sum(below.values()) - of_others
        return below


def read_log(bootstrap_servers: str, topic: str, delivered: Delivered) -> dict[int, list[Appended]]:
    """All messages of the topic by partition, which must begin at offset 0. `delivered`: when each could be read."""
    ends = log_ends(bootstrap_servers, topic)
    assert not any(low for low, _ in ends.values())
    log: dict[int, list[Appended]] = {partition: [] for partition in ends}
    left = sum(high for _, high in ends.values())
    with closing(_consumer(bootstrap_servers)) as consumer:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in ends])
        while left:
            read = consumer.consume(min(READ_MAX, left), MESSAGE_TIMEOUT_S)
            assert read, f"{left} messages never come"
            left -= len(read)
            for message in read:
                assert message.error() is None, message.error()
                partition, offset = message.partition(), message.offset()
                log[partition].append(Appended(delivered.get((partition, offset), NEVER_US), message.value()))  # type: ignore
    return log


def log_ends(bootstrap_servers: str, topic: str) -> dict[int, tuple[int, int]]:
    """Returns by partition the oldest offset, and the one the next message will get."""
    with closing(_consumer(bootstrap_servers)) as consumer:
        partitions = consumer.list_topics(topic, MESSAGE_TIMEOUT_S).topics[topic].partitions
        return {
            partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), MESSAGE_TIMEOUT_S)
            for partition in sorted(partitions)
        }


def _consumer(bootstrap_servers: str) -> Consumer:
    return Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "history", "enable.auto.commit": False})
