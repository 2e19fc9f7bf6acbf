"""A Redis that answers, and refuses what it is asked: writes, or everything, each in words of its own."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import redis

from tests.chaos.stage import ChaosFailed, Stage
from tests.chaos.trial import Trial
from tests.servers.redis_server import RedisServer

REFUSED_S = 1.0
BUSY_AFTER_MS = 50
WAITING = "waiting for Redis"


@contextmanager
def _readonly(client: Any) -> Iterator[None]:
    """READONLY: it has become a replica, of a master that is not there."""
    client.execute_command("REPLICAOF", "127.0.0.1", 1)
    yield
    client.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def _without_replicas(client: Any) -> Iterator[None]:
    """NOREPLICAS: it takes no writes without a replica."""
    client.config_set("min-replicas-to-write", 1)
    yield
    client.config_set("min-replicas-to-write", 0)


@contextmanager
def _not_permitted(client: Any) -> Iterator[None]:
    """NOPERM: the user may read and no longer write."""
    client.execute_command("ACL", "SETUSER", "default", "-@write")
    yield
    client.execute_command("ACL", "SETUSER", "default", "+@write")


@contextmanager
def _busy(client: Any) -> Iterator[None]:
    """BUSY: a script of somebody else runs for ever; nothing is answered until it is killed."""
    client.config_set("busy-reply-threshold", BUSY_AFTER_MS)
    address = client.connection_pool.connection_kwargs

    def occupy() -> None:
        # Killed, as it has to be, it is an error.
        with redis.Redis(host=address["host"], port=address["port"]) as other, suppress(redis.ResponseError):
            other.eval("while true do end", 0)

    script = threading.Thread(target=occupy, daemon=True)
    script.start()
    yield
    client.script_kill()
    script.join()


REFUSALS: dict[str, Callable[[Any], AbstractContextManager[None]]] = {
    "READONLY": _readonly,
    "NOREPLICAS": _without_replicas,
    "NOPERM": _not_permitted,
    "BUSY": _busy,
}


def refusing(stage: Stage) -> str:
    """Lets Redis refuse for a second at a time: the workers wait, say so, and go on; the api answers, or 503."""
    server = RedisServer(stage.directory / "redis")
    server.start()
    times, words = stage.times(4, 1), list(REFUSALS)
    with Trial(stage, server.url) as trial:
        workers = trial.begin(60, workers=2)
        client = trial.pipeline.redis
        for number in trial.steps(times * len(words), 3):
            word = words[number % len(words)]
            trial.wait_for_progress(100)
            with trial.redis_away(forgets=False), REFUSALS[word](client):
                trial.wait_until_said(workers, WAITING, 1, f"a worker says that it waits while Redis says {word}")
                trial.load.join(REFUSED_S)
        trial.settle()
        trial.check()
        if not all(worker.running for worker in workers):
            raise ChaosFailed("a worker ended")
    server.stop()
    return f"{times * len(words)} times refused: {', '.join(words)}"
