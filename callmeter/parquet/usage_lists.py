"""Usage as columns of Parquet: a list of structs, one for each model; sums and costs as numbers that hold them."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

# USD with all digits of a pico-dollar: sums over any number of rows stay exact.
USD = pa.decimal128(38, 12)
PICO_DIGITS = 12
INT64_MAX = 2**63 - 1

Row = Sequence[Any]
"""What stands in one struct, in the order of its fields."""


class UsageLists:
    """A column whose values are lists of structs: the model, these counts, and these costs (USD)."""

    def __init__(self, counts: Sequence[str], costs: Sequence[str]) -> None:
        self._names = ("model", *counts, *costs)
        self._types = [pa.string(), *[pa.int64()] * len(counts), *[USD] * len(costs)]
        self.type = pa.list_(pa.struct(list(zip(self._names, self._types, strict=True))))

    def array(self, lists: Iterable[Sequence[Row] | None]) -> pa.Array:
        """The column of these lists; None is null."""
        offsets: list[int | None] = []
        rows: list[Row] = []
        for one in lists:
            offsets.append(None if one is None else len(rows))
            rows += one or ()
        offsets.append(len(rows))
        columns = zip(*rows, strict=True) if rows else [[] for _ in self._names]
        fields = [pa.array(column, kind) for column, kind in zip(columns, self._types, strict=True)]
        structs = pa.StructArray.from_arrays(fields, fields=list(self.type.value_type))
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), structs, type=self.type)


def whole(number: int) -> int | None:
    """Return a sum where it fits into 64 bits, as Parquet's integers do; None where it does not."""
    return number if abs(number) <= INT64_MAX else None


def too_large(column: pa.ListArray) -> int:
    """How many counts of a column of usage lists are null, because they do not fit into 64 bits."""
    fields = column.flatten().flatten()
    return sum(field.null_count for field in fields if field.type == pa.int64())


def usd(pico: int) -> Decimal:
    """Return pico-dollars as dollars, exact."""
    return Decimal(pico).scaleb(-PICO_DIGITS)
