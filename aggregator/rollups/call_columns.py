"""Single calls as columns, and what they add up to: counted many at once, to the same numbers as one by one."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggregator.rollups.accumulator import Merged
from aggregator.rollups.series import LATENCY, PackedRows, Row, model_series, tree_series
from aggregator.rollups.totals import Integers

NO_LATENCY = -1
NO_BUCKET = -1
OP_NAME, USER_ID, RUN_ID, ERROR_TEXT, MODEL_NAMED = range(5)
"""The rows of a CallColumns' `texts`."""


class CallColumns(NamedTuple):
    """Started calls, a place for each. `texts`: places in `names`, shape (5, n); see OP_NAME.

    `belong_models`, places in `names`: the models that each of `belong_calls`, which have ended, belongs to.
    Usage is of ended calls alone, rows in any order: of which call each is, of which model (a place in `names`), and
    its numbers; `large`: those of which a number is too large to be packed.
    """

    started_us: Integers
    latency_ms: Integers
    is_root: NDArray[np.bool_]
    is_ended: NDArray[np.bool_]
    has_failed: NDArray[np.bool_]
    texts: Integers
    belong_calls: Integers
    belong_models: Integers
    usage_calls: Integers
    usage_models: Integers
    usage_rows: PackedRows
    large: Sequence[tuple[int, int, Row]]
    names: Sequence[str | None]

    @property
    def size(self) -> int:
        """How many calls there are."""
        return len(self.started_us)


class ValuesWanted(NamedTuple):
    """Whether percentiles of latencies, and of usage, are asked for."""

    latency: bool
    usage: bool


def count_columns(columns: CallColumns, buckets: Integers, into: Merged, values: ValuesWanted) -> None:
    """Count each call with its usage in its bucket; those of NO_BUCKET are left out."""
    count_calls(columns, np.arange(columns.size), buckets, into, values.latency)
    of_rows = buckets[columns.usage_calls]
    keys = of_rows * len(columns.names) + columns.usage_models
    series_of = tree_series if into.trees else model_series
    for key, rows in _groups(keys, of_rows != NO_BUCKET):
        bucket, model = divmod(key, len(columns.names))
        _add_rows(
            into, int(bucket), series_of(columns.names[model] or ""), columns.usage_rows[rows].tobytes(), values.usage
        )
    for call, model, row in columns.large:
        if (bucket := int(buckets[call])) != NO_BUCKET:
            name = series_of(columns.names[model] or "")
            into.add_large_row(bucket, name, row, values.usage)


def count_calls(columns: CallColumns, calls: Integers, buckets: Integers, into: Merged, latency_values: bool) -> None:
    """Count calls by place, each without its usage in its bucket; those of NO_BUCKET are left out."""
    is_in = buckets != NO_BUCKET
    if not is_in.any():
        return
    failed = columns.has_failed[calls] & columns.is_ended[calls]
    size = int(buckets.max()) + 1
    counts, errors = (np.bincount(buckets[some], minlength=size) for some in (is_in, is_in & failed))
    for bucket in counts.nonzero()[0].tolist():
        into.add_counts(bucket, int(counts[bucket]), int(errors[bucket]))
    latency_ms = columns.latency_ms[calls]
    for bucket, rows in _groups(buckets, is_in & (latency_ms != NO_LATENCY)):
        _add_rows(into, bucket, LATENCY, latency_ms[rows].astype("<i8").tobytes(), latency_values)


def _add_rows(into: Merged, bucket: int, name: bytes, rows: bytes, are_values: bool) -> None:
    into.add_packed(bucket, name, rows, b"")
    if are_values:
        into.values_of(bucket, name).rows.append(rows)


def _groups(keys: Integers, is_in: NDArray[np.bool_]) -> Iterator[tuple[int, Integers]]:
    """Yield each of the keys with the places that have it, of those that are in."""
    (places,) = is_in.nonzero()
    if not len(places):
        return
    places = places[np.argsort(keys[places], kind="stable")]
    ordered = keys[places]
    (cuts,) = np.diff(ordered).nonzero()
    for of_key in np.split(places, cuts + 1):
        yield int(keys[of_key[0]]), of_key
