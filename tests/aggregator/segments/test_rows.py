"""Rows as columns: whatever goes in comes out, of frames of before too; each column has the form it is smaller in."""

from base64 import b64decode

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.rollups.cell import Cell
from aggregator.rollups.series import LATENCY, OF_LATENCY, OF_USAGE, Series
from aggregator.rollups.totals import ABSENT
from aggregator.rollups.view_numbers import USERS_FROM
from aggregator.segments.columns import Integers
from aggregator.segments.frame import pack_frame
from aggregator.segments.gathering import FullCell, PackedOverflow
from aggregator.segments.rows import pack_rows, unpack_rows
from aggregator.segments.unpacked_frame import Frames, unpack_frame

MODEL = b":m"
# Written by the version before numbers were stored by their bits.
FRAME_OF_BEFORE = b64decode(
    "RrEAAAAtAAAAKLUv/WRtAB0FANKHGyaAS9IBMGSEtBvgwEwYzBbbIo1cRYaJoMjOYz3MAADuj3Z+tMmWKb2DnJqnAnDjYySFYZYhl0xFEjk6goZuiyY5"
    "6XASrem88JQv8SQhAxa14O77MsQRkbXtlwaRrKx6HE5qVr3765/N7d1rSJwEFSBwgmTGDjJh2347Y4sNl1LB5m4LIzOsR1R91d/9YlmE17lwlhuqAtFr"
    "I4RbhcSYKwIboskCKLUv/SQrBQEAsJSSlQLECQUAxAlBAJCVAMSQAMQAxAADADmhXcrIABe5moV+"
)

latencies = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 300) | st.just(2**40)
tokens = st.integers(0, 2**32 - 1) | st.integers(0, 3) | st.just(1_024)
costs = st.just((ABSENT, ABSENT)) | st.tuples(*[st.integers(0, 2**61) | st.just(0)] * 2)


def usage(*rows: tuple[int, int, int]) -> bytes:
    """Packed rows of input, output and cached tokens, at prices."""
    values = [
        [given, made, given + made, cached, 0, given * 250 - cached * 125, made * 1_000, 0]
        for given, made, cached in rows
    ]
    return OF_USAGE.rows(np.array(values, dtype=np.int64))


def of_latencies(*values: int) -> bytes:
    """Packed rows of latencies."""
    return OF_LATENCY.rows(np.array(values, dtype=np.int64))


def cells_of_before() -> dict[int, FullCell]:
    """The cells of `FRAME_OF_BEFORE`: of an op, with rows beside it, and of a user with a row that does not follow."""
    used = usage((100, 7, 40), (2_000, 33, 0))
    op = Cell(3, 1, {LATENCY: of_latencies(70, 5, 9_000), MODEL: used})
    of_beside = OF_LATENCY.layout.of_segments(np.array([[70], [5]]), np.zeros(1, dtype=np.int64))
    op.totals[LATENCY] = OF_LATENCY.layout.packed(of_beside)
    return {
        1: FullCell(op, {LATENCY: PackedOverflow(of_latencies(70, 5), [])}),
        USERS_FROM: FullCell(Cell(3, 0, {LATENCY: of_latencies(70, 5, -3), MODEL: used}), {}),
        USERS_FROM + 16: FullCell(Cell(2, 0, {LATENCY: of_latencies(70, 5), MODEL: used}), {}),
        USERS_FROM + 17: FullCell(Cell(1, 0, {LATENCY: of_latencies(70)}), {}),
    }


def told(cells: list[FullCell]) -> list[object]:
    """All that cells say, rows by their values."""
    return [
        (
            (cell.calls, cell.errors, cell.totals),
            {name: sorted(of_name(name).unpack(rows)) for name, rows in cell.rows.items()},
            {name: sorted(of_name(name).unpack(rows)) for name, (rows, _) in beside.items()},
        )
        for cell, beside in cells
    ]


def of_name(name: bytes) -> Series:
    """The kind of a series."""
    return OF_LATENCY if name == LATENCY else OF_USAGE


def test_frames_of_before_are_read() -> None:
    """Alone, and together with one of now, in any order, whose numbers are stored otherwise."""
    cells = list(cells_of_before().values())
    assert told(list(unpack_frame(FRAME_OF_BEFORE).values())) == told(cells)
    now = pack_frame(cells_of_before())
    assert now != FRAME_OF_BEFORE
    for packed in ([FRAME_OF_BEFORE, now], [now, FRAME_OF_BEFORE, now]):
        found = Frames(packed).full_cells(range(len(packed) * len(cells)))
        assert told(found) == told(cells * len(packed))


@st.composite
def series_of_frame(draw: st.DrawFn, kind: Series) -> tuple[list[bytes], list[int]]:
    """Rows of each cell of some series, and how many cells each series has."""
    row = st.lists(latencies.map(lambda one: [one]), max_size=4)
    if kind is OF_USAGE:
        row = st.lists(st.tuples(*[tokens] * 5, costs).map(lambda one: [*one[:5], *one[5], 0]), max_size=4)
    cells = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    return [
        kind.rows(np.array(draw(row), dtype=np.int64).reshape(-1, kind.layout.metrics)) for _ in range(sum(cells))
    ], cells


@pytest.mark.parametrize("kind", [OF_LATENCY, OF_USAGE], ids=["latency", "usage"])
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_come_back(kind: Series, data: st.DataObject) -> None:
    """The rows of each cell of several frames, whatever 64 bits they have."""
    frames = data.draw(st.lists(series_of_frame(kind), min_size=1, max_size=3))
    packed = [pack_rows(kind, rows, cells) for rows, cells in frames]
    rows = [of_cell for of_frame, _ in frames for of_cell in of_frame]
    sizes = np.array([len(of_cell) // kind.row_bytes for of_cell in rows], dtype=np.int64)
    found = unpack_rows(kind, packed, sizes, [cells for _, cells in frames])
    ends = np.append(0, np.cumsum(sizes)).tolist()
    for begin, end, of_cell in zip(ends, ends[1:], rows, strict=False):
        assert sorted(found[begin:end].tolist()) == sorted(kind.values(of_cell).tolist())


def test_other_numbers_are_refused() -> None:
    """Fewer numbers than rows have are an error."""
    packed, fewer = (pack_rows(OF_LATENCY, [of_latencies(*of)], [1]) for of in ((5, 7, 9), (5, 7)))
    packed.lengths, packed.bits = fewer.lengths, fewer.bits
    with pytest.raises(ValueError, match="more than are left"):
        unpack_rows(OF_LATENCY, [packed], np.array([3]), [[1]])


def size_of(cached: Integers) -> int:
    """How many bytes rows take that say nothing but how many tokens were cached."""
    rows = usage(*((0, 0, count) for count in cached.tolist()))
    return len(pack_frame({1: FullCell(Cell(0, 0, {MODEL: rows}), {})}))


def test_a_column_takes_the_form_it_is_smaller_in() -> None:
    """Counts that are mostly none take their bits, multiples of 128 bytes of a table."""
    rng = np.random.default_rng(3)
    mostly_none = size_of(rng.exponential(700, 4_000).astype(np.int64) * (rng.random(4_000) < 1 / 3))
    multiples = size_of(rng.integers(2**8, 2**9, 4_000) * 128)
    assert mostly_none < 2_900
    assert multiples < 5_000
