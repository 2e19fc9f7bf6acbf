"""A broker that dies and comes back."""

from tests.chaos.stage import Stage
from tests.chaos.trial import Trial
from tests.servers.kafka_server import KafkaServer
from tests.servers.redis_server import RedisServer


def killed(stage: Stage) -> str:
    """The broker is killed with -9 and started again: workers and producers go on by themselves."""
    server = RedisServer(stage.directory / "redis")
    server.start()
    broker = KafkaServer(stage.directory / "kafka")
    broker.start()
    kills = stage.times(4, 1)
    try:
        with Trial(stage, server.url, kafka=broker) as trial:
            trial.begin(60, workers=2)
            for _ in trial.steps(kills, 10):
                trial.wait_for_progress(300)
                broker.kill()
                trial.load.join(stage.rng.uniform(0, 3))
                broker.start()
                trial.wait_for_progress(300)
            trial.settle()
            trial.check()
    finally:
        broker.kill()
    server.stop()
    return f"{kills} kills -9 of the broker"
