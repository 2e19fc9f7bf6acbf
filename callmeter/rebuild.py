"""Folds topics into a new generation beside the live one, and makes it the live one when it has caught up."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

import msgspec
import redis

from aggregator.calls.event import Event
from aggregator.layout.keys import ShardKeys, ShardName
from aggregator.store.elsewhere import Elsewhere
from aggregator.store.generation import Generations, Lease, RebuildRuns
from aggregator.store.shard_store import Fenced, ShardStore
from aggregator.time_units import DAY_US, SECOND_US
from aggregator.writing.shard import Shard
from callmeter.progress.work import WorkProgress
from callmeter.settings import Settings
from callmeter.shard_opening import ShardOpener
from callmeter.window_verification import NothingKept, verify_window
from ingest.batch_limits import BatchLimits
from ingest.fold_step import Folding, LargeMessages, UnreadUsage, fold_step
from ingest.kafka.log_reader import LogReader
from ingest.kafka.partition import Partition
from ingest.kafka.received import offset_of
from ingest.kafka.watermarks import watermarks
from ingest.sending_on import SendingOn

log = logging.getLogger(__name__)

# The live generation stands still while the rest is folded: so few messages take well under a second.
LAG_MESSAGES_MAX = 5_000
# Each pass shortens the lag by the ratio of the rates; if it does not shrink, more passes do not help.
PASSES_MAX = 20
PROJECTS_VERIFIED_MAX = 3


class RebuildDiffers(Exception):
    """The new generation is not the same as the live one; the message says how."""


class Source(msgspec.Struct, frozen=True):
    """A partition to be folded again: what its log holds, and how far the live shard is."""

    partition: Partition
    log_begins: int
    log_ends: int
    live_next_offset: int | None

    @property
    def messages(self) -> int:
        """Messages to fold."""
        return max(0, (self.live_next_offset or 0) - self.log_begins)

    @property
    def is_other_log(self) -> bool:
        """Whether the log ends before the stored offset: it is not the one that was folded."""
        return self.live_next_offset is not None and self.live_next_offset > self.log_ends

    @property
    def lost(self) -> str | None:
        """Return what the live shard has applied and the log does not hold any more, if anything."""
        name = f"{self.partition.topic}/{self.partition.number}"
        if self.live_next_offset is None:
            return None
        if self.is_other_log:
            return f"{name} ends at {self.log_ends}, before the stored offset {self.live_next_offset}"
        return f"{name} begins at {self.log_begins} only" if self.log_begins else None


class Rebuild:
    """One rebuild. Every method may raise what Redis and Kafka raise, and RebuildRuns."""

    def __init__(self, settings: Settings, client: redis.Redis, accept_differences: bool) -> None:
        self._settings = settings
        self._client: Any = client
        self._accept = accept_differences
        self._generations = Generations(client, settings.redis.namespace)
        # Dead letters were sent when the messages were first read.
        self._folding = Folding(
            settings.retention.kept().calls_s * SECOND_US,
            lambda: time.time_ns() // 1_000,
            None,
            settings.now_us(),
            settings.default_project,
            UnreadUsage(),
        )
        self._opener = ShardOpener(settings, client)
        self._shards: dict[Partition, Shard] = {}
        self._partitions: set[Partition] = set()
        self._sending: dict[Partition, SendingOn] = {}
        self._namespace = ""
        self._lease: Lease | None = None
        self._kept_s = 0.0

    def sources(self) -> list[Source]:
        """All partitions: those of the topics that are set, and those that the live generation has shards of."""
        kafka, shards = self._settings.kafka, self._generations.shards(self._generations.live())
        # The shards are read first: an offset that is read later could be beyond the end that was read before.
        offsets = {
            Partition(shard.topic, shard.partition): ShardStore(self._client, shard).read_offset() for shard in shards
        }
        topics = dict.fromkeys([*kafka.topics, *(shard.topic for shard in shards)])
        logs = {topic: watermarks(kafka.bootstrap_servers, topic, kafka.extra) for topic in topics}
        partitions = {Partition(topic, partition) for topic, partitions in logs.items() for partition in partitions}
        self._partitions = partitions | offsets.keys()
        return [
            Source(partition, *logs[partition.topic].get(partition.number, (0, 0)), offsets.get(partition))
            for partition in sorted(partitions | offsets.keys())
        ]

    def run(self) -> str:
        """Fold, verify, switch; the namespace that was live before. Raises RebuildDiffers, all being as it was."""
        lost = [source.lost for source in self.sources() if source.lost]
        if lost and not self._accept:
            raise RebuildDiffers(
                f"the log does not hold all that was folded, and what it lacks would be lost: {'; '.join(lost)}"
            )
        self._namespace = self._generations.begin(_now_s())
        log.info("rebuilding", extra={"into": self._namespace})
        is_to_switch = False
        try:
            self._catch_up()
            self._verify()
            self._lease = lease = self._generations.take_lease(self._namespace)
            self._hand_over(lease)
            is_to_switch = True
            return self._generations.switch(lease)
        except BaseException as failed:
            if not is_to_switch or isinstance(failed, RebuildRuns):  # else it may be live
                self._generations.give_up(self._namespace)
            if isinstance(failed, RebuildRuns | Fenced):
                raise RebuildRuns(f"the rebuild into {self._namespace} was ended from elsewhere: {failed}") from failed
            raise

    def finish(self) -> list[str]:
        """Drop what is not live."""
        return self._generations.tidy()

    def _catch_up(self) -> None:
        with WorkProgress("folding", "messages", 0) as progress, closing(self._reader()) as reader:
            folded = 0
            for _ in range(PASSES_MAX):
                sources = self.sources()
                lag = sum(source.messages for source in sources) - folded
                progress.total = folded + lag
                if folded and lag <= LAG_MESSAGES_MAX:
                    return
                for source in sources:
                    until = min(source.live_next_offset or 0, source.log_ends)
                    folded += self._fold(reader, source.partition, until, progress.add)
                    self._note_as_of(self._generations.live(), source.partition)
                if not lag:
                    return

    def _hand_over(self, lease: Lease) -> None:
        """Fence each live shard and fold up to where it then stands: from here on the live generation stands still."""
        live = self._generations.live()
        with closing(self._reader()) as reader:
            for source in self.sources():
                partition = source.partition
                of_live = ShardStore(self._client, ShardName(live, *partition))
                self._say_alive()
                of_live.register({})  # so that what is fenced is found when it has to be undone
                final = self._generations.move_away(of_live.shard, lease) or 0
                self._fold(reader, partition, source.log_ends if source.is_other_log else final, lambda _: None)
                self._note_as_of(live, partition)
        self._find_waiting()
        self._say_alive()
        self._compare(live)
        self._say_alive()

    def _note_as_of(self, live: str, partition: Partition) -> None:
        """An idle shard is told as of when it is without a message."""
        as_of_us = self._counters(live, partition).get("as_of_us")
        if as_of_us is not None:
            self._shard(partition).touch(as_of_us)

    def _find_waiting(self) -> None:
        """Ends that were folded before their starts, which are in other shards, find them now."""
        for partition, shard in self._shards.items():
            while self._sending_on(partition).look_for_starts(shard, time.time_ns() // 1_000):
                self._keep_alive()

    def _compare(self, live: str) -> None:
        """Raise RebuildDiffers if a topic has not as many calls as before.

        Where messages of a call come through several partitions, another of them may count it now.
        """
        before: Counter[str] = Counter()
        after: Counter[str] = Counter()
        for source in self.sources():
            topic = source.partition.topic
            before[topic] += self._counters(live, source.partition).get("calls", 0)
            after[topic] += self._counters(self._namespace, source.partition).get("calls", 0)
        for topic, calls in before.items():
            if calls != after[topic] and not self._accept:
                raise RebuildDiffers(f"{topic} has {calls} calls, folded again {after[topic]}")

    def _sending_on(self, partition: Partition) -> SendingOn:
        """Return what a fold asks of the other partitions, and gives to them, as a worker does by way of their logs."""
        if partition not in self._sending:
            retention_s = self._settings.retention.kept().calls_s
            shard = ShardName(self._namespace, *partition)
            elsewhere = Elsewhere(self._client, shard, retention_s, self._opener.frames)
            count = sum(one.topic == partition.topic for one in self._partitions)
            live = Elsewhere(self._client, ShardName(self._generations.live(), *partition), 0)
            grown_us = live.grown_us(count, time.time_ns() // 1_000)
            self._sending[partition] = SendingOn(elsewhere, partial(self._give, partition.topic), count, grown_us)
        return self._sending[partition]

    def _give(self, topic: str, events: list[tuple[int, Event]]) -> None:
        for number, event in events:
            shard = self._shard(Partition(topic, number))
            shard.take_in([event], time.time_ns() // 1_000)

    def _counters(self, namespace: str, partition: Partition) -> dict[str, int]:
        """Whatever the layout: counters are no part of it."""
        fields = self._client.hgetall(ShardKeys(ShardName(namespace, *partition)).shard)
        return {name.decode(): int(value) for name, value in fields.items() if value.isdigit()}

    def _fold(self, reader: LogReader, partition: Partition, until: int, done: Callable[[int], None]) -> int:
        """Fold a partition up to `until`; how many offsets that were."""
        shard = self._shard(partition)
        first = shard.next_offset
        if (first or 0) >= until:
            return 0
        large = LargeMessages()
        for messages in reader.read_received(partition, first, until):
            new = [message for message in messages if offset_of(message) >= (shard.next_offset or 0)]
            while new:
                before = shard.next_offset or offset_of(new[0])
                folded = fold_step(shard, new, self._folding, large, None, self._sending_on(partition))
                shard.finish()
                new = new[folded.messages :]
                done((shard.next_offset or 0) - before)
                self._keep_alive()
            self._keep_alive()
        if (shard.next_offset or 0) < until:  # what is left are no messages, but records of transactions
            shard.note_end(until, None)
        return (shard.next_offset or 0) - (first or 0)

    def _verify(self) -> None:
        """The last day of some projects."""
        for project, as_of_us in self._some_projects().items():
            window = (as_of_us - DAY_US, as_of_us)
            now_us = self._settings.now_us() or time.time_ns() // 1_000
            try:
                verified = asyncio.run(
                    verify_window(self._settings, self._namespace, project, *window, now_us, tree=False)
                )
            except NothingKept:
                continue
            if verified.differences and not self._accept:
                raise RebuildDiffers(f"{project} has {len(verified.differences)} differences in {self._namespace}")

    def _some_projects(self) -> dict[str, int]:
        """Some project ids, with the time of the newest message of their shard."""
        found: dict[str, int] = {}
        for shard in self._generations.shards(self._namespace):
            keys = ShardKeys(shard)
            as_of_us = self._client.hget(keys.shard, "as_of_us")
            for project_id, _ in self._client.hscan_iter(keys.projects):
                if len(found) >= PROJECTS_VERIFIED_MAX or as_of_us is None:
                    break
                found[project_id.decode()] = int(as_of_us)
        return found

    def _shard(self, partition: Partition) -> Shard:
        if partition not in self._shards:
            self._shards[partition] = self._opener.open(self._namespace, partition)
        return self._shards[partition]

    def _keep_alive(self) -> None:
        if time.monotonic() - self._kept_s > 1:
            self._say_alive()

    def _say_alive(self) -> None:
        self._kept_s = time.monotonic()
        self._generations.keep(self._namespace, _now_s())
        if self._lease is not None:
            self._lease.renew()

    def _reader(self) -> LogReader:
        kafka, batch = self._settings.kafka, self._settings.batch
        limits = BatchLimits(batch.messages_max, batch.bytes_max, batch.wait_ms)
        return LogReader(kafka.bootstrap_servers, kafka.extra, lambda: time.time_ns() // 1_000, limits)


def _now_s() -> int:
    return round(time.time())
