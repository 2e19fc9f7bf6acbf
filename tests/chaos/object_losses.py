"""Workers that die, and a directory of objects that goes away, while sealed rollups and calls move into it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aggregator.objects.directory_store import DirectoryStore
from tests.chaos.objects import PARTITIONS, is_all_moved, moved, moving_to, told
from tests.chaos.stage import ChaosFailed, Stage
from tests.chaos.trial import Trial
from tests.servers.redis_server import RedisServer


def killed_while_moving(stage: Stage) -> str:
    """Kills workers with -9 while what they have sealed moves, and every second time takes the directory away; late
    events change what has moved. What was sealed before a kill is moved by the next worker: the days are long over.
    """
    server = RedisServer(stage.directory / "redis")
    server.start()
    directory = stage.directory / "objects"
    kills, losses = stage.times(40, 8), 0
    with Trial(stage, server.url, partitions=PARTITIONS, also=moving_to(f"file://{directory}")) as trial:
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
        found = moved(trial, workers, server.url, DirectoryStore(directory))
    server.stop()
    if not (losses and is_all_moved(found, stage.short)):
        raise ChaosFailed(f"too little happened: {losses} losses, {dict(found)}")
    return f"{kills} kills -9, the directory away {losses} times; objects: {told(found)}, all whole"


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
