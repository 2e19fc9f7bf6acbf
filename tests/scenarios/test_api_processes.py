"""Several api processes on one port: exact, kept running, and stopped in order."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from callmeter.local.loopback_port import LOOPBACK
from tests.pipeline.patience import wait_until
from tests.pipeline.pipeline import Api
from tests.support.folding import PROJECT, SHARD, apply, complete, open_shard
from tests.support.processes import children

WORKERS = 3
PATIENCE_S = 30.0
WINDOW = {"project_id": PROJECT, "start": "2026-03-03T10:00:00Z", "end": "2026-03-03T11:00:00Z", "granularity": 60}
QUESTION: dict[str, Any] = {
    **WINDOW,
    "call_metrics": [{"metric": "call_count"}, {"metric": "latency_ms", "aggregations": ["sum"], "percentiles": [50]}],
}
FOREVER = {f"RETENTION__{level}": "3650d" for level in ("CALLS", "MINUTES", "FIVE_MINUTES", "HOURS")}
SETTINGS = {**FOREVER, "API__AUTH": "false", "API__WORKERS": str(WORKERS), "REDIS__NAMESPACE": SHARD.namespace}


@pytest.fixture
def api(redis_url: str, tmp_path: Path) -> Iterator[Api]:
    api = Api({**SETTINGS, "REDIS__URL": redis_url}, tmp_path / "api.log")
    api.start()
    yield api
    api.stop()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def parent_of(api: Api) -> int:
    assert api.program.pid is not None
    return api.program.pid


def processes(api: Api) -> dict[str, int]:
    """Returns the processes that health tells, over a connection of its own."""
    answer = httpx.get(f"http://{LOOPBACK}:{api.port}/health", timeout=PATIENCE_S).json()
    assert answer["status"] == "ok"
    found: dict[str, int] = answer["processes"]
    return found


def ask_on_new_connections(port: int, questions: int) -> list[Any]:
    """Answers to the same question, each over its own connection, so from all processes."""

    async def one() -> Any:
        async with httpx.AsyncClient(base_url=f"http://{LOOPBACK}:{port}", timeout=PATIENCE_S) as client:
            response = await client.post("/calls/stats", json=QUESTION)
            assert response.status_code == 200, response.text
            return response.json()

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(one() for _ in range(questions)))

    return asyncio.run(all_of_them())


def test_all_answer_the_same(api: Api, redis_url: str, tmp_path: Path) -> None:
    """All processes answer the same after every batch, however often one has answered and kept its rows before, as one
    that has just begun."""
    shard = open_shard(redis.Redis.from_url(redis_url))
    for batch in range(3):
        apply(shard, [complete(f"{batch}-{at}", at * 7, at * 7 + batch + 1) for at in range(200)])
        answers = ask_on_new_connections(api.port, 60)
        fresh = Api({**SETTINGS, "API__WORKERS": "1", "REDIS__URL": redis_url}, tmp_path / "fresh.log")
        fresh.start()
        expected = fresh.ask("/calls/stats", QUESTION).json()
        fresh.stop()
        assert sum(row["count"] for row in expected["call_buckets"]) == 200 * (batch + 1)
        assert all(answer == expected for answer in answers)
    assert processes(api) == {"wanted": WORKERS, "running": WORKERS}


def test_one_that_is_killed_is_started_again(api: Api) -> None:
    """Others go on answering, connections that came to it wait for the next, and health says how many there are."""
    before = children(parent_of(api))
    assert len(before) == WORKERS
    os.kill(before[0], signal.SIGKILL)
    assert len(ask_on_new_connections(api.port, 30)) == 30
    assert wait_until(lambda: len(children(parent_of(api))) == WORKERS, PATIENCE_S)
    assert before[0] not in children(parent_of(api))
    assert wait_until(lambda: processes(api)["running"] == WORKERS, PATIENCE_S)
    assert [line["exit_status"] for line in api.program.logged("a process ended by itself; another is started")] == [-9]


def test_stopped_in_order(api: Api) -> None:
    """Told to stop, all end in good order within seconds, and nothing is left."""
    pids = children(parent_of(api))
    began_s = time.monotonic()
    assert api.program.terminate() == 0
    assert time.monotonic() - began_s < PATIENCE_S
    assert not any(is_alive(pid) for pid in pids)


def test_nothing_outlives_the_parent(api: Api) -> None:
    """Killed, it takes them with it."""
    pids = children(parent_of(api))
    os.kill(parent_of(api), signal.SIGKILL)
    assert wait_until(lambda: not any(is_alive(pid) for pid in pids), PATIENCE_S)
