"""How a writer reaches objects: reads at once, what may take long beside the folding."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import NamedTuple, ParamSpec, TypeVar

from aggregator.objects.frame_cache import FrameCache
from aggregator.objects.object_store import ObjectStore

P = ParamSpec("P")
T = TypeVar("T")

# Frames that late events are folded into: a worker has most of what it changes in its cache of cells.
WORKER_CACHE_BYTES_MAX = 16 * 2**20


class ObjectsAccess(NamedTuple):
    """The object store (None: none is set), frames read from it, and where its slow work is done."""

    frames: FrameCache
    store: ObjectStore | None = None
    aside: Executor | None = None


NO_OBJECTS = ObjectsAccess(FrameCache(None))


def objects_access(store: ObjectStore | None, aside: Executor | None) -> ObjectsAccess:
    """Access to a store; for one thread that folds."""
    return ObjectsAccess(FrameCache(store, WORKER_CACHE_BYTES_MAX), store, aside)


class AtOnce(Executor):
    """Does at once what is asked: for commands, which have nothing else to do."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as why:
            done.set_exception(why)
        return done
