"""A worker as a process of the model: the real one, reading a log and writing a Redis in memory, step by step."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from aggregator.layout.keys import ShardName
from aggregator.prices.book import UNPRICED, PriceBook, Timeline
from aggregator.rollups.levels import Retention
from aggregator.time_units import DAY_S, SECOND_US
from aggregator.writing.limits import ShardLimits
from aggregator.writing.objects_access import AtOnce, objects_access
from aggregator.writing.shard import Shard
from ingest.assignment import Assignment
from ingest.batch_limits import BatchLimits
from ingest.kafka.message import DeadLetter
from ingest.kafka.partition import Partition
from ingest.worker import Worker, WorkerSettings
from tests.protocol.memory_log import MemoryLog, MemorySource
from tests.protocol.memory_objects import Kept, MemoryObjects
from tests.protocol.memory_redis import MemoryRedis
from tests.protocol.memory_store import Fault, MemoryStore
from tests.protocol.turns import TO_THE_END, Turns

NAMESPACE = "model"
# Nothing goes past its retention in the model; tests of retention are elsewhere.
RETENTION = Retention(*[100_000 * DAY_S] * 4)
# Longer than anything takes, a worker that freezes too; a Redis that falls back further than half of it is wiped.
GRACE_S = 1_000
# Every minute is opened, and closed as soon as nothing else is to be done; then every cell and full chunk is sealed,
# and cells are moved, also of a day that is not over. Two calls make a minute busy.
LIMITS = ShardLimits(
    open_calls_min=0,
    open_within_s=100_000 * DAY_S,
    seal_after_s=-10 * DAY_S,
    move_after_s=-10 * DAY_S,
    objects_grace_s=GRACE_S,
    collect_every_s=1,
    busy_calls_min=2,
    first_calls_max=1,
)


# What an object store is asked.
OF_OBJECTS = ("put", "get", "delete", "list")

# Steps of sealing, moving and collecting, one after the other.
KEPT_UP_AT_ONCE = 40
# Listing, and each wait for an object store, say that nothing was done.
STEPS_THAT_COUNT_NOTHING = 2


class NoCatalogue:
    """A catalogue in which nothing has a price."""

    def timeline(self, model: str) -> Timeline:
        del model
        return UNPRICED


PRICES = PriceBook(None, NoCatalogue())


class NoTopic:
    """Takes dead letters, and delivers them nowhere."""

    def send(self, letters: Iterable[DeadLetter]) -> None: ...


class Parts(NamedTuple):
    """The classes that a worker is made of. The mutants of the model replace one or the other."""

    store: type[MemoryStore] = MemoryStore
    shard: type[Shard] = Shard
    source: type[MemorySource] = MemorySource
    objects: type[MemoryObjects] = MemoryObjects
    limits: ShardLimits = LIMITS


class WorkerProcess:
    """One worker, which stops before every command to Redis, when its steps are used up, and others come between."""

    def __init__(
        self,
        parts: Parts,
        server: MemoryRedis,
        log: MemoryLog,
        clock_us: Callable[[], int],
        objects: Kept,
    ) -> None:
        self._parts = parts
        self._clock_us = clock_us
        self._server = server
        self._turns = Turns()
        self._stores: dict[Partition, MemoryStore] = {}
        self.fault: Fault | None = None
        self._kept = objects
        self._objects = parts.objects(objects, self._before)
        self.source = parts.source(log, self._turns.pause)
        settings = WorkerSettings(RETENTION.calls_s * SECOND_US)
        self._worker = Worker(settings, self.source, NoTopic(), self._open_shard, clock_us, lambda: 0)
        self.source.subscribe(self._worker.assign, self._worker.revoke)

    @property
    def busy(self) -> bool:
        """Whether it is in the middle of a batch."""
        return self._turns.busy

    def run(self, messages_max: int, steps_max: int = TO_THE_END, until: str | None = None) -> None:
        """Go on for so many commands to Redis, or until before the next one of that name.

        Where it is idle, it begins by taking a batch, as Worker.run does.
        """
        self._turns.run(lambda: self._batch(messages_max), steps_max, until)

    def keep_up(self, steps_max: int = TO_THE_END, until: str | None = None) -> None:
        """Seal, move and collect, as where no message comes for a while; or go on with what is under way.

        For so many commands to Redis, or until before the next one of that name.
        """
        self._turns.run(self._keep_up, steps_max, until)

    def kill(self) -> None:
        """Kills the worker: what it had in memory is gone."""
        self._turns.kill()

    def _batch(self, messages_max: int) -> None:
        self._worker.step(BatchLimits(messages_max))

    def _keep_up(self) -> None:
        for assignment in list(self._worker._assignments.values()):
            if assignment.is_opened:
                self._worker._try(assignment, self._keep_up_one)

    def _keep_up_one(self, assignment: Assignment) -> None:
        assignment.finish()
        idle = 0
        for _ in range(KEPT_UP_AT_ONCE):
            idle = 0 if assignment.shard.seal(self._clock_us()) else idle + 1
            if idle > STEPS_THAT_COUNT_NOTHING:
                break

    def _open_shard(self, partition: Partition) -> Shard:
        store = self._stores.get(partition)
        if store is None:
            store = self._stores[partition] = self._parts.store(
                self._server, ShardName(NAMESPACE, *partition), self._before
            )
        return self._parts.shard(store, PRICES, RETENTION, self._parts.limits, objects_access(self._objects, AtOnce()))

    def _before(self, command: str) -> Fault | None:
        self._turns.pause(command)
        if self._kept.is_away and command in OF_OBJECTS:
            return Fault.UNSENT
        if self.fault is Fault.FULL and command not in ("register", "exec"):
            return None
        fault, self.fault = self.fault, None
        return fault
