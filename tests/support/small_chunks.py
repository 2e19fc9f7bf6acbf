"""Chunks of a few call records, so that a few calls fill some: what is sealed is full chunks."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest

import tests.protocol.stored
from aggregator.layout import keys
from aggregator.reading import facts, records
from aggregator.store import elsewhere
from aggregator.writing import call_sealing, changes, expiry, loading

# All that know how large a chunk is.
_MODULES: tuple[ModuleType, ...] = (
    keys,
    facts,
    records,
    elsewhere,
    call_sealing,
    changes,
    expiry,
    loading,
    tests.protocol.stored,
)


@contextmanager
def small_chunks(calls_per_chunk: int) -> Iterator[None]:
    """Chunks of so many records."""
    with pytest.MonkeyPatch.context() as patch:
        for module in _MODULES:
            patch.setattr(module, "CALLS_PER_CHUNK", calls_per_chunk)
        yield
