"""Workers that come and go while events flow."""

from tests.chaos.trial import ChaosFailed, Stage, Trial
from tests.pipeline.program import Program
from tests.servers.redis_server import RedisServer


def scaled(stage: Stage) -> str:
    """One worker, four, two: partitions move cooperatively, and no message is folded twice."""
    server = RedisServer(stage.directory / "redis")
    server.start()
    with Trial(stage, server.url) as trial:
        workers = trial.begin(60)
        trial.wait(lambda: len(workers[0].logged("partition assigned")) == 12, "one worker has all partitions")
        for _ in trial.steps(stage.times(3, 1), 8):
            revoked_before = len(workers[0].logged("partition revoked"))
            workers += [trial.pipeline.start_worker() for _ in range(3)]
            _wait_for_shares(trial, workers, [3, 3, 3, 3])
            # Cooperative: the first one gave away nine, and went on with the three that it keeps.
            revoked = len(workers[0].logged("partition revoked")) - revoked_before
            if revoked != 12 - 3 and revoked_before == 0:
                raise ChaosFailed(f"{revoked} partitions revoked where 9 had to move")
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
