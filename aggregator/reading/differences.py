"""A number that is stored differently from what is recomputed, and the comparing."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeVar

import msgspec

Element = TypeVar("Element")


class Difference(msgspec.Struct, frozen=True):
    """A number that is stored differently from what the call records give. `key` says of what it is."""

    key: str
    field: str
    stored: int
    recomputed: int


def differences(label: str, stored: Mapping[str, int], recomputed: Mapping[str, int]) -> Iterator[Difference]:
    """Yield what differs between two sets of numbers by name; a number that is not there is 0."""
    for name in dict.fromkeys([*stored, *recomputed]):
        if stored.get(name, 0) != recomputed.get(name, 0):
            yield Difference(label, name, stored.get(name, 0), recomputed.get(name, 0))


def sliced(elements: Iterable[Element], size: int) -> Iterator[tuple[Element, ...]]:
    """The elements in order, in parts of `size`."""
    left = iter(elements)
    while part := tuple(islice(left, size)):
        yield part
