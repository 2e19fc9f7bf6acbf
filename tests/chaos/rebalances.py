"""Workers that come and go while events flow."""

import json

from tests.chaos.stage import ChaosFailed, Stage
from tests.chaos.trial import PARTITIONS, Trial
from tests.pipeline.pipeline import KAFKA_EXTRA
from tests.pipeline.program import Program
from tests.servers.redis_server import RedisServer

# Only who was killed may be taken for dead, not who has to wait for a processor.
SESSION_TIMEOUT_MS = 6_000


def scaled(stage: Stage) -> str:
    """Runs one worker, four, two: partitions move cooperatively, and no message is folded twice."""
    server = RedisServer(stage.directory / "redis")
    server.start()
    extra = json.dumps(KAFKA_EXTRA | {"session.timeout.ms": SESSION_TIMEOUT_MS})
    with Trial(stage, server.url, KAFKA__EXTRA=extra) as trial:
        workers = trial.begin(60)
        trial.wait(lambda: len(workers[0].logged("partition assigned")) == PARTITIONS, "one worker has all partitions")
        for _ in trial.steps(stage.times(3, 1), 8):
            revoked_before = len(workers[0].logged("partition revoked"))
            workers += trial.pipeline.start_workers(3)
            _wait_for_shares(trial, workers, [3, 3, 3, 3])
            # Cooperative: the first one went on with those that it keeps, whatever moved.
            moved = {line["partition"] for line in workers[0].logged("partition revoked")[revoked_before:]}
            if len(moved) == PARTITIONS:
                raise ChaosFailed("a worker had to give away all its partitions when others joined")
            trial.wait_for_progress(100)
            if workers.pop().terminate() != 0:
                raise ChaosFailed("a worker did not end in order")
            workers.pop().kill()
            _wait_for_shares(trial, workers, [6, 6])
            trial.wait_for_progress(100)
            if not trial.load.left:
                raise ChaosFailed("the load was over before the rebalances")
            if workers.pop().terminate() != 0:
                raise ChaosFailed("a worker did not end in order")
        trial.settle()
        trial.check()
    server.stop()
    return f"1 -> 4 -> 2 workers over 12 partitions, {stage.times(3, 1)} times"


def _wait_for_shares(trial: Trial, workers: list[Program], shares: list[int]) -> None:
    trial.wait(lambda: _shares(workers) == shares, f"the workers have {shares} partitions")


def _shares(workers: list[Program]) -> list[int]:
    """How many partitions each has, by what it logged since it started."""
    return [len(worker.logged("partition assigned")) - len(worker.logged("partition revoked")) for worker in workers]
