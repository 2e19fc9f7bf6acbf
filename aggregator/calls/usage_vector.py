"""The usage vector: what one model was used for, as thirteen whole numbers, and how such vectors add up.

A vector holds six counts, one more that only prices need, four costs in pico-dollars, and two counts of rows. A row is
the usage of one call with one model. A vector of several calls is the sum of theirs, so all of it can be taken back.
For example, one priced row of 100 input and 20 output tokens:
`[100, 20, 120, 0, 0, 1, 0, 250000000, 0, 0, 200000000, 1, 0]`.

Vectors are never changed in place: calls, subtree totals and changes share them.
"""

from collections.abc import Mapping
from operator import add, sub

from aggregator.calls.event import UsageCounts

(
    INPUT,
    OUTPUT,
    TOTAL,
    CACHE_READ,
    CACHE_CREATION,
    REQUESTS,
    CACHE_CREATION_1H,  # the part of the cache creation that is kept for an hour
    UNCACHED_COST,
    CACHE_READ_COST,
    CACHE_CREATION_COST,
    OUTPUT_COST,
    PRICED_ROWS,  # rows that have a price; without any, the costs are unknown and not 0
    UNREAD_ROWS,  # rows of whose usage no token count could be read
) = range(13)

COUNTS = slice(INPUT, REQUESTS + 1)
"""The counts that answers show."""
TOKENS = slice(INPUT, CACHE_CREATION + 1)
COSTS = slice(UNCACHED_COST, OUTPUT_COST + 1)
NAMES = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "requests",
    "cache_creation_1h_input_tokens",
    "uncached_input_cost",
    "cache_read_cost",
    "cache_creation_cost",
    "output_cost",
    "priced_rows",
    "unread_rows",
)
"""What each number is, by position."""

Vector = list[int]
Usage = dict[str, Vector]
"""Vectors by model."""

_NOTHING: Vector = [0] * len(NAMES)
_NO_COSTS = (0, 0, 0, 0, 0)


def stated_vector(counts: UsageCounts) -> Vector:
    """The vector of one row as its call states it, without a price."""
    return [*counts[:UNCACHED_COST], *_NO_COSTS, int(not counts.is_read)]


def with_costs(vector: Vector, costs: tuple[int, int, int, int]) -> Vector:
    """The vector of one row, which has a price and so costs this."""
    return [*vector[:UNCACHED_COST], *costs, 1, vector[UNREAD_ROWS]]


def without_costs(vector: Vector) -> Vector:
    """The vector of one row as if it had no price."""
    return [*vector[:UNCACHED_COST], *_NO_COSTS, vector[UNREAD_ROWS]]


def is_net(stated: Vector) -> bool:
    """Whether a row's input tokens, as stated, leave out those that came from or went into a cache."""
    return stated[INPUT] < stated[CACHE_READ] + stated[CACHE_CREATION]


def less_below(stated: Vector, below: Vector | None) -> Vector | None:
    """Return what a roll-up states less what the calls below it count, each count by itself and never below 0, without
    costs.

    None where nothing is left.
    """
    if below is None:
        below = _NOTHING
    left = [max(mine - theirs, 0) for mine, theirs in zip(stated[:UNCACHED_COST], below, strict=False)]
    left[CACHE_CREATION_1H] = min(left[CACHE_CREATION_1H], left[CACHE_CREATION])
    return [*left, *_NO_COSTS, stated[UNREAD_ROWS]] if any(left[COUNTS]) else None


def states_less(stated: Mapping[str, Vector], below: Mapping[str, Vector]) -> bool:
    """Whether a roll-up states fewer tokens of any model than the calls below it count."""
    return any(
        any(mine < theirs for mine, theirs in zip(stated.get(model, _NOTHING)[TOKENS], vector[TOKENS], strict=True))
        for model, vector in below.items()
    )


def add_usage(into: Usage, more: Mapping[str, Vector]) -> None:
    """Add `more`, which may be negative, to `into`, model by model; a model of which nothing is left goes."""
    for model, vector in more.items():
        known = into.get(model)
        if known is not None:
            vector = list(map(add, known, vector))
        if any(vector):
            into[model] = vector
        elif known is not None:
            del into[model]


def usage_change(before: Mapping[str, Vector], after: Mapping[str, Vector]) -> Usage:
    """Return what has to be added to `before` to make it `after`."""
    change = {}
    for model in before.keys() | after.keys():
        vector = list(map(sub, after.get(model, _NOTHING), before.get(model, _NOTHING)))
        if any(vector):
            change[model] = vector
    return change
