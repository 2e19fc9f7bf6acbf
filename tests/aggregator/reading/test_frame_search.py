"""Cells found in frames of many blocks at once: each in its own block, the newest of several, in all of its buckets."""

import pytest

from aggregator.reading import frame_search
from aggregator.reading.frame_search import BlockFrame, DamagedCells, Search, found_in_frames
from aggregator.rollups.accumulator import Merged
from aggregator.rollups.cell import Cell
from aggregator.segments.frame import pack_frame
from aggregator.segments.gathering import FullCell


def frame(key: str, number: int, calls: dict[int, int]) -> BlockFrame:
    """Returns a frame of cells that count so many calls, by place."""
    return BlockFrame(
        key, b"", number, pack_frame({place: FullCell(Cell(count), {}) for place, count in calls.items()})
    )


OLDER, NEWER = frame("a", 0, {1: 10, 2: 20}), frame("a", 1, {2: 21, 3: 30})
OTHER = frame("b", 0, {2: 200, 4: 400})
A, B = Search([OLDER, NEWER], [1, 2, 3, 4], [0, 0, 1, 1]), Search([OTHER], [2, 4, 2], [0, 1, 2])


@pytest.mark.parametrize("at_once", [0, 2**20])
@pytest.mark.parametrize(
    ("searches", "calls"),
    [([A], [31, 30, 0]), ([B], [200, 400, 200]), ([A, B], [231, 430, 200]), ([B, A], [231, 430, 200]), ([], [0, 0, 0])],
)
def test_found(searches: list[Search], calls: list[int], at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts are right in any order of the blocks, together and block by block."""
    monkeypatch.setattr(frame_search, "TOGETHER_BYTES_MAX", at_once)
    merged = Merged(3)
    for frames, _, positions, buckets in found_in_frames(searches):
        frames.add_to(merged, positions, buckets, latency_values=False, usage_values=False)
    assert merged.calls == calls


def test_damage_has_a_name() -> None:
    """The message says which one is damaged of frames that are unpacked together."""
    damaged = OTHER._replace(number=7, packed=OTHER.packed[:-2] + b"xy")
    with pytest.raises(DamagedCells, match="frame 7 of b is damaged"):
        list(found_in_frames([A, Search([damaged], [2], [0])]))
