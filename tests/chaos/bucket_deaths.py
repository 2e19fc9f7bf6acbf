"""Worker, Redis and bucket, each killed at the steps of a move; the bucket is a process that speaks S3."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from tests.chaos.objects import PARTITIONS, ROLLUPS, bucket_of, moved, moving_to, told
from tests.chaos.redis_losses import FORGOTTEN_BYTES_MAX, forget
from tests.chaos.stage import ChaosFailed, Stage
from tests.chaos.trial import Trial
from tests.pipeline.patience import wait_until
from tests.pipeline.program import Program
from tests.servers.redis_server import RedisServer
from tests.servers.s3_server import S3Server

Who = Literal["worker", "Redis", "bucket"]
VICTIMS: tuple[Who, ...] = ("worker", "Redis", "bucket")
# Before the object is kept; when it is, and nothing points into it; or while sealing, pointing, or anything else.
MOMENTS: tuple[Literal["before", "after"] | None, ...] = ("before", "after", None)
# Where nothing is put for so long, the victim dies all the same.
PUT_TIMEOUT_S = 6.0


class Victims(NamedTuple):
    """Who may be killed."""

    trial: Trial
    workers: list[Program]
    redis: RedisServer
    bucket: S3Server

    def process(self, who: Who, number: int) -> Program | RedisServer | S3Server:
        """Who of them it is this time."""
        if who == "worker":
            return self.workers[number % len(self.workers)]
        return self.redis if who == "Redis" else self.bucket


def killed_at_every_step(stage: Stage) -> str:
    """Kills worker, Redis (every second time without its last writes) and bucket before an object is kept, before that
    is answered, and at any moment. Readers go on; what needs the bucket may be refused while it is away.
    """
    server, bucket = RedisServer(stage.directory / "redis"), S3Server(stage.directory, keeps=True)
    server.start()
    bucket.start()
    rounds, at_a_put = stage.times(5, 1), 0
    kills = [(who, when) for _ in range(rounds) for when in MOMENTS for who in VICTIMS]
    if stage.short:
        kills = kills[::4]  # each dies once, each at another moment
    with Trial(
        stage, server.url, partitions=PARTITIONS, environment=bucket.environment, also=moving_to(bucket.url)
    ) as trial:
        victims = Victims(trial, trial.begin(60, workers=PARTITIONS), server, bucket)
        for number in trial.steps(len(kills), 4):
            trial.wait_for_progress(1)
            who, when = kills[number]
            # What it has sealed is moved at once by a worker that comes anew: it is long over by then.
            again = victims.workers[number % PARTITIONS]
            again.kill()
            again.start_until_logged("worker started")
            with _away(trial, who):
                at_a_put += _kill(victims, who, when, number)
                if who == "Redis" and number % 2:
                    forget(server.directory, stage.rng.randrange(20_000, FORGOTTEN_BYTES_MAX))
                trial.load.join(stage.rng.uniform(0.2, 1.0))
                _start(victims, who, number)
        trial.settle()
        trial.check()
        with bucket_of(bucket) as objects:
            found = moved(trial, victims.workers, server.url, objects)
    server.stop()
    bucket.kill()
    if not (found[ROLLUPS] and at_a_put):
        raise ChaosFailed(f"too little happened: {at_a_put} kills at a put, {dict(found)}")
    return (
        f"{len(kills)} kills -9 of worker, Redis and S3 bucket, {at_a_put} of them in the middle of a put; "
        f"objects: {told(found)}, all whole"
    )


def _kill(victims: Victims, who: Who, when: Literal["before", "after"] | None, number: int) -> bool:
    """Kill it at that moment; whether it was at a put."""
    victim, trial = victims.process(who, number), victims.trial
    if when is None:
        trial.load.join(trial.stage.rng.uniform(0, 1.5))
    else:
        assert victim.pid is not None
        victims.bucket.kill_at_next_put(victim.pid, when)
        if wait_until(lambda: not victim.running, PUT_TIMEOUT_S):
            victim.kill()  # takes leave of what is dead
            return True
        victims.bucket.forget_order()
    victim.kill()
    return False


def _start(victims: Victims, who: Who, number: int) -> None:
    victim = victims.process(who, number)
    if isinstance(victim, Program):
        victim.start_until_logged("worker started")
    else:
        victim.start()


@contextmanager
def _away(trial: Trial, who: Who) -> Iterator[None]:
    """Notes what may be refused, and forgotten."""
    began_s = time.time()
    if who == "Redis":
        with trial.redis_away():
            yield
    else:
        yield
    if who == "bucket":
        trial.refused_until_now(began_s)
