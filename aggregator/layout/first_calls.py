"""The first calls of a busy minute, as a shard keeps them: of all its calls and of each op, by each order.

`{tag}:P:first:D`, hash: minute (since 1970) in four bytes -> nothing: they are kept of this minute
                         minute, and number of a view in four bytes -> MessagePack, for each of ORDERS
                         [[[rank, start, record number], ...], floor]

A minute that has few calls has none of these: who wants its first calls reads all of them. Every call of the view that
has a place in the order and comes before the floor ([rank, start]; nil: every one) is in the list, the best first; as
many as fit, since most questions want no more.
"""

import msgspec

from aggregator.packing import Packing
from aggregator.rollups.orders import ORDERS

Place = tuple[int, int]
"""The rank of a call and when it began: a larger one comes first."""


class FirstCalls(msgspec.Struct, array_like=True):
    """The first calls of an order: rank, start and record number of each; and the best place that was left out."""

    entries: list[tuple[int, int, int]] = msgspec.field(default_factory=list)
    floor: Place | None = None


_PACKING = Packing(list[FirstCalls])


def no_first_calls() -> list[FirstCalls]:
    """Return those of a view without calls, by ORDERS."""
    return [FirstCalls() for _ in ORDERS]


def pack_first_calls(by_order: list[FirstCalls]) -> bytes:
    """Pack what is kept of a view."""
    return _PACKING.pack(by_order)


def unpack_first_calls(stored: bytes) -> list[FirstCalls]:
    """Return what `pack_first_calls` was given."""
    return _PACKING.unpack(stored)


def minute_field(minute: int) -> bytes:
    """The field that says that the first calls of a minute are kept."""
    return minute.to_bytes(4, "big")


def view_field(minute: int, view: int) -> bytes:
    """The field of a view of a minute."""
    return minute_field(minute) + view.to_bytes(4, "big")
