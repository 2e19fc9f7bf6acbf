"""Events that are days and weeks late, for what has long been sealed and moved."""

from aggregator.objects.directory_store import DirectoryStore
from tests.chaos.objects import PARTITIONS, is_all_moved, moved, moving_to, told
from tests.chaos.stage import ChaosFailed, Stage
from tests.chaos.trial import Trial
from tests.servers.redis_server import RedisServer


def by_a_month(stage: Stage) -> str:
    """Sends six weeks of calls, of a hundred events five 1 to 30 days late, to workers that seal and move and are
    killed meanwhile.
    """
    server = RedisServer(stage.directory / "redis")
    server.start()
    directory = stage.directory / "objects"
    kills = stage.times(20, 6)
    workload = stage.workload.of_six_weeks
    with Trial(
        stage, server.url, partitions=PARTITIONS, workload=workload, also=moving_to(f"file://{directory}")
    ) as trial:
        workers = trial.begin(60, workers=PARTITIONS)
        for number in trial.steps(kills, 5):
            trial.wait_for_progress(1)
            trial.load.join(stage.rng.uniform(1, 3))
            worker = workers[number % PARTITIONS]
            worker.kill()
            worker.start_until_logged("worker started")
        trial.settle()
        trial.check()
        found = moved(trial, workers, server.url, DirectoryStore(directory))
    server.stop()
    if not is_all_moved(found, stage.short):
        raise ChaosFailed(f"too little happened: {dict(found)}")
    return f"five of a hundred events 1 to 30 days late, {kills} kills -9; objects: {told(found)}, all whole"
