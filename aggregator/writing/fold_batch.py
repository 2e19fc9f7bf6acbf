"""Makes of a batch of events, and the state of a shard, what is to be written.

It writes nothing itself, and asks no clock: the same batch and the same state make the same write.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from typing import NamedTuple

from aggregator.calls.event import Event
from aggregator.layout.write import ShardWrite
from aggregator.writing.batch_changes import Applied
from aggregator.writing.changes import KnownNumbers, count
from aggregator.writing.fold import Fold
from aggregator.writing.loading import load_records
from aggregator.writing.shard_state import ShardState


class Batch(NamedTuple):
    """The events of messages that follow one another, when they were read, and more to add to the shard's counters."""

    events: Sequence[Event]
    now_us: int
    counters: Mapping[str, int]


class FoldedBatch(NamedTuple):
    """What a batch is to write, and what it came to.

    `kept_longer`: projects to be registered before that, for so many seconds. `changed`, `dropped`: numbers of records.
    """

    write: ShardWrite
    applied: Applied
    kept_longer: Mapping[str, int]
    changed: Set[int]
    dropped: Set[int]


FoldBatch = Callable[[Batch, ShardState], FoldedBatch]


def fold_batch(batch: Batch, state: ShardState) -> FoldedBatch:
    """Return what a batch changes in a shard, of which `state` then holds what it will be once that is stored.

    Raises what reading raises.
    """
    events, records, write = batch.events, state.records, ShardWrite()
    known = KnownNumbers(records.next_number, records.projects_numbered)
    fields = load_records(events, records, state.ids, state.store, state.frames)
    fold = Fold(records, state.prices, state.limits.error_bytes_max)
    for event, field in zip(events, fields, strict=True):
        fold.add(event, field)
    changes = fold.finish()
    state.waiting.note(events, fields, records, write)
    until_us = min(batch.now_us, state.as_of_us)
    state.write_changes(changes, known, until_us, batch.now_us, write)
    changes.counters.update(batch.counters)  # some may be negative: what was unpriced may not be counted any more
    dropped = set(state.expired.drop(until_us, known.records, records.calls, write))
    state.kept.note(batch.now_us, state.keys, write)
    kept_longer = state.projects.note(events, records.projects, batch.now_us, write)
    state.let_go(until_us, {event.project_id for event in events}, write)
    state.log.write(state.keys, write)
    count(changes.counters, records.next_number, state.as_of_us, state.keys, write)
    state.expiries.leave_known(batch.now_us, write)
    applied = Applied(*(changes.counters[name] for name in Applied.__struct_fields__))
    return FoldedBatch(write, applied, kept_longer, changes.records, dropped)
