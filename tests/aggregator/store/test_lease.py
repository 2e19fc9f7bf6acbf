"""The lease of a rebuild as a machine of steps: rebuilds that die or are slow, workers that take back, in any order.

Every step is one command, or one script, of the real ones, so that whatever order real processes could have is tried.
At each switch the new generation holds what the old one held, and nothing is written to the old one after it.
"""

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import redis

from aggregator.layout.keys import ShardName
from aggregator.layout.write import ShardWrite
from aggregator.store.connection import connect
from aggregator.store.generation import SILENT_S_MAX, Generations, Lease, RebuildRuns, lease_key
from aggregator.store.shard_store import Fenced, ShardStore
from tests.servers.redis_cluster import RedisCluster
from tests.servers.redis_server import RedisServer

BASE = "lease"
PARTITIONS = 2
REBUILDS_MAX = 2
STEPS = 25
WALKS = 150


@pytest.fixture(scope="module", params=["single", "cluster"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A writer's connection."""
    directory = tmp_path_factory.mktemp("redis")
    server = RedisServer(directory) if request.param == "single" else RedisCluster(directory)
    server.start()
    yield connect(server.url, cluster=request.param == "cluster")
    server.stop()


class Rebuilding:
    """One rebuild: the shards that it has fenced, with the offset that it then folds up to."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.before = ""
        self.lease: Lease | None = None
        self.folded: dict[int, int] = {}


class Machine:
    """The states that there are, and each step that may be taken next."""

    def __init__(self, client: Any) -> None:
        clear(client)
        self.client = client
        self.generations = Generations(client, BASE)
        self.now_s = 1_000
        self.rebuilds: list[Rebuilding] = []
        # What workers have written, by namespace and partition; and each one's store, as it was last opened.
        self.written: dict[tuple[str, int], int] = {}
        self.stores: dict[int, ShardStore] = {}
        self.to_take_back: list[tuple[ShardName, str]] = []
        self.ended: dict[str, dict[int, int]] = {}

    def worker_goes_on(self, partition: int) -> None:
        """Does what a worker does after any doubt: look which generation is live, take back, open, write."""
        shard = ShardName(self.generations.live(), "calls", partition)
        self.generations.take_back(shard)
        self.stores[partition] = ShardStore(self.client, shard)
        self.worker_writes(partition)

    def worker_writes_late(self, partition: int) -> None:
        """Writes as one that has not noticed what has happened meanwhile."""
        if partition in self.stores:
            self.worker_writes(partition)

    def worker_writes(self, partition: int) -> None:
        store = self.stores[partition]
        key = store.shard.namespace, partition
        before = self.written.get(key, 0)
        try:
            store.apply(before or None, before + 1, ShardWrite())
        except Fenced:
            return
        assert store.shard.namespace not in self.ended, "written to a generation that is not live any more"
        self.written[key] = before + 1

    def worker_finds_a_lease_ended(self, partition: int, namespace: str) -> None:
        """The first half of taking back, of a generation that may not be live any more."""
        shard = ShardName(namespace, "calls", partition)
        if (lease := self.generations.ended_lease(shard)) is not None:
            self.to_take_back.append((shard, lease))

    def worker_takes_back_late(self) -> None:
        """The second half, by who was slow."""
        if self.to_take_back:
            shard, lease = self.to_take_back.pop()
            ShardStore(self.client, shard).move_back(lease)

    def rebuild_begins(self, silent_s: int) -> None:
        if len(self.rebuilds) == REBUILDS_MAX:
            return
        self.now_s += silent_s
        try:
            self.rebuilds.append(Rebuilding(self.generations.begin(self.now_s)))
        except RebuildRuns:
            return
        for partition in range(PARTITIONS):
            ShardStore(self.client, ShardName(self.generations.live(), "calls", partition)).register({})

    def rebuild_goes_on(self, which: int, does: str) -> None:
        if which >= len(self.rebuilds):
            return
        one = self.rebuilds[which]
        steps: dict[str, Callable[[Rebuilding], None]] = {
            "lease": self.takes_lease,
            "fence": self.fences,
            "switch": self.switches,
        }
        try:
            steps[does](one)
        except (RebuildRuns, Fenced):
            self.generations.give_up(one.namespace)
            self.rebuilds.remove(one)

    def takes_lease(self, one: Rebuilding) -> None:
        if one.lease is None:
            one.lease = self.generations.take_lease(one.namespace)
            one.before = self.generations.live()

    def fences(self, one: Rebuilding) -> None:
        """The next shard; without a look at its lease, as one that has just looked and then was slow."""
        if one.lease is None:
            self.takes_lease(one)
        elif len(one.folded) < PARTITIONS:
            partition = len(one.folded)
            shard = ShardName(one.before, "calls", partition)
            one.folded[partition] = self.generations.move_away(shard, one.lease) or 0

    def switches(self, one: Rebuilding) -> None:
        while one.lease is None or len(one.folded) < PARTITIONS:
            self.fences(one)
        assert self.generations.switch(one.lease) == one.before
        held = {partition: self.written.get((one.before, partition), 0) for partition in range(PARTITIONS)}
        assert one.folded == held, "the new generation lacks what the old one has"
        self.ended[one.before] = held
        for partition, offset in one.folded.items():
            self.written[one.namespace, partition] = offset
            if offset:
                self.client.set(ShardStore(self.client, ShardName(one.namespace, "calls", partition)).keys.next, offset)
        self.rebuilds.remove(one)

    def rebuild_is_killed(self, which: int) -> None:
        if which < len(self.rebuilds):
            self.rebuilds.pop(which)

    def lease_runs_out(self) -> None:
        self.client.delete(lease_key(BASE))

    def aborted(self) -> None:
        self.generations.tidy()

    def heals(self) -> None:
        """Checks that each worker goes on once the last lease has run out, where no rebuild is left."""
        if self.rebuilds:
            return
        self.client.delete(lease_key(BASE))
        for partition in range(PARTITIONS):
            shard = ShardName(self.generations.live(), "calls", partition)
            self.generations.take_back(shard)
            ShardStore(self.client, shard).next_offset()


def walk(client: Any, rng: random.Random) -> None:
    """Some steps in an order that was drawn."""
    machine = Machine(client)
    for _ in range(STEPS):
        partition, which = rng.randrange(PARTITIONS), rng.randrange(REBUILDS_MAX)
        steps: list[tuple[int, Callable[[], None]]] = [
            (6, partial(machine.worker_goes_on, partition)),
            (3, partial(machine.worker_writes_late, partition)),
            (2, partial(machine.worker_finds_a_lease_ended, partition, rng.choice([BASE, f"{BASE}.2"]))),
            (2, machine.worker_takes_back_late),
            (3, partial(machine.rebuild_begins, rng.choice([0, SILENT_S_MAX + 1]))),
            (12, partial(machine.rebuild_goes_on, which, rng.choice(["lease", "fence", "fence", "switch"]))),
            (1, partial(machine.rebuild_is_killed, which)),
            (2, machine.lease_runs_out),
            (1, machine.aborted),
        ]
        [(_, step)] = rng.choices(steps, [weight for weight, _ in steps])
        step()
        machine.heals()


def clear(client: Any) -> None:
    """Forget everything, on each node."""
    client.flushall(**({"target_nodes": "primaries"} if isinstance(client, redis.RedisCluster) else {}))


def test_in_any_order(client: redis.Redis) -> None:
    """Whatever happens in whatever order."""
    for seed in range(WALKS):
        try:
            walk(client, random.Random(seed))
        except AssertionError as wrong:
            raise AssertionError(f"walk {seed}") from wrong
