"""Reading in batches: many things, no more of them at once than a limit."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

Part = TypeVar("Part")


def in_batches(all_of_them: Sequence[Part], sizes: Sequence[int], size_max: int) -> Iterator[list[Part]]:
    """Parts in their order, as many in a batch as `size_max` allows, or one that is larger."""
    batch: list[Part] = []
    total = 0
    for part, size in zip(all_of_them, sizes, strict=True):
        if batch and total + size > size_max:
            yield batch
            batch, total = [], 0
        batch.append(part)
        total += size
    if batch:
        yield batch
