"""A Redis without memory, and one that would drop keys."""

import time

import redis

from callmeter.local.child_process import ChildFailed
from tests.chaos.stage import ChaosFailed, Stage
from tests.chaos.trial import Trial
from tests.servers.redis_server import RedisServer

FULL_S = 4.0
QUESTION = {"project_id": "acme/project-0", "start": "2025-03-25T00:00:00Z", "call_metrics": [{"metric": "call_count"}]}


def out_of_memory(stage: Stage) -> str:
    """Leaves Redis no memory (`noeviction`): the workers wait, say so, and go on when there is room."""
    server = RedisServer(stage.directory / "redis")
    server.start()
    times = stage.times(5, 1)
    with Trial(stage, server.url) as trial:
        workers = trial.begin(60, workers=2)
        client = trial.pipeline.redis
        for _ in trial.steps(times, 10):
            trial.wait_for_progress(300)
            client.config_set("maxmemory", client.info("memory")["used_memory"] + 50_000)
            trial.wait_until_said(workers, "maxmemory", 4, "a worker says that there is no memory")
            before = trial.applied_messages()
            trial.load.join(FULL_S)
            if trial.applied_messages() > before + 2_000:
                raise ChaosFailed("the workers go on though there is no memory")
            client.config_set("maxmemory", 0)
            trial.wait_for_applied(before + 1)
        trial.settle()
        trial.check()
        if not all(worker.running for worker in workers):
            raise ChaosFailed("a worker ended")
    server.stop()
    return f"{times} times no memory for writes"


def evicting(stage: Stage) -> str:
    """A policy that may drop keys is refused by worker and api, with what to set."""
    server = RedisServer(
        stage.directory / "redis", extra_args=("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    )
    server.start()
    with Trial(stage, server.url) as trial:
        began_s = time.time()
        trial.begin(stage.times(20, 4))
        worker = trial.pipeline.worker()
        try:
            worker.start_until_logged("partition assigned")
        except ChildFailed:
            pass
        else:
            raise ChaosFailed("a worker works with a Redis that may drop keys")
        if "maxmemory-policy noeviction" not in worker.log():
            raise ChaosFailed(f"the worker does not say what to set:\n{worker.log()}")
        with redis.Redis.from_url(server.url) as client:
            if client.dbsize():
                raise ChaosFailed("the worker wrote before it refused")
            answer = trial.api.ask("/calls/stats", QUESTION)
            if answer.status_code != 503:
                raise ChaosFailed(f"the api answers {answer.status_code} from a Redis that may drop keys")
            client.config_set("maxmemory-policy", "noeviction")
        trial.refused_until_now(began_s)
        trial.pipeline.start_worker()
        trial.settle()
        trial.check()
    server.stop()
    return "allkeys-lru refused, noeviction taken"
