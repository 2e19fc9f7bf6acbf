"""A rebuild into a new generation, while what is sealed moves and changes in the live one."""

from aggregator.objects.directory_store import DirectoryStore
from tests.chaos.objects import PARTITIONS, ROLLUPS, moved, moving_to, told
from tests.chaos.stage import ChaosFailed, Stage
from tests.chaos.trial import Trial
from tests.pipeline.operator import operate
from tests.servers.redis_server import RedisServer

# Longer than an answer takes; what is read from the generation before is dropped then.
GRACE = "5s"
# Workers that seal and move all the time beside it take most of two cores.
REBUILD_TIMEOUT_S = 900


def while_sealing(stage: Stage) -> str:
    """Folds all again beside workers that seal and move, switches over, and drops the generation before, each time;
    then workers seal and move in the new one.
    """
    server = RedisServer(stage.directory / "redis")
    server.start()
    directory = stage.directory / "objects"
    times = stage.times(4, 2)
    with Trial(stage, server.url, partitions=PARTITIONS, also=moving_to(f"file://{directory}")) as trial:
        workers = trial.begin(60, workers=PARTITIONS)
        for _ in trial.steps(times, 20):
            trial.wait_for_progress(100)
            for worker in workers:  # what has been sealed is moved by a worker that comes anew
                trial.load.join(2)
                worker.kill()
                worker.start_until_logged("worker started")
            before = trial.namespace()
            # What is live may be behind for a moment, when it is another one.
            with trial.redis_forgets():
                said = operate(trial.pipeline.settings, "rebuild", "--grace", GRACE, timeout_s=REBUILD_TIMEOUT_S)
            if said.status != 0 or trial.namespace() == before:
                raise ChaosFailed(f"rebuild: {said.output} {said.errors}")
        trial.settle()
        trial.check()
        found = moved(trial, workers, server.url, DirectoryStore(directory))
    server.stop()
    if not found[ROLLUPS]:
        raise ChaosFailed(f"too little happened: {dict(found)}")
    return (
        f"{times} rebuilds beside workers that seal and move; objects of the last generation: {told(found)}, all whole"
    )
