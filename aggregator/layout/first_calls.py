"""The first calls of a busy minute, as a shard keeps them: of all its calls and of each view that many are of.

`{tag}:P:busy:D`, hash: minute (since 1970) in four bytes -> in how many pieces its calls are (minute_calls.py), in
                        digits: the minute is busy; or where all that is kept of it lies in an object
                        (moved_minutes.py): then there is nothing else of it here
                        minute, and number of a view in four bytes -> MessagePack, for each of ORDERS
                        [[record number, start, rank, record number, ...], floor]: each as how much it is above that of
                        the call before; no rank where it is the start; the floor likewise, after the last call, as
                        [start, rank], or [] for none

A minute that has few calls has none of these: who wants its first calls reads all of them. Nor has a view that has few;
which calls of a busy minute are its own its pieces tell. Every call of the view that has a place in the order and
comes before the floor (none: every one) is in the list, the best first. The newest are kept of all calls alone, as
pieces say when each call began.
"""

import msgspec

from aggregator.packing import Packing
from aggregator.rollups.orders import ORDERS, Order

Place = tuple[int, int]
"""The rank of a call and when it began: a larger one comes first."""


class FirstCalls(msgspec.Struct, array_like=True):
    """The first calls of an order: rank, start and record number of each; and the best place that was left out."""

    entries: list[tuple[int, int, int]] = msgspec.field(default_factory=list)
    floor: Place | None = None


class _Stored(msgspec.Struct, array_like=True):
    """The first calls of an order as they are stored: differences."""

    entries: list[int]
    floor: list[int]


_PACKING = Packing(list[_Stored])
_RANKED_BY_START = (Order.NEWEST, Order.FAILING)


def no_first_calls() -> list[FirstCalls]:
    """Return those of a view without calls, by ORDERS."""
    return [FirstCalls() for _ in ORDERS]


def pack_first_calls(by_order: list[FirstCalls]) -> bytes:
    """Pack what is kept of a view."""
    return _PACKING.pack(
        [_stored(first, order in _RANKED_BY_START) for order, first in zip(ORDERS, by_order, strict=True)]
    )


def unpack_first_calls(stored: bytes) -> list[FirstCalls]:
    """Return what `pack_first_calls` was given."""
    of_orders = zip(ORDERS, _PACKING.unpack(stored), strict=True)
    return [_first_calls(one, order in _RANKED_BY_START) for order, one in of_orders]


def _stored(first: FirstCalls, ranked_by_start: bool) -> _Stored:
    differences: list[int] = []
    number_before = start_before = rank_before = 0
    for rank, start, number in first.entries:
        differences += (number - number_before, start - start_before)
        if not ranked_by_start:
            differences.append(rank - rank_before)
        number_before, start_before, rank_before = number, start, rank
    if first.floor is None:
        return _Stored(differences, [])
    rank, start = first.floor
    return _Stored(differences, [start - start_before, *(() if ranked_by_start else (rank - rank_before,))])


def _first_calls(stored: _Stored, ranked_by_start: bool) -> FirstCalls:
    entries: list[tuple[int, int, int]] = []
    number = start = rank = 0
    each = iter(stored.entries)
    for difference in each:
        number += difference
        start += next(each)
        rank = start if ranked_by_start else rank + next(each)
        entries.append((rank, start, number))
    if not stored.floor:
        return FirstCalls(entries)
    start += stored.floor[0]
    return FirstCalls(entries, (start if ranked_by_start else rank + stored.floor[1], start))


def minute_field(minute: int) -> bytes:
    """The field that says that the first calls of a minute are kept."""
    return minute.to_bytes(4, "big")


def view_field(minute: int, view: int) -> bytes:
    """The field of a view of a minute."""
    return minute_field(minute) + view.to_bytes(4, "big")


def viewed(field: bytes) -> int | None:
    """The view whose field of a minute this is; None for any other field."""
    return int.from_bytes(field[4:], "big") if len(field) == len(view_field(0, 0)) else None
