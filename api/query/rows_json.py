"""The rows of buckets as JSON: made bucket by bucket, so that they can be kept, and put together for an answer."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, groupby

import msgspec

from aggregator.rollups.accumulator import Merged
from aggregator.rollups.series import OF_USAGE, model_of
from api.query.bucket_cache import BucketRows
from api.query.questions import MetricQuestion, StatsQuestion
from api.query.rows import call_rows, empty_usage_row, priced_rows, usage_rows
from api.query.turns import RowsUnderWay
from api.refusals import Refusal, invalid_at

# 10,000 buckets of 100 models: some 100 MB of JSON, more than any dashboard draws.
ROWS_MAX = 1_000_000
# Keys of all rows, calls' and models': 20 bytes of JSON each and a microsecond.
VALUES_MAX = 10_000_000
# As JSON. More than any dashboard draws: 10,000 buckets of 20 models with three values each have some 30 MB.
ANSWER_BYTES_MAX = 64 * 2**20

_encode = msgspec.json.Encoder().encode
_BEGIN = b'{"timestamp":"'
# Stands for what an empty row begins with; no JSON has it.
_HERE = b"\0"


def make_rows(
    question: StatsQuestion, timestamps: Sequence[str], merged: Merged, size: "AnswerSize | None" = None
) -> list[BucketRows]:
    """The rows of each of the merged buckets. Raises Refusal where the answer, of this size so far, gets too large."""
    usage = merged.totals(OF_USAGE) if question.usage_metrics else None
    if usage and size is not None:
        size.add_series(name for _, name in usage.keys)
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
    present_rows = sum(len(bucket.series) for bucket in buckets)
    if present_rows < len(buckets) * len(series):
        empty = len(_encode(empty_usage_row(timestamps[0], models[0][1], False, metrics)))
        if empty * (len(buckets) * len(series) - present_rows) > ANSWER_BYTES_MAX:
            raise _too_many_bytes()
    # All empty rows of a model are the same but for their timestamps, which come first and need no escaping.
    empty_rows = {
        name: _HERE + _encode(empty_usage_row("", model, is_priced, metrics)).removeprefix(_BEGIN)
        for name, model, is_priced in models
    }
    fillings: dict[tuple[bytes, ...], list[int | bytes]] = {}
    rows: list[bytes] = []
    for bucket, timestamp in zip(buckets, timestamps, strict=True):
        if bucket.series == series:
            rows += bucket.usage_rows
            continue
        filling = fillings.get(bucket.series)
        if filling is None:
            filling = fillings[bucket.series] = _filling(bucket.series, empty_rows)
        begin, present = _BEGIN + timestamp.encode(), bucket.usage_rows
        rows += [present[one] if isinstance(one, int) else one.replace(_HERE, begin) for one in filling]
    return _array(rows)


def _filling(present: Sequence[bytes], empty_rows: Mapping[bytes, bytes]) -> list[int | bytes]:
    """Return what the rows of a bucket with these series are: one of its own, or empty ones that follow each other."""
    at = {name: position for position, name in enumerate(present)}
    filling: list[int | bytes] = []
    for is_present, names in groupby(empty_rows, key=at.__contains__):
        if is_present:
            filling += [at[name] for name in names]
        else:
            filling.append(b",".join([empty_rows[name] for name in names]))
    return filling


def _array(rows: list[bytes]) -> msgspec.Raw:
    return msgspec.Raw(b"[" + b",".join(rows) + b"]")


class AnswerSize:
    """How large an answer gets: it is refused as soon as it is known to be too large. Memory is taken from `room`."""

    def __init__(self, question: StatsQuestion, buckets: int, room: RowsUnderWay) -> None:
        self._question = question
        self._buckets = buckets
        self._room = room
        self._series: set[bytes] = set()
        self._check()

    def add_series(self, names: Iterable[bytes]) -> None:
        """Count series towards the answer's limit. Raises Refusal."""
        before = len(self._series)
        self._series.update(names)
        if len(self._series) != before:
            self._check()

    def add(self, rows: Sequence[BucketRows]) -> None:
        """Count rows towards the answer's limit. Raises Refusal."""
        self.add_series(chain.from_iterable({bucket.series for bucket in rows}))
        self._room.add(sum(len(bucket.call_row) + sum(map(len, bucket.usage_rows)) for bucket in rows))
        if self._room.size_bytes > ANSWER_BYTES_MAX:
            raise _too_many_bytes()

    def _check(self) -> None:
        models = len(self._series)
        rows = self._buckets * models
        values = rows * _keys(self._question.usage_metrics) + self._buckets * _keys(self._question.call_metrics)
        if rows > ROWS_MAX or values > VALUES_MAX:
            raise invalid_at(
                ("granularity",),
                f"{self._buckets:,} buckets of {models:,} models are more than {ROWS_MAX:,} rows, or have more than "
                f"{VALUES_MAX:,} values; ask for larger buckets",
            )


def keys_of(question: StatsQuestion) -> int:
    """How many values a bucket of one model has."""
    return _keys(question.call_metrics) + _keys(question.usage_metrics)


def _too_many_bytes() -> Refusal:
    return invalid_at(
        ("granularity",),
        f"the answer has more than {ANSWER_BYTES_MAX // 2**20:,} MiB; ask for larger buckets, or for fewer metrics",
    )


def _keys(metrics: Sequence[MetricQuestion]) -> int:
    """How many keys a row has, besides its timestamp, model and count."""
    return sum(len(metric.aggregations) + len(metric.percentiles) for metric in metrics)
