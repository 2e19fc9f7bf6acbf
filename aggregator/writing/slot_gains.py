"""What a batch brings to each slot of each level: a coarser level is added up of the finer one below it."""

from collections.abc import Iterator, Mapping, Sequence

from aggregator.layout.keys import ShardKeys
from aggregator.layout.slots import Block, ProjectMinute, Slot
from aggregator.rollups.levels import FIVE_MINUTES, LEVELS
from aggregator.rollups.tally import PackedTally, merge_tallies
from aggregator.time_units import MINUTE_S

Gains = Mapping[int, PackedTally]
"""What each view gains, by its number."""


def gains_by_slot(
    gained: Mapping[ProjectMinute, Gains], keys: ShardKeys, open_views: Mapping[ProjectMinute, int]
) -> Iterator[tuple[Slot, Gains]]:
    """Yield each slot that gains anything, level by level, and what its views gain; what is given is left alone.

    `open_views`: of minutes that coarser levels lack, or lack in part, from which view on they do.
    """
    finer = gained
    for level in LEVELS:
        if level is FIVE_MINUTES and open_views:
            finer = dict(_closed(gained, open_views))
        minutes, of_slots = level.slot_s // MINUTE_S, dict[ProjectMinute, list[Gains]]()
        for (project, minute), gains in finer.items():
            of_slots.setdefault((project, minute - minute % minutes), []).append(gains)
        finer = {slot: _sum(several) for slot, several in of_slots.items()}
        for (project, minute), gains in finer.items():
            number, slot_number = level.block_and_slot(minute)
            yield Slot(Block(project, level, number), keys.rollups(project, level, number), slot_number), gains


def _closed(
    gained: Mapping[ProjectMinute, Gains], open_views: Mapping[ProjectMinute, int]
) -> Iterator[tuple[ProjectMinute, Gains]]:
    """Yield what coarser levels gain."""
    for minute, gains in gained.items():
        first_view = open_views.get(minute)
        if first_view is None:
            yield minute, gains
        elif first_view and (closed := {view: packed for view, packed in gains.items() if view < first_view}):
            yield minute, closed


def _sum(several: Sequence[Gains]) -> Gains:
    if len(several) == 1:
        return several[0]
    by_view: dict[int, list[PackedTally]] = {}
    for gains in several:
        for view, packed in gains.items():
            of_view = by_view.get(view)
            if of_view is None:
                by_view[view] = [packed]
            else:
                of_view.append(packed)
    return {view: merge_tallies(of_view) for view, of_view in by_view.items()}
