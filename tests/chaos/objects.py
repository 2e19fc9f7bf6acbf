"""Workers that seal after a second and move what they have sealed; and what the object store holds in the end."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import redis

from aggregator.layout.keys import ShardName
from aggregator.layout.moved import CALLS_LETTER, letter_of
from aggregator.layout.sealed import object_prefix
from aggregator.objects.object_store import ObjectStore
from aggregator.objects.opening import open_store
from aggregator.store.shard_store import ShardStore
from aggregator.writing.object_verification import shard_objects, verify_objects
from tests.chaos.stage import ChaosFailed
from tests.chaos.trial import Trial
from tests.pipeline.program import Program
from tests.servers.s3_server import S3Server

# So few that each has chunks full of calls, with few messages too.
PARTITIONS = 2
ROLLUPS, CALLS, RETIRED, ORPHANS = "of rollups", "of calls", "retired", "never pointed into"
SEALING = {"SEGMENTS__SEAL": "true", "SEGMENTS__SEAL_AFTER": "1s"}


def moving_to(url: str) -> dict[str, str]:
    """Settings of workers that seal, and move what they have sealed to this object store."""
    return SEALING | {"SEGMENTS__URL": url}


def wait_until_moved(trial: Trial, redis_url: str) -> None:
    """Return when some pointer leads into an object of rollups: a run may be over before what it sealed has moved."""
    client = redis.Redis.from_url(redis_url)
    shards = [ShardStore(client, ShardName(trial.namespace(), trial.topic, one)) for one in range(PARTITIONS)]

    def has_moved() -> bool:
        return any(letter_of(name) != CALLS_LETTER for store in shards for name in shard_objects(store)[0])

    trial.wait(has_moved, "something has moved into objects")


def moved(trial: Trial, workers: Sequence[Program], redis_url: str, objects: ObjectStore) -> Counter[str]:
    """How many objects there are, and how many nothing points into any more, or ever did, once workers have ended;
    raises ChaosFailed where one of them, or a pointer, is wrong.
    """
    for worker in workers:
        worker.terminate()
    found: Counter[str] = Counter()
    client = redis.Redis.from_url(redis_url)
    for partition in range(PARTITIONS):
        store = ShardStore(client, ShardName(trial.namespace(), trial.topic, partition))
        entries, retired = shard_objects(store)
        prefix = object_prefix(store.keys.objects)
        found[RETIRED] += len(retired)
        found[ORPHANS] += len(objects.listed(prefix)) - 1 - len(entries) - len(retired)
        for state in verify_objects(store, objects, entries):
            if state.wrong:
                raise ChaosFailed(f"{state.name}: {state.wrong}")
            found[CALLS if letter_of(state.name.removeprefix(prefix)) == CALLS_LETTER else ROLLUPS] += 1
    return found


def is_all_moved(found: Counter[str], short: bool) -> bool:
    """Whether a run met objects of rollups and of calls, and retired ones. In a short one a chunk of calls hardly is at
    rest for as long as it waits to be moved.
    """
    return all(found[what] for what in ((ROLLUPS,) if short else (ROLLUPS, CALLS, RETIRED)))


def told(found: Counter[str]) -> str:
    """Say what `moved` found."""
    return ", ".join(f"{found[what]} {what}" for what in (ROLLUPS, CALLS, RETIRED, ORPHANS))


@contextmanager
def bucket_of(server: S3Server) -> Iterator[ObjectStore]:
    """The bucket, as this process sees it."""
    before = dict(os.environ)
    os.environ.update(server.environment)
    try:
        opened = open_store(server.url)
        assert opened is not None
        yield opened
    finally:
        os.environ.clear()
        os.environ.update(before)
