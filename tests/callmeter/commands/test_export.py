"""`callmeter export`: what DuckDB sums from it is what `/calls/stats` answers, and what brute force counts."""

import json
import re
import sys
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import redis
from click.testing import CliRunner, Result
from pyarrow import parquet

from aggregator.layout.sealed_calls import CALL_FRAME_FIELD
from aggregator.reading import slot_rollups, window_calls
from aggregator.time_units import DAY_US
from aggregator.writing.limits import ShardLimits
from callmeter.commands.export import export
from callmeter.parquet import facts, row_file
from callmeter.settings import RedisSettings, RetentionSettings, SegmentSettings, Settings
from tests.brute_force import Model, PriceList, fold
from tests.pipeline.golden import Dataset, read_dataset
from tests.pipeline.in_process import NAMESPACE, Batch, InProcess
from tests.support.exporting import Sums, asked, of_answer, of_facts, of_rollups, request
from tests.support.folding import PROJECT, ROOMY, SHARD, T0_US, apply
from tests.support.moving import FailingStore, frames_in_redis, open_moving
from tests.support.paths import CASES
from tests.support.sealing import seal_all, some_calls
from tests.support.small_chunks import small_chunks
from tests.support.strategies import NOW

DAY = timedelta(days=1)
SMALL = "rollups"
BATCH_MESSAGES = 200
SEALED = ShardLimits(seal_after_s=-10 * 86_400)  # everything is, before the next batch
KEPT_S = 3650 * 86_400
ALL_KEPT = RetentionSettings(calls=KEPT_S, minutes=KEPT_S, five_minutes=KEPT_S, hours=KEPT_S)


@pytest.fixture(autouse=True)
def little_at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Some calls fill chunks, row groups, and what is read at once."""
    monkeypatch.setattr(row_file, "ROW_GROUP_ROWS_MAX", 20)
    monkeypatch.setattr(slot_rollups, "CELLS_AT_ONCE_MAX", 700)
    with small_chunks(4):
        yield


def settings(redis_url: str, now: str, retention: RetentionSettings = ALL_KEPT) -> Settings:
    """Return settings for what a test has folded."""
    found = Settings(redis=RedisSettings(url=redis_url, namespace=NAMESPACE), retention=retention)
    return found.model_copy(update={"now": datetime.fromisoformat(now)})


def run(settings: Settings, directory: Path, *arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(export, [*arguments, str(directory)], obj=settings)


def shards_of(dataset: Dataset) -> list[list[Batch]]:
    """Return its messages, shuffled and doubled, in two partitions by key; a trace is whole in one of them."""
    shards: list[list[bytes]] = [[], []]
    for line in dataset.shuffled_and_doubled(1):
        assert line.value is not None
        shards[zlib.crc32(str(line.key).encode()) % 2].append(line.value)
    return [
        [Batch(values[at : at + BATCH_MESSAGES], restart=False) for at in range(0, len(values), BATCH_MESSAGES)]
        for values in shards
    ]


def counted(dataset: Dataset) -> Model:
    """Count its messages by brute force."""
    messages = [json.loads(line.value or b"") for line in dataset.lines]
    prices = PriceList.from_file(CASES / "prices.yaml")
    return fold(messages, prices, datetime.fromisoformat(dataset.settings["NOW"]))


def days_of(model: Model) -> list[tuple[str, datetime]]:
    """The projects, and the UTC days on which something started in each."""
    return sorted(
        {
            (call.project_id, datetime.fromtimestamp(call.start.started_at_us // DAY_US * DAY_US / 1e6, UTC))
            for call in model.calls.by_identity.values()
            if call.start is not None
        }
    )


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


def rows_of(query: str) -> list[tuple[Any, ...]]:
    """Ask DuckDB."""
    with duckdb.connect() as database:
        return database.execute(query).fetchall()


def window(project: str, start: datetime, end: datetime) -> tuple[str, ...]:
    """Options."""
    return "--project", project, "--start", start.isoformat(), "--end", end.isoformat()


@pytest.fixture
def folded(redis_url: str) -> Iterator[tuple[InProcess, Settings]]:
    """A small dataset."""
    dataset = read_dataset(SMALL)
    with InProcess(redis_url, datetime.fromisoformat(dataset.settings["NOW"])) as product:
        product.fold(shards_of(dataset), SEALED)
        yield product, settings(redis_url, dataset.settings["NOW"])


def busiest() -> tuple[str, datetime]:
    """The first project of that dataset, and its first day."""
    return days_of(counted(read_dataset(SMALL)))[0]


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


def test_files(folded: tuple[InProcess, Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each day and project, of sorted row groups of a bounded number of rows; cut to the window."""
    monkeypatch.setattr(window_calls, "MINUTES_AT_ONCE_MAX", 7)
    _, ours = folded
    project, day = busiest()
    said = json.loads(run(ours, tmp_path, *window(project, day - DAY, day + DAY), "--json", "--table", "facts").output)
    paths = [tmp_path / "facts" / f"day={at:%Y-%m-%d}" / "acme%2Fagents.parquet" for at in (day - DAY, day)]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == paths
    [told] = said
    assert (told["files"], told["bytes"]) == (2, sum(path.stat().st_size for path in paths))
    assert told["rows"] == sum(parquet.read_metadata(path).num_rows for path in paths)
    written = parquet.ParquetFile(paths[1])
    groups = [written.read_row_group(at).column("started_at").to_pylist() for at in range(written.num_row_groups)]
    assert len(groups) > 1
    assert all(len(group) <= 20 + 1_000 for group in groups)
    assert groups == [sorted(group) for group in groups]
    started = sorted(at for group in groups for at in group)
    cut = started[len(started) // 2]
    assert run(ours, tmp_path, *window(project, day, cut), "--table", "facts").exit_code == 0
    assert parquet.ParquetFile(paths[1]).metadata.num_rows == sum(at < cut for at in started)


def test_cut_off(folded: tuple[InProcess, Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is what it was before, and nothing is left of the one that was begun."""
    _, ours = folded
    project, day = busiest()
    assert run(ours, tmp_path, *window(project, day, day + DAY)).exit_code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    begun: list[int] = []
    facts_of = facts.facts_of

    def once(project_id: str, calls: Any) -> Any:
        if begun:
            raise KeyboardInterrupt
        begun.append(1)
        return facts_of(project_id, calls)

    monkeypatch.setattr(facts, "facts_of", once)
    assert run(ours, tmp_path, *window(project, day, day + DAY)).exit_code
    assert begun
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_something_is_in_the_way(folded: tuple[InProcess, Settings], tmp_path: Path) -> None:
    """A directory that cannot be written is told as what it is, not as a Redis that does not answer."""
    _, ours = folded
    project, day = busiest()
    (tmp_path / "facts").write_text("a file")
    said = run(ours, tmp_path, *window(project, day, day + DAY))
    assert said.exit_code == 1
    path = tmp_path / "facts" / f"day={day:%Y-%m-%d}" / "acme%2Fagents.parquet"
    assert said.output.startswith(f"Error: {path} cannot be written: [Errno ")


def test_refused(folded: tuple[InProcess, Settings], redis_url: str, tmp_path: Path) -> None:
    """A window that is not kept any more, an unknown project and no window at all get a sentence each, and no file."""
    _, ours = folded
    project, day = busiest()
    later = settings(redis_url, (day + DAY + timedelta(seconds=KEPT_S)).isoformat())
    reach = f"of {project} reach back to {(day + DAY):%Y-%m-%d}T00:00:00Z: export"
    for asked_of, arguments, sentence in (
        (ours, window("nobody", day, day + DAY), "no call of nobody is known"),
        (later, window(project, day, day + DAY), f"call records {reach} facts from there on"),
        (
            later,
            (*window(project, day, day + DAY), "--table", "rollups-5m"),
            f"rollups of 5m {reach} rollups-5m from there on",
        ),
    ):
        said = run(asked_of, tmp_path, *arguments)
        assert (said.exit_code, said.output) == (1, f"Error: {sentence}\n")
    assert "--start must be before --end" in run(ours, tmp_path, *window(project, day, day)).output
    assert not list(tmp_path.iterdir())


def test_what_goes_meanwhile(folded: tuple[InProcess, Settings], redis_url: str, tmp_path: Path) -> None:
    """Records that a worker drops while they are read are no shorter file: it is refused."""
    _, ours = folded
    project, day = busiest()
    with redis.Redis.from_url(redis_url) as client, pytest.MonkeyPatch.context() as patch:
        facts_of = facts.facts_of

        def dropping(project_id: str, calls: Any) -> Any:
            for key in client.keys("*:shard"):
                client.hset(key, "dropped_before_us", round((day + DAY).timestamp() * 1e6))
            return facts_of(project_id, calls)

        patch.setattr(facts, "facts_of", dropping)
        said = run(ours, tmp_path, *window(project, day, day + DAY))
    assert f"call records of {project} reach back to" in said.output
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


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
    """What was moved out of Redis is read where it is: the same rows as before it was sealed."""
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
