"""The engine of a worker: from the bytes of messages, and the state of their shard, to what is to be written.

It is one function in two halves, `fold(decode(bytes), state)`: a step is decoded while Redis stores the one before, of
which the state must hold all. Neither half writes anything, asks a clock or draws at random, so the same bytes and the
same state make the same write. Another implementation, as a compiled one, is another `Engine` that `Folding` (in
fold_step.py) is given; tests/differential holds it against this one, byte for byte.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from aggregator.writing.fold_batch import FoldBatch, fold_batch
from ingest.decoding.batch import DecodedBatch, decode_batch
from ingest.decoding.otlp_span import SpanProjects


class DecodeBatch(Protocol):
    """The events of consecutive messages; see `ingest.decoding.batch.decode_batch`."""

    def __call__(
        self,
        values: Sequence[bytes | None],
        brokers_us: Sequence[int],
        retention_us: int,
        dropped_before_us: int,
        *,
        projects: Callable[[int], SpanProjects],
    ) -> DecodedBatch: ...


class Engine(NamedTuple):
    """One implementation."""

    decode: DecodeBatch
    fold: FoldBatch


IN_PYTHON = Engine(decode_batch, fold_batch)
