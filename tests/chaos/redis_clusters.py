"""Redis Cluster: three masters that share the slots, one of them dying, and slots that move."""

from typing import Any

import redis
from redis.crc import key_slot

from tests.chaos.redis_losses import FORGOTTEN_BYTES_MAX, forget
from tests.chaos.stage import ChaosFailed, Stage
from tests.chaos.trial import Trial
from tests.pipeline.golden import DATASETS, read_dataset
from tests.pipeline.pipeline import Pipeline
from tests.servers.redis_cluster import RedisCluster
from tests.servers.redis_server import RedisServer

KEYS_PER_STEP = 20
MIGRATE_TIMEOUT_MS = 5_000


def golden_cases(stage: Stage) -> str:
    """Every golden case is answered rightly from a cluster."""
    cluster = RedisCluster(stage.directory / "redis")
    cluster.start()
    cases = 0
    for name in stage.rng.sample(DATASETS, stage.times(len(DATASETS), 2)):
        dataset = read_dataset(name)
        settings = dataset.settings | {"REDIS__CLUSTER": "true"}
        with Pipeline(stage.directory, stage.kafka.bootstrap_servers, cluster.url, settings, 3) as pipeline:
            pipeline.create_topic()
            pipeline.produce(dataset.lines)
            pipeline.redis.close()
            pipeline.redis = redis.RedisCluster.from_url(cluster.url)  # type: ignore[assignment]
            pipeline.redis.mget = pipeline.redis.mget_nonatomic  # type: ignore[attr-defined, method-assign]
            pipeline.start_worker()
            pipeline.wait_until_applied()
            if mistakes := pipeline.start_api().mistakes(dataset.cases):
                raise ChaosFailed(f"{name}: {mistakes}")
            cases += len(dataset.cases)
        stage.say(f"{name} is right")
    cluster.stop()
    return f"{cases} golden cases on three masters"


def master_killed(stage: Stage) -> str:
    """A master dies and comes back from its append-only file, every second time without its end; then the next one."""
    cluster = RedisCluster(stage.directory / "redis")
    cluster.start()
    kills = stage.times(6, 1)
    with Trial(stage, cluster.url, cluster=True) as trial:
        trial.begin(60, workers=2)
        for number in trial.steps(kills, 8):
            trial.wait_for_progress(300)
            node = cluster.nodes[(number + 1) % len(cluster.nodes)]
            with trial.redis_away():
                node.kill()
                if number % 2 or stage.short:
                    forget(node.directory, stage.rng.randrange(20_000, FORGOTTEN_BYTES_MAX))
                trial.load.join(stage.rng.uniform(0.5, 4))
                node.start()
                trial.wait(lambda: all(_is_ok(node) for node in cluster.nodes), "the cluster is whole again")
        trial.settle()
        trial.check()
    cluster.stop()
    return f"{kills} kills -9 of a master of three"


def slots_moved(stage: Stage) -> str:
    """The slots of some shards move from one master to another while they are written and read."""
    cluster = RedisCluster(stage.directory / "redis")
    cluster.start()
    moved = 0
    with Trial(stage, cluster.url, cluster=True) as trial:
        workers = trial.begin(60, workers=2)
        for number in trial.steps(stage.times(8, 2), 4):
            trial.wait_for_progress(300)
            slot = key_slot(trial.shard_keys(number).next.encode())
            moved += _move(cluster, slot)
            trial.wait_for_progress(300)
        trial.settle()
        trial.check()
        if not all(worker.running for worker in workers):
            raise ChaosFailed("a worker ended")
    cluster.stop()
    if not moved:
        raise ChaosFailed("the slots that moved were empty")
    return f"{stage.times(8, 2)} slots with {moved} keys moved"


def _is_ok(node: RedisServer) -> bool:
    with redis.Redis.from_url(node.url) as client:
        return bool(client.cluster("info")["cluster_state"] == "ok")


def _move(cluster: RedisCluster, slot: int) -> int:
    """Move a slot to the next master, a few keys at a time; how many keys that were."""
    clients: list[Any] = [redis.Redis.from_url(node.url) for node in cluster.nodes]
    ids = [client.execute_command("CLUSTER", "MYID").decode() for client in clients]
    share = redis.RedisCluster.from_url(cluster.url).nodes_manager.get_node_from_slot(slot).port
    source = next(number for number, node in enumerate(cluster.nodes) if node.port == share)
    target = (source + 1) % len(clients)
    clients[target].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
    clients[source].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
    moved = 0
    port = cluster.nodes[target].port
    while keys := clients[source].execute_command("CLUSTER", "GETKEYSINSLOT", slot, KEYS_PER_STEP):
        clients[source].execute_command("MIGRATE", "127.0.0.1", port, "", 0, MIGRATE_TIMEOUT_MS, "KEYS", *keys)
        moved += len(keys)
    # The new owner first, so that no one is told of a slot that nobody has.
    for client in (clients[target], clients[source], *clients):
        client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[target])
    for client in clients:
        client.close()
    return moved
