"""`callmeter export`: what DuckDB sums from it is what `/calls/stats` answers, and what brute force counts."""

import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner

from aggregator.layout.sealed_calls import CALL_FRAME_FIELD
from aggregator.time_units import DAY_US
from callmeter.commands.export import export
from callmeter.settings import RedisSettings, SegmentSettings, Settings
from tests.pipeline.golden import read_dataset
from tests.pipeline.in_process import InProcess
from tests.support.exporting import (
    ALL_KEPT,
    DAY,
    SEALED,
    Sums,
    asked,
    busiest,
    counted,
    days_of,
    folded_small,
    little_at_once,
    of_answer,
    of_facts,
    of_rollups,
    request,
    rows_of,
    run,
    settings,
    shards_of,
    window,
)
from tests.support.folding import PROJECT, ROOMY, SHARD, T0_US, apply
from tests.support.moving import FailingStore, frames_in_redis, open_moving
from tests.support.sealing import seal_all, some_calls
from tests.support.strategies import NOW


@pytest.fixture(autouse=True)
def _little_at_once() -> Iterator[None]:
    with little_at_once():
        yield


@pytest.fixture
def folded(redis_url: str) -> Iterator[tuple[InProcess, Settings]]:
    """A small dataset, sealed, with settings to export it."""
    with folded_small(redis_url) as found:
        yield found


@pytest.mark.parametrize(("name", "sealed"), [("rollups", True), ("rollups", False), ("costs", True)])
def test_the_same_numbers(name: str, sealed: bool, redis_url: str, tmp_path: Path) -> None:
    """All calls and roots with what is below them, from facts and rollups, of sealed calls and of others."""
    dataset = read_dataset(name)
    now = dataset.settings["NOW"]
    brute = counted(dataset)
    with InProcess(redis_url, datetime.fromisoformat(now)) as product:
        product.fold(shards_of(dataset), SEALED if sealed else ROOMY)
        assert bool(frames(redis_url)) == sealed
        for at, (project, day) in enumerate(days_of(brute)):
            files = tmp_path / str(at)
            said = run(settings(redis_url, now), files, *window(project, day, day + DAY))
            assert (said.exit_code, said.exception) == (0, None), said.output
            for filtered in ({}, {"trace_roots_only": True}):
                question = request(project, day, day + DAY, **filtered)
                expected = asked(product, question)
                assert expected
                assert of_answer(brute.stats(question, datetime.fromisoformat(now))) == expected
                for exported in tables(files, bool(filtered)):
                    assert exported == expected


def tables(files: Path, roots_only: bool) -> Iterator[Sums]:
    """Sum up each table, for all calls or for roots."""
    usage = "tree_usage" if roots_only else "usage"
    yield of_facts(files, usage, "is_root" if roots_only else "true")
    for table in ("rollups-5m", "rollups-1h"):
        yield of_rollups(files, table, "root" if roots_only else "all", usage=usage)


def frames(redis_url: str) -> int:
    """How many chunks of records are sealed."""
    with redis.Redis.from_url(redis_url) as client:
        return sum(bool(client.hexists(key, CALL_FRAME_FIELD.decode())) for key in client.keys("*:calls:*"))


def test_each_dimension(folded: tuple[InProcess, Settings], tmp_path: Path) -> None:
    """Every op and user, of rollups and of facts, is what the api answers for a filter on it."""
    product, ours = folded
    project, day = busiest()
    assert run(ours, tmp_path, *window(project, day, day + DAY)).exit_code == 0
    seen = 0
    for by, column, field in (("op_name", "op_name", "op_names"), ("user_id", "user_id", "wb_user_ids")):
        for [value] in rows_of(f"SELECT DISTINCT {column} FROM '{tmp_path}/facts/*/*.parquet'"):
            if value is None:
                continue
            expected = asked(product, request(project, day, day + DAY, **{field: [value]}))
            assert of_facts(tmp_path, where=f"{column} = '{value}'") == expected
            assert of_rollups(tmp_path, "rollups-1h", by, f"value = '{value}'") == expected
            seen += 1
    assert seen > 3
    models = f"SELECT unnest(models) AS model FROM '{tmp_path}/facts/*/*.parquet'"
    of_models = rows_of(f"SELECT model, count(*) FROM ({models}) GROUP BY 1")
    rolled = rows_of(
        f"SELECT value, sum(calls) FROM '{tmp_path}/rollups-5m/*/*.parquet' WHERE \"by\" = 'model' GROUP BY 1"
    )
    assert sorted(of_models) == sorted(rolled) != []


def test_parquet_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command says what to install."""
    monkeypatch.setitem(sys.modules, "callmeter.parquet.export", None)
    said = run(Settings(), tmp_path, "--project", "acme/agents")
    assert said.output == "Error: Parquet needs an extra: `pip install 'callmeter[export]'`\n"


def test_the_example_of_the_help(folded: tuple[InProcess, Settings], tmp_path: Path) -> None:
    """DuckDB takes the query as it stands there."""
    _, ours = folded
    project, day = busiest()
    assert run(ours, tmp_path / "lake", *window(project, day, day + DAY)).exit_code == 0
    told = CliRunner().invoke(export, ["--help"]).output
    [query] = re.findall(r"SELECT op_name.*?;", told, re.DOTALL)
    rows = rows_of(query.replace("lake/", f"{tmp_path}/lake/"))
    assert rows
    assert [row[3] for row in rows if row[3] is not None] == sorted((row[3] for row in rows if row[3]), reverse=True)


def test_rollups_in_objects(redis_url: str, tmp_path: Path) -> None:
    """Cells and records that were moved out of Redis are the same rows as before they were sealed."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        shard = open_moving(client, FailingStore(tmp_path / "objects"))
        apply(shard, some_calls(60, 0))
        day = datetime.fromtimestamp(T0_US // DAY_US * DAY_US / 1e6, UTC)
        ours = Settings(
            redis=RedisSettings(url=redis_url, namespace=SHARD.namespace),
            retention=ALL_KEPT,
            segments=SegmentSettings(url=(tmp_path / "objects").as_uri()),
            now=NOW,
        )
        found = []
        for _ in range(2):
            assert run(ours, tmp_path / "lake", *window(PROJECT, day, day + DAY)).exit_code == 0
            found.append(
                [
                    sorted(map(repr, rows_of(f"SELECT * FROM '{tmp_path}/lake/{table}/*/*.parquet'")))
                    for table in ("facts", "rollups-5m", "rollups-1h")
                ]
            )
            seal_all(shard)
        assert not frames_in_redis(client)
    assert found[0] == found[1]
    assert all(found[0])
