"""Columns: any integers of 64 bits come back, as narrow as their range allows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.segments.columns import pack_column, pack_table, unpack_column, unpack_table, unpack_tables

int64 = st.sampled_from([-(2**63), -1, 0, 1, 255, 256, 2**32, 2**63 - 1]) | st.integers(-(2**63), 2**63 - 1)


@given(st.lists(int64, max_size=20))
def test_come_back(values: list[int]) -> None:
    """Whatever the range, the ends of 64 bits too."""
    packed = pack_column(np.array(values, dtype=np.int64))
    assert unpack_column(packed, len(values)).tolist() == values


@pytest.mark.parametrize(("most", "width"), [(7, 0), (7 + 255, 1), (7 + 256, 2), (7 + 2**16, 4), (7 + 2**32, 8)])
def test_as_narrow_as_can_be(most: int, width: int) -> None:
    """Nine bytes, and for each value those that the range takes."""
    assert len(pack_column(np.array([7, most, 7], dtype=np.int64))) == 9 + 3 * width


def test_example() -> None:
    """The bytes of the module's docstring."""
    assert pack_column(np.array([500, 757])) == bytes.fromhex("f401000000000000 02 00 01 00 01")


@pytest.mark.parametrize("count", [1, 3])
def test_other_counts_are_refused(count: int) -> None:
    """A column of two values is none of one or three."""
    with pytest.raises(ValueError, match="a column of"):
        unpack_column(pack_column(np.array([1, 300])), count)


@given(st.lists(st.tuples(int64, int64, int64), max_size=20))
def test_tables_come_back(rows: list[tuple[int, int, int]]) -> None:
    """Column by column, without a row too."""
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[], [], []]
    assert unpack_table(pack_table(columns), 3, len(rows)).tolist() == columns


@pytest.mark.parametrize("count", [1, 3])
def test_tables_of_other_sizes_are_refused(count: int) -> None:
    """A table of two rows is none of one or three."""
    with pytest.raises(ValueError, match="a table of 2 columns of"):
        unpack_table(pack_table([[1, 300], [2, 3]]), 2, count)


tables = st.lists(st.lists(st.tuples(int64, st.integers(0, 300), int64), max_size=5), max_size=4)


@given(tables, st.integers(0, 3))
def test_first_columns_of_many_tables(rows: list[list[tuple[int, int, int]]], first: int) -> None:
    """The first columns come back alone, too, of tables whose columns are of other widths."""
    packed = [pack_table(np.array(one, dtype=np.int64).reshape(-1, 3).T) for one in rows]
    found = unpack_tables(packed, 3, [len(one) for one in rows], first)
    assert found.tolist() == [[row[at] for one in rows for row in one] for at in range(first)]


@pytest.mark.parametrize("first", [None, 1])
def test_a_width_that_no_value_has_is_refused(first: int | None) -> None:
    """A table is none where its values are as wide as the bytes there are, but wider than 64 bits."""
    packed = pack_table([[1, 2], [3, 9]])
    damaged = packed[:17] + bytes([9]) + bytes(2 * 9 + 2)
    with pytest.raises(ValueError, match="a table of 2 columns has values of more than 8 bytes"):
        unpack_tables([damaged], 2, [2], first)
