"""`callmeter backfill` against real servers: refused until the settings reach back, then sent and counted once."""

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.callmeter.commands.rebuilding import PATIENCE_S, running
from tests.pipeline.operator import operate
from tests.pipeline.patience import wait_until
from tests.pipeline.pipeline import Pipeline
from tests.servers.clustered import with_cluster
from tests.servers.kafka_server import KafkaServer

CALLS = 60_000
# At most 10,000 messages a second, however fast the machine: it is still at it when it first notes its place.
SLOWLY = json.dumps({"queue.buffering.max.messages": 1_000, "linger.ms": 100})
KEPT = {"RETENTION__CALLS": "202d", "RETENTION__HOURS": "400d"}


def write(path: Path, calls: int, days_ago: int) -> None:
    """Calls of some days ago."""
    at = (datetime.now(UTC) - timedelta(days=days_ago)).isoformat()
    with path.open("w") as file:
        for number in range(calls):
            ids = {"project_id": "p", "id": f"call-{number}", "op_name": "op"}
            file.write(json.dumps({"complete": ids | {"started_at": at, "ended_at": at, "summary": {}}}) + "\n")


def test_refused_until_it_is_kept(kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    """Calls that would come too late are told before anything is sent; with the setting that is named all of them
    count."""
    path = tmp_path / "old.jsonl"
    write(path, 100, 200)
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, {}, partitions=1) as pipeline:
        pipeline.create_topic()
        for options in ((), ("--dry-run",)):
            refused = operate(pipeline.settings, "backfill", str(path), *options)
            assert refused.status == 1
            assert "100 events are older than call records are kept (30 days)" in refused.errors
            assert "CALLMETER_RETENTION__CALLS=202d" in refused.errors
        piped = subprocess.run(
            [sys.executable, "-m", "callmeter", "backfill", "-"],
            input=path.read_bytes(),
            env={f"CALLMETER_{name}": text for name, text in with_cluster(pipeline.settings).items()} | {"PATH": ""},
            capture_output=True,
            check=False,
        )
        assert piped.returncode == 1
        assert b"line 1: 1 events are older than" in piped.stderr
        assert b"(0 messages before it were delivered)" in piped.stderr
        longer = pipeline.settings | KEPT
        assert operate(longer, "backfill", str(path), "--dry-run").output == "100 events would be taken\n"
        pipeline.start_worker(**KEPT)
        assert wait_until(lambda: pipeline.counters()["as_of_us"] > 0, PATIENCE_S)
        # The worker has not folded anything yet, so that it has not said what it keeps: the settings decide.
        done = operate(longer, "backfill", str(path))
        assert done.status == 0, done.errors
        assert f"100 messages delivered to {pipeline.topic}" in done.output
        assert wait_until(lambda: pipeline.counters()["calls"] == 100, PATIENCE_S)
        assert pipeline.counters()["dead_letters"] == 0
        # By now it has: whoever asks with other settings is told what the worker takes.
        assert "would be taken" in operate(pipeline.settings, "backfill", str(path), "--dry-run").output


def test_cut_off_and_gone_on_with(kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    """Killed in the middle, it goes on from the place that it has noted; each call counts once."""
    path = tmp_path / "old.jsonl"
    write(path, CALLS, 3)
    place = tmp_path / "old.jsonl.backfill"
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, {}, partitions=1) as pipeline:
        pipeline.create_topic()
        with running(pipeline, "backfill", str(path), KAFKA__EXTRA=SLOWLY) as process:
            assert wait_until(lambda: place.exists() or process.poll() is not None, PATIENCE_S)
            process.send_signal(signal.SIGKILL)
        noted = json.loads(place.read_text())["next_line"]
        assert 1 < noted <= CALLS
        done = operate(pipeline.settings, "backfill", str(path))
        assert done.status == 0, done.errors
        assert f"going on at line {noted}" in done.errors
        assert f"{CALLS - noted + 1} messages delivered" in done.output
        assert not place.exists()
        pipeline.start_worker()
        assert wait_until(lambda: pipeline.counters()["calls"] == CALLS, PATIENCE_S)
