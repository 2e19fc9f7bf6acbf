"""A Redis that comes back as it was long ago, while objects have been put and others retired."""

import shutil

from aggregator.objects.directory_store import DirectoryStore
from tests.chaos.objects import ORPHANS, PARTITIONS, ROLLUPS, moved, moving_to, told
from tests.chaos.stage import ChaosFailed, Stage
from tests.chaos.trial import Trial
from tests.servers.redis_server import RedisServer


def back_to_a_dump(stage: Stage) -> str:
    """Puts a dump in the place of what Redis has, made long before: objects put since confuse nobody, and those that
    were retired since are there. All is folded again from the dump's offsets.
    """
    server = RedisServer(stage.directory / "redis")
    server.start()
    directory, dump = stage.directory / "objects", stage.directory / "dump"
    times, lost = stage.times(6, 2), 0
    with Trial(stage, server.url, partitions=PARTITIONS, also=moving_to(f"file://{directory}")) as trial:
        workers = trial.begin(60, workers=PARTITIONS)
        for _ in trial.steps(times, 12):
            for at in range(4):  # what has been sealed is moved by a worker that comes anew
                trial.wait_for_progress(1)
                trial.load.join(stage.rng.uniform(1.0, 2.0))
                if at == 1:
                    shutil.rmtree(dump, ignore_errors=True)
                    shutil.copytree(server.directory, dump)
                worker = workers[at % PARTITIONS]
                worker.kill()
                worker.start_until_logged("worker started")
            before = trial.applied_messages()
            with trial.redis_away():
                server.kill()
                shutil.rmtree(server.directory)
                shutil.copytree(dump, server.directory)
                server.start()
                lost += before - trial.applied_messages()
        trial.settle()
        trial.check()
        found = moved(trial, workers, server.url, DirectoryStore(directory))
    server.stop()
    if not (lost > 0 and found[ROLLUPS] and found[ORPHANS]):
        raise ChaosFailed(f"too little happened: {lost} messages lost, {dict(found)}")
    return f"{times} times a dump made long before, {lost} messages behind in all; objects: {told(found)}, all whole"
