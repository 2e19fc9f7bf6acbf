"""`callmeter rebuild` that is cut off, or ended from elsewhere: all is as it was, and workers go on."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from aggregator.store.generation import LEASE_S, Generations, lease_key, live_key
from aggregator.store.shard_store import ShardStore
from tests.callmeter.commands.rebuilding import DATASET, PATIENCE_S, REBUILD, rebuild, running
from tests.pipeline.operator import operate
from tests.pipeline.patience import wait_until
from tests.pipeline.pipeline import Pipeline


def stop_while_it_folds(pipeline: Pipeline, process: "subprocess.Popen[str]") -> None:
    """Let a rebuild of small steps stand still in the middle: it would be done before another command has begun."""
    assert wait_until(lambda: bool(pipeline.redis.keys(f"{{{pipeline.namespace}.2/*}}:next")), PATIENCE_S)
    process.send_signal(signal.SIGSTOP)
    assert process.poll() is None
    assert not pipeline.redis.exists(live_key(pipeline.namespace))


def test_killed_in_the_middle(pipeline: Pipeline) -> None:
    """A rebuild that is killed while it folds leaves all as it was; --abort tidies up and the next one works."""
    api = pipeline.start_api()
    with running(pipeline, *REBUILD, BATCH__MESSAGES_MAX="1") as process:
        stop_while_it_folds(pipeline, process)
        refused = rebuild(pipeline)
        assert refused.status == 1
        assert "another rebuild folds into" in refused.errors
    assert pipeline.redis.exists(f"{pipeline.namespace}:shards")
    assert api.mistakes(DATASET.cases) == {}
    aborted = operate(pipeline.settings, "rebuild", "--abort")
    assert aborted.output == f"Dropped {pipeline.namespace}.2.\nLive: {pipeline.namespace}.\n"
    assert not pipeline.redis.keys(f"*{pipeline.namespace}.2*")
    assert operate(pipeline.settings, "rebuild", "--abort").output.startswith("There was nothing to undo.\n")
    done = rebuild(pipeline)
    assert done.status == 0, done.errors
    pipeline.namespace += ".3"
    pipeline.wait_until_applied()
    assert pipeline.counters()["calls"] == DATASET.calls
    assert api.mistakes(DATASET.cases) == {}


def test_ended_while_it_runs(pipeline: Pipeline) -> None:
    """--abort ends a rebuild that runs: it stops and does not switch over."""
    with running(pipeline, *REBUILD, BATCH__MESSAGES_MAX="1") as process:
        stop_while_it_folds(pipeline, process)
        assert operate(pipeline.settings, "rebuild", "--abort").status == 0
        process.send_signal(signal.SIGCONT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
    assert "not switched over: " in errors
    assert not pipeline.redis.exists(f"{pipeline.namespace}:live")
    assert not pipeline.redis.keys(f"*{pipeline.namespace}.2*")
    pipeline.produce([DATASET.lines[0]])
    pipeline.wait_until_applied()


def test_cut_off_with_a_fence(pipeline: Pipeline) -> None:
    """A worker waits, and says that --abort helps, where a rebuild of a version without leases was cut off after a
    shard had moved away."""
    generations = Generations(pipeline.redis, pipeline.namespace)
    generations.begin(round(time.time()))
    stores = [ShardStore(pipeline.redis, shard) for shard in generations.shards(pipeline.namespace)]
    for store in stores:
        pipeline.redis.set(store.keys.next, b"moved:%d" % (store.read_offset() or 0))
    (worker,) = pipeline._programs
    worker.wait_until_logged("waiting for Redis")
    assert "at once after `callmeter rebuild --abort`" in worker.log()
    api = pipeline.start_api()
    pipeline.produce(DATASET.lines[:10])
    assert api.mistakes(DATASET.cases) == {}
    assert operate(pipeline.settings, "status", "--json").json()["lag_messages"] == 10
    assert operate(pipeline.settings, "rebuild", "--abort").status == 0
    pipeline.wait_until_applied()
    assert pipeline.counters()["messages"] == len(DATASET.lines) + 10


@contextmanager
def stopped_while_fenced(pipeline: Pipeline) -> Iterator[subprocess.Popen[str]]:
    """A rebuild that stands still, all of it, after it has moved a shard away."""
    generations = Generations(pipeline.redis, pipeline.namespace)
    stores = [ShardStore(pipeline.redis, shard) for shard in generations.shards(pipeline.namespace)]
    with running(pipeline, *REBUILD) as process:
        deadline_s = time.monotonic() + PATIENCE_S
        while not any(store.moved_by() for store in stores):  # as fast as can be: it takes less than a second
            assert process.poll() is None
            assert time.monotonic() < deadline_s
        process.send_signal(signal.SIGSTOP)
        assert not pipeline.redis.exists(live_key(pipeline.namespace))
        yield process


def test_killed_while_fenced(pipeline: Pipeline) -> None:
    """kill -9 of a rebuild that had moved a shard away: the worker waits, and goes on by itself within LEASE_S."""
    (worker,) = pipeline._programs
    with stopped_while_fenced(pipeline) as process:
        process.kill()
        process.wait()
        killed_s = time.monotonic()
        pipeline.produce(DATASET.lines[:10])
        worker.wait_until_logged("waiting for Redis")
        pipeline.wait_until_applied()
        assert time.monotonic() - killed_s < LEASE_S + 15  # of which the latter is for a busy machine
    assert "took a shard back from a rebuild that died" in worker.log()
    assert pipeline.counters()["messages"] == len(DATASET.lines) + 10
    assert pipeline.start_api().mistakes(DATASET.cases) == {}
    aborted = operate(pipeline.settings, "rebuild", "--abort")
    assert aborted.output == f"Dropped {pipeline.namespace}.2.\nLive: {pipeline.namespace}.\n"


def test_too_slow_while_fenced(pipeline: Pipeline) -> None:
    """A rebuild that loses its lease, and is there again when the worker has gone on, does not switch over; the next
    does."""
    with stopped_while_fenced(pipeline) as process:
        assert pipeline.redis.delete(lease_key(pipeline.namespace)) == 1  # what Redis does by itself then
        pipeline.produce(DATASET.lines[:10])
        pipeline.wait_until_applied()
        process.send_signal(signal.SIGCONT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "not switched over: " in errors
    assert not pipeline.redis.exists(live_key(pipeline.namespace))
    pipeline.produce(DATASET.lines[:10])
    pipeline.wait_until_applied()
    done = rebuild(pipeline)
    assert done.status == 0, done.errors
    pipeline.namespace += ".3"
    pipeline.wait_until_applied()
    counters = pipeline.counters()
    assert (counters["messages"], counters["calls"]) == (len(DATASET.lines) + 20, DATASET.calls)
