"""A replica that lags takes the place of a master that dies."""

import redis

from tests.chaos.stage import ChaosFailed, Stage
from tests.chaos.trial import Trial
from tests.servers.redis_server import RedisServer


def promoted(stage: Stage) -> str:
    """The master is killed while its replica is behind; the replica becomes the master, under its address."""
    master = RedisServer(stage.directory / "redis-0")
    master.start()
    times, lost = stage.times(5, 1), 0
    with Trial(stage, master.url) as trial:
        trial.begin(60, workers=2)
        for number in trial.steps(times, 8):
            replica = RedisServer(stage.directory / f"redis-{number + 1}")
            replica.start()
            _follow(trial, master, replica)
            trial.wait_for_progress(200)
            with redis.Redis.from_url(replica.url) as client:
                client.replicaof("NO", "ONE")  # hears nothing more, as behind a network that is cut
            trial.wait_for_progress(200)
            before = trial.applied_messages()
            with trial.redis_away():
                master.kill()
                # Under the address that the product knows, as a proxy or a moved IP address would have it.
                replica.stop()
                master = RedisServer(replica.directory, master.port)
                master.start()
                lost += before - trial.applied_messages()
        trial.settle()
        trial.check()
    master.stop()
    if lost <= 0:
        raise ChaosFailed("the replica did not lag")
    return f"{times} promotions of a replica, {lost} messages behind in all"


def _follow(trial: Trial, master: RedisServer, replica: RedisServer) -> None:
    with redis.Redis.from_url(replica.url) as client:
        client.replicaof("127.0.0.1", str(master.port))
        trial.wait(
            lambda: client.info("replication")["master_link_status"] == "up",
            "the replica has a copy",
        )
