"""Calls as columns, told apart by the values of one dimension: counted as the views of these values count them."""

from collections.abc import Callable

import numpy as np

from aggregator.calls.error_text import error_class
from aggregator.rollups.accumulator import Merged
from aggregator.rollups.call_columns import (
    ERROR_TEXT,
    NO_BUCKET,
    OP_NAME,
    RUN_ID,
    USER_ID,
    CallColumns,
    ValuesWanted,
    count_calls,
    count_columns,
)
from aggregator.rollups.totals import Integers
from aggregator.rollups.view import ERROR, MODEL, OP, ROOT, RUN, USER
from aggregator.rollups.view_values import MORE, DimensionValue

_TEXTS = {OP: OP_NAME, USER: USER_ID, RUN: RUN_ID, ERROR: ERROR_TEXT}

BucketOf = Callable[[DimensionValue], int]
"""The bucket of a value, of which there may not have been one before."""


def count_by_value(
    columns: CallColumns, is_in: Integers, dimension: int, bucket_of: BucketOf, into: Merged, values: ValuesWanted
) -> None:
    """Count calls, where `is_in` is not NO_BUCKET, in the bucket of their value of a dimension.

    Calls without a value are left out. By model each counts, without its usage, for each model that it belongs to.
    """
    if dimension == MODEL:
        _count_by_model(columns, is_in, bucket_of, into, values)
        return
    if dimension == ROOT:
        has_value = (is_in != NO_BUCKET) & columns.is_root
        buckets = np.where(has_value, bucket_of(True) if has_value.any() else NO_BUCKET, NO_BUCKET)
    else:
        has_value = is_in != NO_BUCKET
        if dimension == ERROR:
            has_value &= columns.has_failed & columns.is_ended
        places = columns.texts[_TEXTS[dimension]]
        buckets = np.where(has_value, _buckets(columns, places[has_value], dimension, bucket_of)[places], NO_BUCKET)
    count_columns(columns, buckets, into, values)


def _count_by_model(
    columns: CallColumns, is_in: Integers, bucket_of: BucketOf, into: Merged, values: ValuesWanted
) -> None:
    belongs = is_in[columns.belong_calls] != NO_BUCKET
    calls, models = columns.belong_calls[belongs], columns.belong_models[belongs]
    buckets = _buckets(columns, models, MODEL, bucket_of)[models]
    count_calls(columns, calls, buckets, into, values.latency)
    if more := len(calls) - len(np.unique(calls)):
        into.add_counts(bucket_of(MORE), more, 0)


def _buckets(columns: CallColumns, places: Integers, dimension: int, bucket_of: BucketOf) -> Integers:
    """Return the bucket of each name of the columns that is at one of these places."""
    buckets = np.full(len(columns.names), NO_BUCKET, dtype=np.int64)
    for place in np.unique(places).tolist():
        name = columns.names[place]
        value = error_class(name) or "" if dimension == ERROR else name
        if value is not None:
            buckets[place] = bucket_of(value)
    return buckets
