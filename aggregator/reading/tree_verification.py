"""Recomputes subtree totals, and what roll-ups count as their own, from the records of calls and their children."""

from collections.abc import Mapping, Sequence

from aggregator.calls.call import Call, Subtree
from aggregator.calls.packed_id import unpack_id
from aggregator.calls.usage_vector import NAMES, UNCACHED_COST, Usage, less_below
from aggregator.layout.keys import PARENT
from aggregator.reading.calls import IndexValues, read_calls, select_by_index
from aggregator.reading.differences import Difference, differences, sliced
from aggregator.reading.postings import exists
from aggregator.store.reader import OpenedProject, ProjectShard, StoreReader

IDS_PER_READ = 1_000


async def verify_trees(
    reader: StoreReader, shard: ProjectShard, calls: Mapping[int, Call], first_day: int, last_day: int
) -> list[Difference]:
    """Whether each call's total is its own usage and state with the totals of its children, which roll up to it; and
    whether what a roll-up counts as its own is what it states less those.
    """
    below = {number: Subtree() for number in calls}
    project = OpenedProject([shard], None)
    # Clocks of children may differ by some minutes, over midnight too.
    days = await _days_with_children(reader, shard, range(first_day - 1, last_day + 2))
    for ids in sliced((unpack_id(call.packed_id) for call in calls.values()), IDS_PER_READ):
        selected = await select_by_index(reader, project, IndexValues(PARENT, ids), days)
        for child in (await read_calls(reader, selected)).values():
            parent = calls.get(-1 if child.parent_number is None else child.parent_number)
            if parent is not None and child.parent_number is not None and child.trace == parent.trace:
                below[child.parent_number].merge(child.total())
    found: list[Difference] = []
    for number, call in calls.items():
        label = f"{shard.keys.shard} subtree of {unpack_id(call.packed_id)}"
        total = call.own()
        total.merge(below[number])
        found += differences(label, _tree_numbers(call.total()), _tree_numbers(total))
        if call.stated is not None:
            label = f"{shard.keys.shard} own usage of {unpack_id(call.packed_id)}"
            found += differences(label, _counts(call.usage), _counts(_left_of(call.stated, below[number].usage)))
    return found


def _left_of(stated: Usage, below: Usage) -> Usage:
    left = {model: less_below(vector, below.get(model)) for model, vector in stated.items()}
    return {model: vector for model, vector in left.items() if vector is not None}


async def _days_with_children(reader: StoreReader, shard: ProjectShard, days: Sequence[int]) -> list[int]:
    there = await reader.fetch([exists(shard, PARENT, day) for day in days])
    return [day for day, is_there in zip(days, there, strict=True) if is_there]


def _tree_numbers(subtree: Subtree) -> dict[str, int]:
    numbers = {"unfinished": subtree.unfinished}
    for model, vector in subtree.usage.items():
        numbers |= {f"{model} {name}": number for name, number in zip(NAMES, vector, strict=True)}
    return numbers


def _counts(usage: Usage) -> dict[str, int]:
    """Counts without costs: what a call cost was decided by the prices of when it was counted."""
    return {
        f"{model} {name}": number
        for model, vector in usage.items()
        for name, number in zip(NAMES[:UNCACHED_COST], vector, strict=False)
    }
