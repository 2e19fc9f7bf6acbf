"""The rows of buckets as JSON: made bucket by bucket, so that they can be kept, and put together for an answer."""

from collections.abc import Collection, Iterable, Sequence

import msgspec

from aggregator.rollups.accumulator import Merged
from aggregator.rollups.series import OF_USAGE, model_of
from api.query.bucket_cache import BucketRows
from api.query.questions import MetricQuestion, StatsQuestion
from api.query.rows import call_rows, empty_usage_row, priced_rows, usage_rows
from api.refusals import invalid_at

# 10,000 buckets of 100 models: some 100 MB of JSON, more than any dashboard draws.
ROWS_MAX = 1_000_000
# Keys of all rows, calls' and models': 20 bytes of JSON each and a microsecond.
VALUES_MAX = 10_000_000

_encode = msgspec.json.Encoder().encode


def make_rows(
    question: StatsQuestion, timestamps: Sequence[str], merged: Merged, others: Collection[BucketRows] = ()
) -> list[BucketRows]:
    """The rows of each of the merged buckets. `others`: buckets of the answer that are there already.

    Raises Refusal where all of them together are too many.
    """
    usage = merged.totals(OF_USAGE) if question.usage_metrics else None
    check_size(question, others, len(timestamps), frozenset(name for _, name in usage.keys) if usage else frozenset())
    of_calls = [b""] * len(timestamps)
    if question.call_metrics:
        of_calls = [_encode(row) for row in call_rows(timestamps, merged, question.call_metrics)]
    of_usage: list[list[tuple[bytes, bool, bytes]]] = [[] for _ in timestamps]
    if usage:
        rows = usage_rows(timestamps, usage, merged, question.usage_metrics)
        for (position, name), row, is_priced in zip(usage.keys, rows, priced_rows(usage), strict=True):
            of_usage[position].append((name, is_priced, _encode(row)))
    return [
        BucketRows(call_row, *zip(*sorted(of_bucket), strict=True))
        for call_row, of_bucket in zip(of_calls, of_usage, strict=True)
    ]


def call_json(buckets: Iterable[BucketRows]) -> msgspec.Raw:
    """The array of `call_buckets`."""
    return _array([bucket.call_row for bucket in buckets])


def usage_json(
    buckets: Sequence[BucketRows], timestamps: Sequence[str], metrics: tuple[MetricQuestion, ...]
) -> msgspec.Raw:
    """The array of `usage_buckets`: every bucket with every model of the answer, in the order of their names.

    A cost is null where rows lack a price, and in empty buckets of a model that never has one.
    """
    priced: dict[bytes, bool] = {}
    for names, flags in {(bucket.series, bucket.priced) for bucket in buckets}:
        for name, is_priced in zip(names, flags, strict=True):
            priced[name] = priced.get(name, False) or is_priced
    series = tuple(sorted(priced))
    models = [(name, model_of(name), priced[name]) for name in series]
    rows: list[bytes] = []
    for bucket, timestamp in zip(buckets, timestamps, strict=True):
        if bucket.series == series:
            rows += bucket.usage_rows
            continue
        present = dict(zip(bucket.series, bucket.usage_rows, strict=True))
        rows += [
            present.get(name) or _encode(empty_usage_row(timestamp, model, is_priced, metrics))
            for name, model, is_priced in models
        ]
    return _array(rows)


def _array(rows: list[bytes]) -> msgspec.Raw:
    return msgspec.Raw(b"[" + b",".join(rows) + b"]")


def check_size(
    question: StatsQuestion,
    present: Collection[BucketRows],
    to_make: int = 0,
    series_to_make: frozenset[bytes] = frozenset(),
) -> None:
    """Raises Refusal where the rows of all buckets, those that are there and those to be made, are too many."""
    models = len(series_to_make.union(*{bucket.series for bucket in present}))
    buckets = len(present) + to_make
    rows = buckets * models
    values = rows * _keys(question.usage_metrics) + buckets * _keys(question.call_metrics)
    if rows > ROWS_MAX or values > VALUES_MAX:
        raise invalid_at(
            ("granularity",),
            f"{buckets:,} buckets of {models:,} models are more than {ROWS_MAX:,} rows, or have more than "
            f"{VALUES_MAX:,} values; ask for larger buckets",
        )


def _keys(metrics: Sequence[MetricQuestion]) -> int:
    """How many keys a row has, besides its timestamp, model and count."""
    return sum(len(metric.aggregations) + len(metric.percentiles) for metric in metrics)
