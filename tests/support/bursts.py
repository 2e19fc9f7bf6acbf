"""Bursts of errors that go through Kafka, workers, an api and alerters to a webhook, while workers and alerters are
killed: who is told, how often, and how long after the burst.
"""

import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import NamedTuple

from tests.callmeter.alerts.rule_files import PROJECT
from tests.callmeter.alerts.webhooks import WebhookServer
from tests.pipeline.feed import Line
from tests.pipeline.patience import wait_until
from tests.pipeline.pipeline import Pipeline
from tests.pipeline.program import Program
from tests.support.alerting import alerter_of, write_rules

PARTITIONS = 2
# A burst is all errors; its end ten times as many good calls, so that their share falls below a half.
CALLS, CALLS_AFTER = 20, 200
# How long a supervisor takes to start again what was killed.
RESTART_S = 0.5
# A kill comes so long after its burst at most: about when the burst is told of.
KILL_AFTER_S_MAX = 1.2
PATIENCE_S = 60.0
# What would come twice comes within so long: a lease, and a look.
SETTLED_S = 3.0
# Members are seen where they are after so long at most; only the tests' own topics are that young.
EXTRA = {"topic.metadata.refresh.interval.ms": 500}


class Told(NamedTuple):
    """A burst that was told of: its op, what was killed around it, and seconds from its last event to the webhook."""

    op: str
    killed: str
    after_s: float


class Bursting(NamedTuple):
    """All that runs. `workers` own a partition each, and have names (or none: to see what those are for)."""

    pipeline: Pipeline
    hook: WebhookServer
    workers: list[Program]
    alerters: list[Program]
    numbers: Iterator[int]

    def calls(self, op: str, partition: int, how_many: int, failed: bool) -> None:
        """Produce so many calls that begin and end now; the topic has them on return."""
        now = datetime.now(UTC).isoformat()
        lines = []
        for number in (next(self.numbers) for _ in range(how_many)):
            call = {"project_id": PROJECT, "id": f"call-{number}", "trace_id": f"trace-{number}", "op_name": op}
            call |= {"started_at": now, "ended_at": now} | ({"exception": "no answer"} if failed else {})
            value = json.dumps({"complete": call | {"summary": {}}}).encode()
            lines.append(Line(op, value, partition))
        self.pipeline.produce(lines)

    def owner(self, partition: int) -> Program:
        """The worker that was assigned a partition last."""
        assigned = [
            (line["time"], number)
            for number, worker in enumerate(self.workers)
            for line in worker.logged("partition assigned")
            if line["partition"] == partition
        ]
        return self.workers[max(assigned)[1]]

    def burst(self, number: int, turns: random.Random) -> Told:
        """One burst and its end, with kills around it: of its partition's worker, of an alerter, of both, of none."""
        op, partition = f"op-{number}", number % PARTITIONS
        victims = [("worker", self.owner(partition))] if turns.random() < 0.5 else []
        victims += [("alerter", turns.choice(self.alerters))] if turns.random() < 0.5 else []
        comes_after = turns.random() < 0.5
        if comes_after:
            kill(victims)
        self.calls(op, partition, CALLS, failed=True)
        began_s = time.time()
        if not comes_after:
            time.sleep(turns.uniform(0, KILL_AFTER_S_MAX))
            kill(victims)
        if victims:
            time.sleep(RESTART_S)
        for _, victim in victims:
            victim.launch()
        self.wait_until_told(op, "firing")
        [fired, *_] = [one.at_s for one in self.hook.taken if one.told == (op, "firing")]
        self.calls(op, partition, CALLS_AFTER, failed=False)
        self.wait_until_told(op, "resolved")
        names = " and ".join(name for name, _ in victims) or "nobody"
        return Told(op, f"{names} {'before' if comes_after else 'after'}" if victims else names, fired - began_s)

    def wait_until_told(self, op: str, status: str) -> None:
        """Return when the webhook was told; an AssertionError shows the logs where it was not."""
        assert wait_until(lambda: (op, status) in self.hook.told, PATIENCE_S), "\n".join(
            one.log()[-4_000:] for one in (*self.workers, *self.alerters)
        )

    def times_told(self) -> Counter[tuple[str, str]]:
        """How often an op's beginning and end were told, once all has settled; what came again under the id that it
        had before counts once.
        """
        time.sleep(SETTLED_S)
        return Counter({one.delivery_id: one.told for one in self.hook.taken}.values())

    def repeats(self) -> int:
        """How many came again under the id that they had before: their sender was killed as it sent them."""
        return len(self.hook.taken) - len({one.delivery_id for one in self.hook.taken})


def kill(victims: list[tuple[str, Program]]) -> None:
    """SIGKILL to each."""
    for _, victim in victims:
        victim.kill()


@contextmanager
def bursting(
    bootstrap_servers: str, redis_url: str, directory: Path, named: bool = True, extra: Mapping[str, int] = EXTRA
) -> Iterator[Bursting]:
    """Two workers, two alerters, an api and a webhook, all of them at work. `extra`: properties of Kafka's clients."""
    settings = {"KAFKA__EXTRA": json.dumps(dict(extra)), "METRICS__PORT": "0"}
    with (
        Pipeline(directory, bootstrap_servers, redis_url, settings, PARTITIONS) as pipeline,
        WebhookServer() as hook,
    ):
        pipeline.create_topic()
        names = [f"worker-{number}" if named else "" for number in range(PARTITIONS)]
        workers = [pipeline.worker(KAFKA__MEMBER=name) for name in names]
        for worker in workers:
            worker.start_until_logged("worker started")
        api = pipeline.start_api()
        file = write_rules(directory, {"type": "webhook", "url": hook.url})
        alerters = [alerter_of(pipeline.settings, number, api, file, directory) for number in range(2)]
        all_running = Bursting(pipeline, hook, workers, alerters, count())
        try:
            for one in alerters:
                one.launch()
            for worker in workers:
                worker.wait_until_logged("partition assigned")
            for partition in range(PARTITIONS):
                all_running.calls("steady", partition, CALLS, failed=False)
            pipeline.wait_until_applied()
            assert wait_until(lambda: any(one.logged("this process evaluates alerts") for one in alerters), PATIENCE_S)
            yield all_running
        finally:
            for one in alerters:
                one.kill()
