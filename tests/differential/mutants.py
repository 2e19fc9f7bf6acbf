"""Engines that err in one thing. The harness must tell each from the one in Python."""

from collections.abc import Callable
from typing import Any

import msgspec

from aggregator.writing.fold_batch import Batch, FoldedBatch, fold_batch
from aggregator.writing.shard_state import ShardState
from ingest.decoding.batch import DecodedBatch, decode_batch
from ingest.engine import Engine


def _decoding(err: Callable[[DecodedBatch], None]) -> Engine:
    def decode(*values: Any, **more: Any) -> DecodedBatch:
        batch = decode_batch(*values, **more)
        err(batch)
        return batch

    return Engine(decode, fold_batch)


def _folding(err: Callable[[FoldedBatch, ShardState], None]) -> Engine:
    def fold(batch: Batch, state: ShardState) -> FoldedBatch:
        folded = fold_batch(batch, state)
        err(folded, state)
        return folded

    return Engine(decode_batch, fold)


def _loses_an_event(batch: DecodedBatch) -> None:
    if len(batch.events) > 5:
        batch.events.pop(3)


def _rounds_times(batch: DecodedBatch) -> None:
    for at, event in enumerate(batch.events):
        if event.start is not None:
            rounded = event.start.started_at_us // 1_000 * 1_000
            start = msgspec.structs.replace(event.start, started_at_us=rounded)
            batch.events[at] = msgspec.structs.replace(event, start=start)


def _says_another_reason(batch: DecodedBatch) -> None:
    batch.invalid = [(at, invalid._replace(reason=invalid.reason.lower() + "!")) for at, invalid in batch.invalid]


def _takes_what_is_invalid(batch: DecodedBatch) -> None:
    batch.invalid = batch.invalid[1:]


def _cuts_errors(batch: DecodedBatch) -> None:
    for at, event in enumerate(batch.events):
        if event.end is not None and event.end.error:
            end = msgspec.structs.replace(event.end, error=event.end.error[:-1])
            batch.events[at] = msgspec.structs.replace(event, end=end)


def _backwards(batch: Batch, state: ShardState) -> FoldedBatch:
    return fold_batch(batch._replace(events=batch.events[::-1]), state)


def _forgets(part: str) -> Callable[[FoldedBatch, ShardState], None]:
    """Leave out what is written of keys of a kind."""

    def err(folded: FoldedBatch, state: ShardState) -> None:
        for key in [key for key in folded.write.fields if part in str(key)]:
            del folded.write.fields[key]

    return err


def _counts_one_less(folded: FoldedBatch, state: ShardState) -> None:
    for name in ("duplicates", "calls"):
        if folded.write.increments.get(name):
            folded.write.increments[name] -= 1


def _never_expires(folded: FoldedBatch, state: ShardState) -> None:
    folded.write.expiries.clear()


def _flips_a_bit(folded: FoldedBatch, state: ShardState) -> None:
    for key, fields in folded.write.fields.items():
        for field, value in fields.items():
            if ":x:" in str(key) and isinstance(value, bytes):
                fields[field] = value[:-1] + bytes([value[-1] ^ 1])
                return


def _keeps_versions(folded: FoldedBatch, state: ShardState) -> None:
    folded.write.new_versions.clear()


def _leaves_what_is_deleted(folded: FoldedBatch, state: ShardState) -> None:
    folded.write.deletions.clear()


MUTANTS = {
    "an event is lost": _decoding(_loses_an_event),
    "times are rounded": _decoding(_rounds_times),
    "another reason": _decoding(_says_another_reason),
    "what is invalid is passed over": _decoding(_takes_what_is_invalid),
    "errors are cut": _decoding(_cuts_errors),
    "events are folded backwards": Engine(decode_batch, _backwards),
    "no postings": _folding(_forgets(":x:")),
    "no hours": _folding(_forgets(":r:h:")),
    "counters differ": _folding(_counts_one_less),
    "nothing expires": _folding(_never_expires),
    "a bit is flipped": _folding(_flips_a_bit),
    "versions stay": _folding(_keeps_versions),
    "deletions are left out": _folding(_leaves_what_is_deleted),
}
