"""Two who work on one shard at once: workers of two groups, and `callmeter segments collect` beside a worker."""

from datetime import UTC, datetime, timedelta
from typing import Any

from aggregator.objects.directory_store import DirectoryStore
from tests.chaos.objects import PARTITIONS, ROLLUPS, moved, moving_to, told, wait_until_moved
from tests.chaos.stage import ChaosFailed, Stage
from tests.chaos.trial import Trial
from tests.pipeline.operator import operate
from tests.servers.redis_server import RedisServer

FENCE = ("expected next offset", "another writer applied", "read at next offset")
# By then whatever has been retired may be deleted.
AFTER_THE_GRACE = timedelta(days=8)


def twins(stage: Stage) -> str:
    """Runs two workers of two consumer groups on the same shards: each folds, seals and moves what the other does too,
    and only one of them at a time gets past the fence.
    """
    server = RedisServer(stage.directory / "redis")
    server.start()
    directory = stage.directory / "objects"
    with Trial(stage, server.url, partitions=PARTITIONS, also=moving_to(f"file://{directory}")) as trial:
        workers = trial.begin(60)
        workers.append(trial.pipeline.start_worker(KAFKA__GROUP_ID=f"{trial.topic}-twin"))
        for _ in trial.steps(stage.times(12, 3), 6):
            trial.wait_for_progress(100)
            trial.load.join(stage.rng.uniform(1, 4))
        trial.settle()
        wait_until_moved(trial, server.url)
        trial.check()
        lines = [line for worker in workers for line in worker.logged("will read again from the stored offset")]
        refused = sum(any(word in line["why"] for word in FENCE) for line in lines)
        if not all(worker.running for worker in workers):
            raise ChaosFailed("a worker ended")
        found = moved(trial, workers, server.url, DirectoryStore(directory))
    server.stop()
    if not (refused and found[ROLLUPS]):
        raise ChaosFailed(f"too little happened: {refused} refused, {dict(found)}")
    return f"two groups of workers on the same shards, {refused} steps refused by the fence; objects: {told(found)}"


def collected(stage: Stage) -> str:
    """Collects again and again by a clock that is eight days ahead, so that what has just been retired is deleted
    under those who read it. They find what took its place.
    """
    server = RedisServer(stage.directory / "redis")
    server.start()
    directory = stage.directory / "objects"
    totals = {"noted": 0, "deleted": 0}
    with Trial(stage, server.url, partitions=PARTITIONS, also=moving_to(f"file://{directory}")) as trial:
        workers = trial.begin(60, workers=PARTITIONS)
        later = (datetime.now(UTC) + AFTER_THE_GRACE).isoformat()
        for number in trial.steps(stage.times(40, 8), 4):
            trial.wait_for_progress(1)
            trial.load.join(stage.rng.uniform(0, 1.5))
            worker = workers[number % PARTITIONS]
            worker.kill()
            worker.start_until_logged("worker started")
            for what, count in _collect(trial, NOW=later).items():
                totals[what] += count
        trial.settle()
        trial.check()
        found = moved(trial, workers, server.url, DirectoryStore(directory))
    server.stop()
    if not (totals["deleted"] and found[ROLLUPS]):
        raise ChaosFailed(f"too little happened: {totals}, {dict(found)}")
    return (
        f"{totals['deleted']} objects deleted as soon as nothing pointed into them; objects: {told(found)}, all whole"
    )


def _collect(trial: Trial, **settings: str) -> dict[str, int]:
    said = operate(trial.pipeline.settings | settings, "segments", "collect", "--yes", "--json")
    if said.status != 0:
        raise ChaosFailed(f"segments collect: {said.errors}")
    done: dict[str, Any] = said.json()
    return {what: len(done[what]) for what in ("noted", "deleted")}
