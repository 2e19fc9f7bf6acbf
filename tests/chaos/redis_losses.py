"""A Redis that dies, forgets its last writes, or all of them."""

import shutil
from pathlib import Path

from tests.chaos.stage import ChaosFailed, Stage
from tests.chaos.trial import Trial
from tests.servers.redis_server import RedisServer

# What may be missing after a crash with `appendfsync everysec`: here, up to so much of the end of the file.
FORGOTTEN_BYTES_MAX = 2_000_000


def killed(stage: Stage) -> str:
    """Redis is killed with -9 and comes back from its append-only file, every second time without its end."""
    server = RedisServer(stage.directory / "redis")
    server.start()
    kills, forgot = stage.times(12, 2), 0
    with Trial(stage, server.url) as trial:
        trial.begin(60, workers=2)
        for number in trial.steps(kills, 5):
            trial.wait_for_progress(200)
            trial.load.join(stage.rng.uniform(0, 0.5))
            before = trial.applied_messages()
            with trial.redis_away():
                server.kill()
                if number % 2:
                    forget(server.directory, stage.rng.randrange(20_000, FORGOTTEN_BYTES_MAX))
                trial.load.join(stage.rng.uniform(0.2, 1.5))
                server.start()
                forgot += trial.applied_messages() < before
        trial.settle()
        trial.check()
        if not forgot:
            raise ChaosFailed("Redis never came back with less than it had")
    server.stop()
    return f"{kills} kills -9 of Redis, {forgot} with its last writes lost"


def wiped(stage: Stage) -> str:
    """FLUSHALL, then Redis killed and started with an empty directory: all is rebuilt from the topic."""
    server = RedisServer(stage.directory / "redis")
    server.start()
    wipes = stage.times(4, 2)
    with Trial(stage, server.url) as trial:
        trial.begin(60, workers=2)
        for number in trial.steps(wipes, 8):
            trial.wait_for_progress(500)
            before = trial.applied_messages()
            if number % 2:
                with trial.redis_away():
                    server.kill()
                    shutil.rmtree(server.directory)
                    server.start()
            else:
                with trial.redis_forgets():
                    trial.pipeline.redis.flushall()
            trial.wait_for_applied(before)
        trial.settle()
        with trial.redis_forgets():  # once more, with nothing new to come
            trial.pipeline.redis.flushall()
        trial.settle()
        trial.check()
    server.stop()
    return f"{wipes + 1} wipes, by FLUSHALL and by a new directory"


def forget(directory: Path, size: int) -> None:
    """Cut the end off the append-only file, as a crash of the machine does to what was not synced."""
    written = max(directory.glob("appendonlydir/*.incr.aof"), key=lambda path: path.stat().st_size)
    with written.open("rb+") as file:
        file.truncate(max(written.stat().st_size - size, written.stat().st_size // 3))
