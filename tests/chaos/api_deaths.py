"""Processes of the api that die at random moments, while others answer on the same port."""

import os
import signal

from tests.chaos.stage import ChaosFailed, Stage
from tests.chaos.trial import Trial
from tests.servers.redis_server import RedisServer
from tests.support.processes import children

PROCESSES = 3
ENDED = "a process ended by itself; another is started"


def killed(stage: Stage) -> str:
    """One process of three is killed with -9 again and again.

    What it was answering breaks off; all other questions are answered, and rightly, by processes that have kept
    different rows.
    """
    server = RedisServer(stage.directory / "redis")
    server.start()
    kills = stage.times(50, 3)
    with Trial(stage, server.url, API__WORKERS=str(PROCESSES)) as trial:
        trial.begin(60, workers=2)
        api = trial.api.program
        assert api.pid is not None
        pid = api.pid
        for number in trial.steps(kills, 2):
            trial.wait_for_progress(1)
            trial.load.join(stage.rng.uniform(0, 1))
            with trial.questions_may_break_off():
                os.kill(stage.rng.choice(children(pid)), signal.SIGKILL)
                trial.wait(lambda: len(api.logged(ENDED)) > number, "a killed process is missed")  # noqa: B023
            trial.wait(lambda: len(children(pid)) == PROCESSES, "another process is started")
        trial.settle()
        trial.check()
        broken_off = trial.questions_broken_off
        if not api.running:
            raise ChaosFailed("the api ended")
    server.stop()
    return f"{kills} kills -9 of 3 api processes, {broken_off} questions broken off"
