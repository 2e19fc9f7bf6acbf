"""Cells in a Redis of a dictionary: what a writer does with a batch, and what can be read of a cell afterwards."""

from collections import Counter
from collections.abc import Mapping, Sequence

from aggregator.layout.keys import ShardKeys
from aggregator.layout.sealed import DIRECTORY_FIELD
from aggregator.layout.write import Field, Key, ShardWrite
from aggregator.objects.frame_cache import FrameCache
from aggregator.rollups.cell import CELL_CODEC, SKETCHES_CODEC, Cell, rows_field, sketches_field
from aggregator.rollups.levels import HOURS
from aggregator.rollups.series import LATENCY, Row, model_series, pack_latency, series_of
from aggregator.rollups.sketch import centroids
from aggregator.rollups.tally import CallTally, PackedTally
from aggregator.rollups.totals import Totals
from aggregator.writing.cell_cache import Cells
from tests.support.cell_state import totals_of
from tests.support.folding import SHARD
from tests.support.vectors import vector

CellKey = tuple[str, bytes]
"""The key of a block of rollups, and the place of a cell in it."""

KEYS = ShardKeys(SHARD)
DAY = 20_515
HOURS_KEY = KEYS.rollups(1, HOURS, DAY)

Kept = dict[tuple[Key, Field], bytes]
"""What Redis holds, by key and field."""


def tally(
    latencies_ms: Sequence[int] = (), usage: Mapping[str, Sequence[list[int]]] | None = None, calls: int | None = None
) -> CallTally:
    """A call for each latency, and by model counts and costs of usage, whosever they are."""
    made = CallTally()
    made.calls = len(latencies_ms) if calls is None else calls
    if latencies_ms:
        made.rows.added.packed[LATENCY] = [pack_latency(one) for one in latencies_ms]
    for model, of_calls in (usage or {}).items():
        for numbers in of_calls:
            made.rows.added.add(model_series(model), vector(numbers))
    return made


class DictionaryStore:
    """Adds batches as the writer of a shard does, and looks at the hours of its project 1 on DAY.

    `asked`: their fields that were read (but where sealed cells lie), `written`: by the last batch.
    """

    def __init__(self) -> None:
        self.kept: Kept = {}
        self.cells = Cells(KEYS, self._read, FrameCache(None))
        self.asked: list[tuple[Key, Field]] = []
        self.written: Kept = {}

    def add(self, gained: Mapping[CellKey, CallTally]) -> None:
        """Adds one batch: what cells of hours gain, all of it in the first minute of each."""
        minutes: dict[tuple[int, int], dict[int, PackedTally]] = {}
        for (key, place), one in gained.items():
            assert key == HOURS_KEY
            minute = (DAY * 24 + int.from_bytes(place[:2], "big")) * 60
            minutes.setdefault((1, minute), {})[int.from_bytes(place[2:], "big")] = one.packed()
        write = ShardWrite()
        self.cells.add(minutes, {}, write, {})
        changed: Kept = {}
        for of_block, fields in write.fields.items():
            for field, value in fields.items():
                assert isinstance(value, bytes)
                changed[of_block, field] = value
        self.kept |= changed
        self.written = {one: value for one, value in changed.items() if one[0] == HOURS_KEY}

    def forget(self) -> None:
        """Forgets all that is at hand."""
        self.cells = Cells(KEYS, self._read, FrameCache(None))

    def cell(self, cell_key: CellKey) -> Cell:
        """Returns a cell as it is stored."""
        return CELL_CODEC.unpack(self.kept[cell_key])

    def overflow(self, cell_key: CellKey, name: bytes) -> tuple[bytes | None, list[bytes] | None]:
        """Rows and sketches beside a cell; None for a field that was never written."""
        key, place = cell_key
        sketches = self.kept.get((key, sketches_field(place, name)))
        return self.kept.get((key, rows_field(place, name))), None if sketches is None else SKETCHES_CODEC.unpack(
            sketches
        )

    def totals(self, cell_key: CellKey, name: bytes) -> Totals:
        """All that a cell counts of a series."""
        return totals_of(self.cell(cell_key), name)

    def values(self, cell_key: CellKey, name: bytes) -> list[Counter[float]]:
        """Returns by metric how often each value is kept: in rows in and beside the cell, and as centroids of
        sketches."""
        series = series_of(name)
        rows, sketches = self.overflow(cell_key, name)
        found: list[Counter[float]] = [Counter() for _ in range(series.layout.metrics)]
        for row in series.unpack(self.cell(cell_key).rows.get(name, b"") + (rows or b"")):
            for metric, value in enumerate(row):
                found[metric][float(value)] += 1
        for metric, sketch in enumerate(sketches or []):
            for mean, weight in zip(*centroids([sketch]), strict=True):
                found[metric][float(mean)] += abs(int(weight))
        return found

    def _read(self, wanted: Mapping[Key, Sequence[Field]]) -> Kept:
        """Returns what is there of the fields asked for, and nothing else."""
        asked = [(key, field) for key, fields in wanted.items() for field in fields]
        self.asked += [one for one in asked if one[0] == HOURS_KEY and one[1] != DIRECTORY_FIELD]
        return {one: self.kept[one] for one in asked if one in self.kept}


def values_of(rows: Sequence[Row], metrics: int) -> list[Counter[float]]:
    """Returns by metric how often each value of the rows is there."""
    return [Counter(float(row[metric]) for row in rows if metric < len(row)) for metric in range(metrics)]
