"""Exporting what a test has folded; and exported Parquet, summed up by DuckDB, beside answers of `/calls/stats`."""

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner, Result

from aggregator.reading import slot_rollups
from aggregator.rollups.series import USAGE_METRICS
from aggregator.time_units import DAY_US
from aggregator.writing.limits import ShardLimits
from callmeter.commands.export import export
from callmeter.parquet import row_file
from callmeter.settings import RedisSettings, RetentionSettings, Settings
from tests.brute_force import Model, PriceList, fold
from tests.pipeline.golden import Dataset, read_dataset
from tests.pipeline.in_process import NAMESPACE, Batch, InProcess
from tests.support.paths import CASES
from tests.support.small_chunks import small_chunks

DAY = timedelta(days=1)
SMALL = "rollups"
BATCH_MESSAGES = 200
SEALED = ShardLimits(seal_after_s=-10 * 86_400)  # everything is, before the next batch
KEPT_S = 3650 * 86_400
ALL_KEPT = RetentionSettings(calls=KEPT_S, minutes=KEPT_S, five_minutes=KEPT_S, hours=KEPT_S)

Json = dict[str, Any]
Sums = Mapping[tuple[datetime, str | None], tuple[Any, ...]]
"""By the hour and the model (None: of calls) the numbers, in the order of CALLS or USAGE."""

CALLS = ("sum_call_count", "sum_error_count", "sum_latency_ms", "count_latency_ms", "min_latency_ms", "max_latency_ms")
USAGE = ("count", *(f"sum_{metric}" for metric in USAGE_METRICS))


def request(project: str, start: datetime, end: datetime, **asked: Any) -> Json:
    """A question to `/calls/stats` about all of it, by the hour; `asked`: the filter."""
    latency = {"metric": "latency_ms", "aggregations": ["sum", "count", "min", "max"]}
    return {
        "project_id": project,
        "start": start.isoformat(),
        "end": end.isoformat(),
        "granularity": 3_600,
        "filter": asked,
        "call_metrics": [{"metric": "call_count"}, {"metric": "error_count"}, latency],
        "usage_metrics": [{"metric": metric} for metric in USAGE_METRICS],
    }


def of_answer(body: Mapping[str, Any]) -> Sums:
    """The buckets of an answer that count anything."""
    found: dict[tuple[datetime, str | None], tuple[Any, ...]] = {}
    for buckets, names in ((body["call_buckets"], CALLS), (body["usage_buckets"], USAGE)):
        for bucket in buckets:
            if bucket["count"]:
                at = datetime.fromisoformat(bucket["timestamp"]).astimezone(UTC)
                found[at, bucket.get("model")] = tuple(bucket[name] for name in names)
    return found


def asked(product: InProcess, question: Json) -> Sums:
    """Ask the api."""
    [(status, body)] = product.ask([("/calls/stats", question)])
    assert status == 200, body
    return of_answer(body)


def of_facts(files: Path, usage: str = "usage", where: str = "true") -> Sums:
    """The facts of all files, by the hour."""
    source = f"FROM '{files}/facts/*/*.parquet' WHERE {where}"
    return _sums(
        "SELECT date_trunc('hour', started_at), count(*), count_if(failed), coalesce(sum(latency_ms), 0), "
        f"count(latency_ms), min(latency_ms), max(latency_ms) {source} GROUP BY 1",
        f"SELECT date_trunc('hour', started_at), u.model, count(*), {_metrics('u')} "
        f"FROM (SELECT started_at, unnest({usage}) AS u {source}) GROUP BY 1, 2",
    )


def of_rollups(files: Path, table: str, by: str, value: str = "true", usage: str = "usage") -> Sums:
    """The rollups of all files with one value of a dimension, by the hour."""
    source = f"FROM '{files}/{table}/*/*.parquet' WHERE \"by\" = '{by}' AND {value}"
    return _sums(
        "SELECT date_trunc('hour', slot_start), sum(calls), sum(errors), sum(latency_ms_sum), sum(latency_ms_count), "
        f"min(latency_ms_min), max(latency_ms_max) {source} GROUP BY 1",
        f"SELECT date_trunc('hour', slot_start), u.model, sum(u.calls), {_metrics('u')} "
        f"FROM (SELECT slot_start, unnest({usage}) AS u {source}) GROUP BY 1, 2",
    )


def _metrics(usage: str) -> str:
    return ", ".join(f"sum({usage}.{metric})" for metric in USAGE_METRICS)


def _sums(of_calls: str, of_usage: str) -> Sums:
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        found: dict[tuple[datetime, str | None], tuple[Any, ...]] = {
            (at.astimezone(UTC), None): tuple(numbers) for at, *numbers in database.execute(of_calls).fetchall()
        }
        for at, model, *numbers in database.execute(of_usage).fetchall():
            found[at.astimezone(UTC), model] = tuple(map(_as_answered, numbers))
        return found


def _as_answered(number: Any) -> Any:
    """Decimals as the nearest floats, as JSON has them."""
    return number if number is None or isinstance(number, int) else float(number)


@contextmanager
def little_at_once() -> Iterator[None]:
    """Some calls fill chunks, row groups, and what is read at once."""
    with pytest.MonkeyPatch.context() as patch, small_chunks(4):
        patch.setattr(row_file, "ROW_GROUP_ROWS_MAX", 20)
        patch.setattr(slot_rollups, "CELLS_AT_ONCE_MAX", 700)
        yield


@contextmanager
def folded_small(redis_url: str) -> Iterator[tuple[InProcess, Settings]]:
    """A small dataset, sealed, with settings to export it."""
    dataset = read_dataset(SMALL)
    with InProcess(redis_url, datetime.fromisoformat(dataset.settings["NOW"])) as product:
        product.fold(shards_of(dataset), SEALED)
        yield product, settings(redis_url, dataset.settings["NOW"])


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


def window(project: str, start: datetime, end: datetime) -> tuple[str, ...]:
    """Options."""
    return "--project", project, "--start", start.isoformat(), "--end", end.isoformat()


def rows_of(query: str) -> list[tuple[Any, ...]]:
    """Ask DuckDB."""
    with duckdb.connect() as database:
        return database.execute(query).fetchall()


def busiest() -> tuple[str, datetime]:
    """The first project of that dataset, and its first day."""
    return days_of(counted(read_dataset(SMALL)))[0]
