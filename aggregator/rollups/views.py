"""A view: which calls a rollup counts: all, those with one value of one dimension, or one combination of values.

The dimensions dashboards filter on are op, root, user and run. A call is counted in the view of all calls, in one
view per dimension it has a value in, and, when it has two or more, in the view of their combination. So a filter on
one dimension reads one view per value, a filter on several the combinations that match, and none of them reads call
records.

Views are numbered per project and UTC day (see view_numbers.py); the directory of a day holds at most `views_max` of
them per set of dimensions. A set that is full is marked: its further values are not kept that day, and a filter that
would need them is refused.

Beside them, *facets* tell calls apart by what only their end tells, one value at a time: a model that a call belongs
to, or the class of its error. A call is counted in the view of each facet it has, and in that of the facet together
with its combination. Views of models count calls, errors and latencies alone: usage by model is in every cell anyway.

The cells of views of roots keep the usage of whole trees besides that of the calls: questions about roots ask for it.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import msgspec

from aggregator.rollups.view import (
    ERROR,
    MODEL,
    MORE_MODELS,
    OP,
    ROOT,
    RUN,
    USER,
    View,
)
from aggregator.rollups.view_numbers import ViewNumbers

ALL_CALLS = 0  # the number of the view of all calls, in every directory

# Combinations of values whose views are at hand, some 300 bytes each; forgotten all at once.
ADMITTED_CACHED_MAX = 10_000

FACETS = MODEL | ERROR | MORE_MODELS
# Names that are looked for in a directory before it is unpacked, together: to get ready takes 5 µs a character, seconds
# for the megabyte that a request may have; a directory of 2,000 names is unpacked in some milliseconds.
LOOKED_FOR_CHARACTERS_MAX = 4_000
DIMENSION_SETS = range(1, 128)
_SINGLE = frozenset({OP, ROOT, USER, RUN, MODEL, ERROR, MORE_MODELS})

MORE_MODELS_FACET = "+"
"""The facet that counts a call once for each model it belongs to beyond the first."""


def model_facet(model: str) -> str:
    """The facet of calls that belong to a model."""
    return "m" + model


def error_facet(error_class: str) -> str:
    """The facet of calls that failed with a class of error."""
    return "e" + error_class


def facet_value(facet: str) -> str:
    """The model or class of error of a facet."""
    return facet[1:]


def views_of(op_name: str, root: bool, user_id: str | None, run_id: str | None) -> list[View]:
    """The views, besides that of all calls, that count a call with these values."""
    joint = View(op_name, root or None, user_id, run_id)
    single = [View(op_name=op_name)]
    if root:
        single.append(View(root=True))
    if user_id is not None:
        single.append(View(user_id=user_id))
    if run_id is not None:
        single.append(View(run_id=run_id))
    return [*single, joint] if len(single) > 1 else single


def facet_views_of(op_name: str, root: bool, user_id: str | None, run_id: str | None, facet: str) -> list[View]:
    """The views of a facet that count a call with these values."""
    return [View(facet=facet), View(op_name, root or None, user_id, run_id, facet)]


_view_encoder = msgspec.msgpack.Encoder()
_view_decoder = msgspec.msgpack.Decoder(View)
_FULL = b"full:"  # a directory's field for a set of dimensions that is full; no packed view begins with this byte
_FULL_FIELDS = [_FULL + b"%d" % dimensions for dimensions in DIMENSION_SETS]


class ViewDirectory:
    """The views of one (project, UTC day): their numbers, and which sets of dimensions are full."""

    def __init__(self, stored: dict[bytes, bytes] | None = None) -> None:
        self.numbers: dict[View, int] = {}
        self.full: set[int] = set()
        self._counts = dict.fromkeys(DIMENSION_SETS, 0)
        self._free: ViewNumbers | None = None  # a reader needs none
        self.admitted: dict[tuple[str, bool, str | None, str | None, str | None], list[tuple[int, bool]]] = {}
        """What `admit_call` returned lately, by its values: once a set is full it stays so, and a view where it is."""
        for field, value in (stored or {}).items():
            if field.startswith(_FULL):
                self.full.add(int(field.removeprefix(_FULL)))
            else:
                view = _view_decoder.decode(field)
                self.numbers[view] = int(value)
                self._counts[view.dimensions] += 1

    def admit(self, view: View, views_max: int) -> tuple[int | None, dict[bytes, bytes]]:
        """The number of `view`, or None where its set is full, and the fields to store if the directory changed."""
        number = self.numbers.get(view)
        if number is not None:
            return number, {}
        dimensions = view.dimensions
        if self._counts[dimensions] >= views_max:
            if dimensions in self.full:
                return None, {}
            self.full.add(dimensions)
            return None, {_FULL + str(dimensions).encode(): b"1"}
        if self._free is None:
            self._free = ViewNumbers(self.numbers.items())
        number = self.numbers[view] = self._free.draw(view)
        self._counts[dimensions] += 1
        return number, {_view_encoder.encode(view): str(number).encode()}

    def admit_call(
        self,
        op_name: str,
        root: bool,
        user_id: str | None,
        run_id: str | None,
        views_max: int,
        facet: str | None = None,
    ) -> tuple[list[tuple[int, bool]], dict[bytes, bytes]]:
        """The views that count a call with these values, by number and whether they have trees, and fields to store.

        `facet`: those of a facet that it has; None: all others.
        """
        values = (op_name, root, user_id, run_id, facet)
        known = self.admitted.get(values)
        if known is not None:
            return known, {}
        views = [(ALL_CALLS, False)] if facet is None else []
        to_set: dict[bytes, bytes] = {}
        of_call = views_of(*values[:4]) if facet is None else facet_views_of(*values[:4], facet)
        for view in of_call:
            number, fields = self.admit(view, views_max)
            to_set |= fields
            if number is not None:
                views.append((number, view.has_trees))
        if len(self.admitted) >= ADMITTED_CACHED_MAX:
            self.admitted.clear()
        self.admitted[values] = views
        return views, to_set


class ViewFilter(NamedTuple):
    """What a filter asks of the dimensions. Values inside a tuple OR together, dimensions AND; None: not asked.

    An op name that ends in `:*` stands for every name that begins with what is before the `*`.
    """

    op_names: tuple[str, ...] | None = None
    roots_only: bool = False
    user_ids: tuple[str, ...] | None = None
    run_ids: tuple[str, ...] | None = None

    @property
    def dimensions(self) -> int:
        """The set of dimensions that are asked for."""
        return (
            OP * (self.op_names is not None)
            + ROOT * self.roots_only
            + USER * (self.user_ids is not None)
            + RUN * (self.run_ids is not None)
        )

    def matches(self, op_name: str | None, root: bool | None, user_id: str | None, run_id: str | None) -> bool:
        """Whether a call, or a view, with these values is asked for."""
        return (
            (self.op_names is None or (op_name is not None and matches_any(op_name, self.op_names)))
            and (not self.roots_only or root is True)
            and (self.user_ids is None or user_id in self.user_ids)
            and (self.run_ids is None or run_id in self.run_ids)
        )


def matches_any(name: str, wanted: tuple[str, ...]) -> bool:
    """Whether `name` is one of `wanted`, or begins with one that ends in `:*` (up to and including the colon)."""
    names, beginnings = _split(wanted)
    return name in names or name.startswith(beginnings)


@lru_cache(maxsize=8)  # a filter is asked about view after view, call after call; one has a megabyte of names at most
def _split(wanted: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
    beginnings = tuple(want[:-1] for want in wanted if want.endswith(":*"))
    return frozenset(want for want in wanted if not want.endswith(":*")), beginnings


class NotKept(Exception):
    """The answer would need views that a full directory did not keep.

    `calls_reach_us`: where calls can tell instead, how far back they reach (microseconds since 1970).
    """

    def __init__(self, calls_reach_us: int | None = None) -> None:
        super().__init__(calls_reach_us)
        self.calls_reach_us = calls_reach_us


def select(directory: ViewDirectory, wanted: ViewFilter) -> list[int]:
    """Numbers of the views whose calls together are those that `wanted` asks for, each call once; raises NotKept."""
    dimensions = wanted.dimensions
    if not dimensions:
        return [ALL_CALLS]
    if dimensions in _SINGLE and dimensions in directory.full:
        return _select_known(directory, wanted)
    if any(covers(full, dimensions) for full in directory.full):
        raise NotKept
    return [
        number
        for view, number in directory.numbers.items()
        if covers(view.dimensions, dimensions) and wanted.matches(*view[:4])
    ]


def covers(kept: int, asked: int) -> bool:
    """Whether views of a set of dimensions count calls by all that is asked: the set itself where it is a single one,
    else every combination that holds it. Views of a facet count a part of the calls; they cover it alone.
    """
    return kept == asked if asked in _SINGLE else kept & asked == asked and kept & FACETS == asked & FACETS


def may_be_selected(stored: Mapping[bytes, bytes], wanted: ViewFilter) -> dict[bytes, bytes]:
    """The fields of a directory that `select` may choose, or learn from which sets are full, without unpacking any:
    every value that is asked for stands in the views that have it, as it is. All fields where many are asked for.
    """
    values = [name for names in (wanted.op_names, wanted.user_ids, wanted.run_ids) for name in names or ()]
    if sum(map(len, values)) > LOOKED_FOR_CHARACTERS_MAX:
        return dict(stored)
    left = dict(stored)
    for names in (wanted.op_names, wanted.user_ids, wanted.run_ids):
        if names is not None:
            begins = [name[:-1] if names is wanted.op_names and name.endswith(":*") else name for name in names]
            has_any = re.compile(b"|".join(re.escape(name.encode(errors="surrogatepass")) for name in begins)).search
            left = {field: number for field, number in left.items() if has_any(field)} if begins else {}
    return left | {field: stored[field] for field in _FULL_FIELDS if field in stored}


def fields_to_select(wanted: ViewFilter) -> list[bytes] | None:
    """The fields of a directory that `select` looks at; None where that is all of them."""
    if wanted.dimensions not in (OP, ROOT, USER, RUN) or any(name.endswith(":*") for name in wanted.op_names or ()):
        return None
    return [_FULL + str(wanted.dimensions).encode(), *map(_view_encoder.encode, _single_views(wanted))]


def _single_views(wanted: ViewFilter) -> list[View]:
    """The views of the values of the one dimension that is asked for, each once."""
    if wanted.roots_only:
        return [View(root=True)]
    views = [
        *(View(op_name=name) for name in wanted.op_names or ()),
        *(View(user_id=name) for name in wanted.user_ids or ()),
        *(View(run_id=name) for name in wanted.run_ids or ()),
    ]
    return list(dict.fromkeys(views))


def _select_known(directory: ViewDirectory, wanted: ViewFilter) -> list[int]:
    """Select the views of values that are known of a full set; a name pattern could mean one that has none."""
    if wanted.roots_only or any(name.endswith(":*") for name in wanted.op_names or ()):
        raise NotKept
    views = _single_views(wanted)
    if any(view not in directory.numbers for view in views):
        raise NotKept
    return [directory.numbers[view] for view in views]
