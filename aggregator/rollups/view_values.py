"""Which views tell the values of one dimension apart, for the calls that a filter lets through."""

from aggregator.rollups.view import ERROR, MODEL, MORE_MODELS, OP, ROOT, RUN, USER, View, facet_dimension
from aggregator.rollups.views import MORE_MODELS_FACET, NotKept, ViewDirectory, ViewFilter, covers, facet_value

DimensionValue = str | bool | None
"""A value of a dimension: an op name, user or run; True for trace roots and False for others; None: no value."""

MORE: DimensionValue = False
"""Among models: what counts a call once for each of its models beyond the first."""


def views_by_value(directory: ViewDirectory, wanted: ViewFilter, dimension: int) -> dict[DimensionValue, list[int]]:
    """Numbers of views by their value of `dimension`; the views of a value together count each of its calls once.

    Calls without a value are in none of them (see `may_lack_value`). Raises NotKept where a full directory left out
    views that are needed.
    """
    asked = wanted.dimensions | dimension
    if any(covers(full, asked) for full in directory.full):
        raise NotKept
    found: dict[DimensionValue, list[int]] = {}
    for view, number in directory.numbers.items():
        if covers(view.dimensions, asked) and wanted.matches(*view[:4]):
            found.setdefault(value_of(view, dimension), []).append(number)
    if dimension == MODEL:
        more = [number for view, number in directory.numbers.items() if _has_more_models(view, wanted)]
        if any(covers(full, wanted.dimensions | MORE_MODELS) for full in directory.full):
            raise NotKept
        if more:
            found[MORE] = more
    return found


def _has_more_models(view: View, wanted: ViewFilter) -> bool:
    return covers(view.dimensions, wanted.dimensions | MORE_MODELS) and wanted.matches(*view[:4])


def may_lack_value(wanted: ViewFilter, dimension: int) -> bool:
    """Whether calls without a value of `dimension` (for ROOT: that are no roots) may be among those wanted."""
    return {
        OP: False,
        ROOT: not wanted.roots_only,
        USER: wanted.user_ids is None,
        RUN: wanted.run_ids is None,
        MODEL: True,
        ERROR: True,
    }[dimension]


def value_of(view: View, dimension: int) -> DimensionValue:
    """The value that a view has of one dimension."""
    if dimension in (MODEL, ERROR):
        return None if view.facet is None else value_of_facet(view.facet)[1]
    values: dict[int, DimensionValue] = {OP: view.op_name, ROOT: view.root, USER: view.user_id, RUN: view.run_id}
    return values[dimension]


def value_of_facet(facet: str) -> tuple[int, DimensionValue]:
    """The dimension of a facet, MODEL or ERROR, and its value there."""
    if facet == MORE_MODELS_FACET:
        return MODEL, MORE
    return facet_dimension(facet), facet_value(facet)
