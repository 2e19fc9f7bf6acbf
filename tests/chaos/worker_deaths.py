"""Workers that die or freeze at random moments."""

import signal
from typing import Any

import redis

from aggregator.layout.sealed_calls import CALL_FRAME_FIELD
from tests.chaos.objects import PARTITIONS, SEALING
from tests.chaos.stage import ChaosFailed, Stage
from tests.chaos.trial import Trial
from tests.pipeline.program import Program
from tests.servers.redis_server import RedisServer

FREEZES_MAX = 60
FENCE = ("expected next offset", "another writer applied")


def killed(stage: Stage) -> str:
    """A worker of three is killed with -9 again and again; it starts again at once."""
    server = RedisServer(stage.directory / "redis")
    server.start()
    kills = stage.times(50, 3)
    with Trial(stage, server.url) as trial:
        _kill_again_and_again(trial, trial.begin(60, workers=3), kills)
        trial.check()
    server.stop()
    return f"{kills} kills -9 of 3 workers"


def killed_while_sealing(stage: Stage) -> str:
    """Kills workers while all is sealed that nothing has come for in a second; late events change it again."""
    server = RedisServer(stage.directory / "redis")
    server.start()
    kills = stage.times(50, 6)
    with Trial(stage, server.url, partitions=PARTITIONS, also=SEALING) as trial:
        _kill_again_and_again(trial, trial.begin(60, workers=PARTITIONS), kills)
        trial.check()
        sealed, changed = _sealed(server.url)
        if not sealed:
            raise ChaosFailed("nothing was sealed")
    server.stop()
    return f"{kills} kills -9 of workers that seal; {sealed} chunks of calls were sealed, {changed} changed since"


def _kill_again_and_again(trial: Trial, workers: list[Program], kills: int) -> None:
    stage = trial.stage
    for _ in trial.steps(kills, 2.5):
        trial.wait_for_progress(1)
        trial.load.join(stage.rng.uniform(0, 1.5))
        if not trial.load.left:
            raise ChaosFailed("the load was over before the kills")
        worker = stage.rng.choice(workers)
        worker.kill()
        worker.start_until_logged("worker started")
    trial.settle()


def _sealed(redis_url: str) -> tuple[int, int]:
    """How many chunks of calls are sealed, and how many of them have calls that changed since."""
    client: Any = redis.Redis.from_url(redis_url)
    chunks = [client.hkeys(key) for key in client.scan_iter("*:calls:*")]
    sealed = [fields for fields in chunks if CALL_FRAME_FIELD in fields]
    return len(sealed), sum(len(fields) > 1 for fields in sealed)


def zombies(stage: Stage) -> str:
    """A worker is frozen until others have its partitions, then woken."""
    server = RedisServer(stage.directory / "redis")
    server.start()
    freezes = stage.times(12, 2)
    # Batches that take most of a worker's time, so that it is frozen with one in hand.
    with Trial(stage, server.url, BATCH__MESSAGES_MAX="50", BATCH__WAIT_MS="1") as trial:
        workers = trial.begin(60, workers=2)
        for number in trial.steps(freezes, 6):
            _freeze_and_wake(trial, workers[number % 2])
        # Whether a worker has a batch in hand when it freezes is chance.
        while not (stage.short or _refusals(workers)) and freezes < FREEZES_MAX:
            _freeze_and_wake(trial, workers[freezes % 2])
            freezes += 1
        trial.settle()
        trial.check()
        refused = _refusals(workers)
        if not stage.short and not refused:
            raise ChaosFailed("no zombie met the fence")
        if not all(worker.running for worker in workers):
            raise ChaosFailed("a worker that was woken has ended")
    server.stop()
    return f"{freezes} freezes past the session timeout, {refused} batches refused by the fence"


def _freeze_and_wake(trial: Trial, frozen: Program) -> None:
    trial.wait_for_progress(100)
    assigned = len(frozen.logged("partition assigned"))
    trial.load.join(trial.stage.rng.uniform(0, 0.3))
    frozen.signal(signal.SIGSTOP)
    at_freeze = trial.applied()
    trial.wait(
        lambda: all(offset > at_freeze.get(partition, 0) for partition, offset in trial.applied().items()),
        "the others go on with all partitions of the frozen worker",
    )
    if not trial.load.left:
        raise ChaosFailed("the load was over before the freezes")
    frozen.signal(signal.SIGCONT)
    frozen.wait_until(
        lambda: len(frozen.logged("partition assigned")) > assigned, "the woken worker takes part again", 120
    )


def _refusals(workers: list[Program]) -> int:
    lines = [line for worker in workers for line in worker.logged("will read again from the stored offset")]
    return sum(any(word in line["why"] for word in FENCE) for line in lines)
