"""Chunks of a few call records, so that a few calls fill some: what is sealed is full chunks."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest

import tests.protocol.stored
from aggregator.layout import id_pages, keys
from aggregator.reading import facts, records
from aggregator.store import elsewhere
from aggregator.writing import call_sealing, changes, expiry, loading
from tests.support import stored_ids

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
    """Chunks of so many records, two or four; the entry of an id stays of one chunk, as it always is."""
    group_bits = min(id_pages._GROUP_BITS, calls_per_chunk.bit_length() - 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(id_pages, "_GROUP_BITS", group_bits)
        for module in (id_pages, stored_ids):
            patch.setattr(module, "RECORDS_PER_ENTRY", 1 << group_bits)
        for module in _MODULES:
            patch.setattr(module, "CALLS_PER_CHUNK", calls_per_chunk)
        yield
