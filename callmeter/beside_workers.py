"""A step on a shard that a live worker may outrun: taken again until it comes between two of the worker's batches."""

import time
from collections.abc import Callable
from typing import TypeVar

from aggregator.store.shard_store import Fenced

# A live worker may apply a batch between our look and our write; it does so some ten times a second.
TRIES_MAX = 200
# Between two tries: not in step with the worker.
PAUSE_S = 0.02

_Result = TypeVar("_Result")


class Outrun(Fenced):
    """A worker has written between look and write each time."""


def beside_workers(step: Callable[[], _Result], look_again: Callable[[], object] = lambda: None) -> _Result:
    """Return what the step returns, which is taken again while it raises Fenced, each time after `look_again`.

    Raises Outrun after so many tries, and what `look_again` raises, Fenced too: the shard may have moved away.
    """
    for _ in range(TRIES_MAX):
        try:
            return step()
        except Fenced:
            time.sleep(PAUSE_S)
        look_again()
    raise Outrun("a worker writes without pause; try again when less comes, or stop the worker meanwhile")
