"""`callmeter rebuild` against real servers: all is folded again while everything goes on, and answers never fail."""

import json
import threading
from typing import Any

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from aggregator.layout.keys import LAYOUT_VERSION, LAYOUTS_READ, ShardName
from tests.callmeter.commands.rebuilding import DATASET, PATIENCE_S, rebuild
from tests.pipeline.feed import Line
from tests.pipeline.operator import operate
from tests.pipeline.patience import wait_until
from tests.pipeline.pipeline import Api, Pipeline

LIVE_PROJECT = "live/agents"


class Asking:
    """Asks an api for all golden answers again and again; `mistakes` holds what was wrong, `rounds` counts."""

    def __init__(self, api: Api) -> None:
        self.rounds = 0
        self.mistakes: list[Any] = []
        self._api = api
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                wrong = self._api.mistakes(DATASET.cases)
            except Exception as failed:
                wrong = {"no answer": [repr(failed)]}
            if wrong:
                self.mistakes.append(wrong)
            self.rounds += 1


class Feeding:
    """Sends calls of another project all the time, each a message."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.calls = 0
        self._pipeline = pipeline
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._feed)
        self._thread.start()

    def stop(self) -> None:
        """End it; all is in the topic then."""
        self._stop.set()
        self._thread.join()

    def _feed(self) -> None:
        times = {"started_at": "2026-06-10T10:00:00Z", "ended_at": "2026-06-10T10:00:01Z"}
        while not self._stop.wait(0.01):
            call = {"project_id": LIVE_PROJECT, "id": f"call-{self.calls}", "op_name": "op", "summary": {}, **times}
            self._pipeline.produce([Line(f"key-{self.calls}", json.dumps({"complete": call}).encode())])
            self.calls += 1


def test_queries_never_fail(pipeline: Pipeline) -> None:
    """No answer fails or is wrong while all is folded again and switched over, and no live call is lost or doubled.

    Afterwards the generation before is gone, but for the fences; workers go on in the new one.
    """
    api = pipeline.start_api()
    asking, feeding = Asking(api), Feeding(pipeline)
    try:
        assert wait_until(lambda: feeding.calls > 20 and asking.rounds > 1, PATIENCE_S)
        done = rebuild(pipeline, "--grace", "3s")
        assert done.status == 0, done.errors
        rounds, calls = asking.rounds, feeding.calls
        assert wait_until(lambda: asking.rounds > rounds + 1 and feeding.calls > calls + 20, PATIENCE_S)
    finally:
        feeding.stop()
        asking.stop()
    new = f"{pipeline.namespace}.2"
    assert f"Live: {new}." in done.output
    assert f"Dropped {pipeline.namespace}." in done.output
    left = {key.decode("ascii", "replace") for key in pipeline.redis.scan_iter(f"*{pipeline.namespace}*", 1_000)}
    fences = {f"{{{pipeline.namespace}/{pipeline.topic}/{partition}}}:next" for partition in range(pipeline.partitions)}
    beside = {f"{pipeline.namespace}:live", f"{pipeline.namespace}:rebuild"}
    assert {key for key in left if f"{new}/" not in key and f"{new}:" not in key} == fences | beside
    pipeline.namespace = new
    pipeline.wait_until_applied()
    assert (asking.mistakes, api.mistakes(DATASET.cases)) == ([], {})
    counters = pipeline.counters()
    assert counters["calls"] == DATASET.calls + feeding.calls
    assert counters["messages"] == len(DATASET.lines) + feeding.calls
    request = {
        "project_id": LIVE_PROJECT,
        "start": "2026-06-10T00:00:00Z",
        "end": "2026-06-11T00:00:00Z",
        "granularity": 86_400,
        "call_metrics": [{"metric": "call_count"}],
    }
    (row,) = api.ask("/calls/stats", request).json()["call_buckets"]
    assert row["count"] == feeding.calls
    status = operate(pipeline.settings, "status", "--json").json()
    assert (status["lag_messages"], status["calls"]) == (0, DATASET.calls + feeding.calls)


def test_once_more(pipeline: Pipeline) -> None:
    """A generation can be rebuilt again, without workers too; a worker that starts later finds the live one."""
    (worker,) = pipeline._programs
    assert worker.terminate() == 0
    for number in (2, 3):
        done = rebuild(pipeline)
        assert f"Live: {pipeline.namespace}.{number}." in done.output, done.errors
    base, pipeline.namespace = pipeline.namespace, f"{pipeline.namespace}.3"
    worker.start_until_logged("worker started")
    pipeline.produce([DATASET.lines[0]])
    pipeline.wait_until_applied()
    assert pipeline.counters()["messages"] == len(DATASET.lines) + 1
    assert not pipeline.redis.keys(f"{base}.2:*")
    assert pipeline.start_api().mistakes(DATASET.cases) == {}


def test_other_counts(pipeline: Pipeline) -> None:
    """A rebuild is not switched over where the live state has another number of calls, and the worker goes on in that.

    With --accept-differences it is.
    """
    shard = ShardName(pipeline.namespace, pipeline.topic, next(iter(pipeline.applied())))
    pipeline.redis.hincrby(f"{shard.tag}:shard", "calls", 1)
    refused = rebuild(pipeline)
    assert refused.status == 1
    assert f"not switched over: {pipeline.topic} has " in refused.errors
    assert not pipeline.redis.keys(f"*{pipeline.namespace}.2*")
    pipeline.produce([DATASET.lines[0]])
    pipeline.wait_until_applied()
    accepted = rebuild(pipeline, "--accept-differences")
    assert accepted.status == 0, accepted.errors
    pipeline.namespace += ".3"
    assert pipeline.counters()["calls"] == DATASET.calls


def test_the_log_lacks_messages(pipeline: Pipeline) -> None:
    """A rebuild is refused where the log does not hold all messages any more, unless the loss is accepted."""
    partition = max(pipeline.feed.ends, key=lambda at: pipeline.feed.ends[at])
    place = TopicPartition(pipeline.topic, partition, 5)
    admin = AdminClient({"bootstrap.servers": pipeline.bootstrap_servers})
    admin.delete_records([place])[place].result(30)
    planned = rebuild(pipeline, "--dry-run")
    assert f"{len(DATASET.lines) - 5} messages would be folded again." in planned.output
    assert f"{pipeline.topic}/{partition} begins at 5 only" in planned.output
    refused = rebuild(pipeline)
    assert refused.status == 1
    assert f"would be lost: {pipeline.topic}/{partition} begins at 5 only" in refused.errors
    assert not pipeline.redis.exists(f"{pipeline.namespace}:rebuild")
    accepted = rebuild(pipeline, "--accept-differences")
    assert accepted.status == 0, accepted.errors
    pipeline.namespace += ".2"
    assert pipeline.counters()["messages"] == len(DATASET.lines) - 5


def test_a_newer_layout(pipeline: Pipeline) -> None:
    """A worker refuses a generation that a newer version has laid out, and says so."""
    (worker,) = pipeline._programs
    assert worker.terminate() == 0
    for partition in pipeline.applied():
        shard = ShardName(pipeline.namespace, pipeline.topic, partition)
        pipeline.redis.hset(f"{shard.tag}:shard", "layout", LAYOUT_VERSION + 1)
    said = operate(pipeline.settings, "worker")
    assert said.status == 1
    assert f"has layout {LAYOUT_VERSION + 1}, this version knows {LAYOUT_VERSION}: run the newer version" in said.errors


def test_an_older_layout(pipeline: Pipeline) -> None:
    """A worker refuses a generation that an older version has laid out, and says what to do; a rebuild mends it."""
    oldest = min(LAYOUTS_READ)
    (worker,) = pipeline._programs
    assert worker.terminate() == 0
    for partition in pipeline.applied():
        shard = ShardName(pipeline.namespace, pipeline.topic, partition)
        pipeline.redis.hset(f"{shard.tag}:shard", "layout", oldest - 1)
    said = operate(pipeline.settings, "worker")
    assert said.status == 1
    assert f"has layout {oldest - 1}, this version knows {LAYOUT_VERSION}: run `callmeter rebuild`" in said.errors
    assert pipeline.start_api().ask("/calls/usage", {"project_id": "p", "call_ids": []}).status_code == 503
    done = rebuild(pipeline)
    assert done.status == 0, done.errors
    worker.start_until_logged("partition assigned")
    assert pipeline.start_api().mistakes(DATASET.cases) == {}
