"""The series of a cell: the latencies of its calls, and the usage of each model; their values as packed rows.

Usage is kept twice where the calls of a cell are roots: a row of each call's own, and a row of each ended root with all
that is below it (`tree`), which is what questions about roots count. A series is named by the bytes that stand for it
in stored cells: LATENCY, a colon and the model, or a caret and the model for trees.
"""

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct, error
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from aggregator.calls.usage_vector import (
    CACHE_CREATION_COST,
    CACHE_READ_COST,
    OUTPUT_COST,
    PRICED_ROWS,
    TOKENS,
    UNCACHED_COST,
)
from aggregator.rollups.totals import ABSENT, Integers, Layout

PackedRows = NDArray[np.void]
"""Rows of usage, packed, one an element."""

# The names by which requests, rules and answers know what is counted; nothing else may spell the lists.
CallMetric = Literal["latency_ms", "call_count", "error_count"]
TokenMetric = Literal[
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
]
CostMetric = Literal["input_cost", "output_cost", "total_cost"]
UsageMetric = Literal[TokenMetric, CostMetric]
CALL_METRICS: tuple[str, ...] = get_args(CallMetric)
TOKEN_METRICS: tuple[str, ...] = get_args(TokenMetric)
COST_METRICS: tuple[str, ...] = get_args(CostMetric)
USAGE_METRICS = TOKEN_METRICS + COST_METRICS

# The values of one (call, model), in the order of USAGE_METRICS; without the costs where the model has no price.
Row = tuple[int, ...]

LATENCY = b"l"
_MODEL, _TREE = b":", b"^"

# Names come again with every call; some 200 bytes each.
MODELS_CACHED_MAX = 10_000

# 32 bits for each count of tokens, 64 for each cost; the total cost is their sum.
_USAGE_ROW = Struct("<5I2q")
_COSTS_MAX = 2**62  # so that the total is within 64 bits too
_COST_MAX = _COSTS_MAX // 4  # of each that is part of one, so that their sum is within 64 bits
_USAGE_TYPE = np.dtype([("tokens", "<u4", 5), ("costs", "<i8", 2)])
_UNPRICED = (ABSENT, ABSENT)
_TOKENS = len(TOKEN_METRICS)


class Series:
    """One of the two kinds: the layout of its totals, and its rows."""

    def __init__(self, layout: Layout, row_bytes: int) -> None:
        self.layout = layout
        self.row_bytes = row_bytes

    def values(self, rows: bytes) -> Integers:
        """Packed rows as values, shape (n, metrics); in memory metric by metric, which is added up faster."""
        if self is OF_LATENCY:
            return np.frombuffer(rows, "<i8").reshape(-1, 1)
        packed = np.frombuffer(rows, _USAGE_TYPE)
        columns = np.empty((len(USAGE_METRICS), len(packed)), dtype=np.int64)
        columns[:_TOKENS] = packed["tokens"].T
        columns[_TOKENS:-1] = packed["costs"].T
        np.add(columns[-3], columns[-2], out=columns[-1])
        np.maximum(columns[-1], ABSENT, out=columns[-1])  # two that are absent
        return columns.T

    def rows(self, values: Integers) -> bytes:
        """Packed rows of values, as `values` gives them."""
        if self is OF_LATENCY:
            return values.astype("<i8").tobytes()
        packed = np.empty(len(values), dtype=_USAGE_TYPE)
        packed["tokens"] = values[:, :_TOKENS]
        packed["costs"] = values[:, _TOKENS:-1]
        return packed.tobytes()

    def unpack(self, rows: bytes) -> list[Row]:
        """Packed rows one by one, without costs that are absent."""
        costs_at = self.layout.costs_at
        unpacked = map(tuple, self.values(rows).tolist())
        return [row[:costs_at] if row[costs_at:] and row[costs_at] == ABSENT else row for row in unpacked]


OF_LATENCY = Series(Layout(1, 1), 8)
OF_USAGE = Series(Layout(len(USAGE_METRICS), _TOKENS), _USAGE_ROW.size)
KINDS = (OF_LATENCY, OF_USAGE)


def series_of(name: bytes) -> Series:
    """The kind of a series."""
    return OF_LATENCY if name == LATENCY else OF_USAGE


@lru_cache(MODELS_CACHED_MAX)
def model_series(model: str) -> bytes:
    """The name of a model's series. The model's may be empty: the colon tells it from the latencies'."""
    return _MODEL + model.encode()


@lru_cache(MODELS_CACHED_MAX)
def tree_series(model: str) -> bytes:
    """The name of the series of what roots used of a model with all calls below them."""
    return _TREE + model.encode()


def is_of_trees(name: bytes) -> bool:
    """Whether a series is of roots with all that is below them."""
    return name.startswith(_TREE)


def model_of(name: bytes) -> str:
    """The model whose series, of calls or of trees, has this name."""
    return name[1:].decode()


def pack_latency(latency_ms: int) -> bytes:
    """One row of latencies; instants are microseconds of this millennium, so every difference fits."""
    return latency_ms.to_bytes(8, "little", signed=True)


def usage_row(vector: Sequence[int]) -> Row:
    """The metrics of one row of usage, in the order of USAGE_METRICS."""
    tokens = tuple(vector[TOKENS])
    if not vector[PRICED_ROWS]:
        return tokens
    input_cost = vector[UNCACHED_COST] + vector[CACHE_READ_COST] + vector[CACHE_CREATION_COST]
    return (*tokens, input_cost, vector[OUTPUT_COST], input_cost + vector[OUTPUT_COST])


def pack_usage(vector: Sequence[int]) -> bytes | None:
    """One row of usage, packed; None where one of its numbers is too large for that."""
    try:
        if not vector[PRICED_ROWS]:
            return _USAGE_ROW.pack(*vector[TOKENS], *_UNPRICED)
        input_cost = vector[UNCACHED_COST] + vector[CACHE_READ_COST] + vector[CACHE_CREATION_COST]
        output_cost = vector[OUTPUT_COST]
        if input_cost >= _COSTS_MAX or output_cost >= _COSTS_MAX:
            return None
        return _USAGE_ROW.pack(*vector[TOKENS], input_cost, output_cost)
    except error:
        return None


def pack_vectors(vectors: Integers) -> tuple[PackedRows, NDArray[np.bool_]]:
    """Rows of usage of vectors, shape (n, 13), as `pack_usage` packs each; and where one of its numbers is too large
    for that: such a row means nothing.
    """
    packed = np.zeros(len(vectors), dtype=_USAGE_TYPE)
    tokens, costs = vectors[:, TOKENS], vectors[:, UNCACHED_COST : OUTPUT_COST + 1]
    within = np.concatenate([(tokens >= 0) & (tokens < 2**32), (costs >= 0) & (costs < _COST_MAX)], axis=1)
    fits = np.logical_and.reduce(within, axis=1)
    input_costs = vectors[:, UNCACHED_COST] + vectors[:, CACHE_READ_COST] + vectors[:, CACHE_CREATION_COST]
    is_priced = vectors[:, PRICED_ROWS] != 0
    packed["tokens"][fits] = tokens[fits]
    packed["costs"][:, 0] = np.where(is_priced, input_costs, ABSENT)
    packed["costs"][:, 1] = np.where(is_priced, vectors[:, OUTPUT_COST], ABSENT)
    return packed, np.logical_not(fits)


def unpack_packed(rows: bytes) -> PackedRows:
    """Packed rows of usage, one an element."""
    return np.frombuffer(rows, _USAGE_TYPE)
