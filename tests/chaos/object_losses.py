"""Workers that die, and a directory of objects that goes away, while sealed rollups and calls move into it."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from aggregator.layout.keys import ShardName
from aggregator.layout.moved import is_of_calls
from aggregator.layout.sealed import object_prefix
from aggregator.objects.directory_store import DirectoryStore
from aggregator.store.shard_store import ShardStore
from aggregator.writing.object_verification import shard_objects, verify_objects
from tests.chaos.trial import ChaosFailed, Stage, Trial
from tests.servers.redis_server import RedisServer

PARTITIONS = 2


def killed_while_moving(stage: Stage) -> str:
    """Kills workers with -9 while what they have sealed moves, and every second time takes the directory away; late
    events change what has moved. What was sealed before a kill is moved by the next worker: the days are long over.
    """
    server = RedisServer(stage.directory / "redis")
    server.start()
    directory = stage.directory / "objects"
    kills, losses = stage.times(40, 8), 0
    with Trial(
        stage,
        server.url,
        partitions=PARTITIONS,
        SEGMENTS__SEAL="true",
        SEGMENTS__SEAL_AFTER="1s",
        SEGMENTS__URL=f"file://{directory}",
    ) as trial:
        workers = trial.begin(60, workers=PARTITIONS)
        for number in trial.steps(kills, 4):
            trial.wait_for_progress(1)
            trial.load.join(stage.rng.uniform(0.5, 2.5))
            if number % 2 and directory.exists():
                losses += 1
                with _away(trial, directory):
                    trial.load.join(stage.rng.uniform(0.2, 1.5))
            worker = stage.rng.choice(workers)
            worker.kill()
            worker.start_until_logged("worker started")
        trial.settle()
        trial.check()
        moved = _moved(trial, server.url, DirectoryStore(directory))
    server.stop()
    # In a short run a chunk of calls hardly is at rest for as long as it waits to be moved.
    if not (losses and all(moved[what] for what in (("rollups",) if stage.short else ("rollups", "calls", "retired")))):
        raise ChaosFailed(f"too little happened: {losses} losses, {dict(moved)}")
    objects = ", ".join(f"{count} of {what}" for what, count in sorted(moved.items()))
    return f"{kills} kills -9, the directory away {losses} times; objects: {objects}, all whole"


@contextmanager
def _away(trial: Trial, directory: Path) -> Iterator[None]:
    """Another file takes the directory's place; answers that need objects may be refused meanwhile."""
    began_s = time.time()
    elsewhere = directory.with_name("away")
    directory.rename(elsewhere)
    directory.write_bytes(b"")
    yield
    directory.unlink()
    elsewhere.rename(directory)
    trial.refused_until_now(began_s)


def _moved(trial: Trial, redis_url: str, objects: DirectoryStore) -> Counter[str]:
    """How many objects there are; raises ChaosFailed where one of them, or a pointer, is wrong."""
    found: Counter[str] = Counter()
    client = redis.Redis.from_url(redis_url)
    for partition in range(PARTITIONS):
        store = ShardStore(client, ShardName(trial.pipeline.namespace, trial.topic, partition))
        entries, retired = shard_objects(store)
        found["retired"] += len(retired)
        for state in verify_objects(store, objects, entries):
            if state.wrong:
                raise ChaosFailed(f"{state.name}: {state.wrong}")
            name = state.name.removeprefix(object_prefix(store.keys.objects))
            found["calls" if is_of_calls(name) else "rollups"] += 1
    return found
