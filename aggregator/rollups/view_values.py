"""Which views tell the values of one dimension apart, for the calls that a filter lets through."""

from aggregator.rollups.views import OP, ROOT, RUN, USER, NotKept, View, ViewDirectory, ViewFilter, covers

DimensionValue = str | bool | None
"""A value of a dimension: an op name, user or run; True for trace roots and False for others; None: no value."""


def views_by_value(directory: ViewDirectory, wanted: ViewFilter, dimension: int) -> dict[DimensionValue, list[int]]:
    """Numbers of views by their value of `dimension`; the views of a value together count each of its calls once.

    Calls without a value are in none of them (see `may_lack_value`). Raises NotKept where a full directory left out
    views that are needed.
    """
    asked = wanted.dimensions | dimension
    single = asked == dimension
    if (single and dimension in directory.full) or any(full & asked == asked and not single for full in directory.full):
        raise NotKept
    found: dict[DimensionValue, list[int]] = {}
    for view, number in directory.numbers.items():
        if covers(view.dimensions, asked, single) and wanted.matches(*view):
            found.setdefault(value_of(view, dimension), []).append(number)
    return found


def may_lack_value(wanted: ViewFilter, dimension: int) -> bool:
    """Whether calls without a value of `dimension` (for ROOT: that are no roots) may be among those wanted."""
    return {
        OP: False,
        ROOT: not wanted.roots_only,
        USER: wanted.user_ids is None,
        RUN: wanted.run_ids is None,
    }[dimension]


def value_of(view: View, dimension: int) -> DimensionValue:
    """The value that a view has of one dimension."""
    values: dict[int, DimensionValue] = {OP: view.op_name, ROOT: view.root, USER: view.user_id, RUN: view.run_id}
    return values[dimension]
