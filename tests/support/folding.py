"""Events in one line each, and a shard's state in a form that two ways of folding the same events must agree on."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import chain
from typing import Any

import msgspec
import redis

from aggregator.calls.call import Call, Subtree
from aggregator.calls.event import CallEnd, CallStart, Event, UsageCounts
from aggregator.calls.packed_id import pack_id, unpack_id
from aggregator.layout import keys as layout
from aggregator.layout.keys import ShardName, id_field
from aggregator.layout.open_calls import unpack_open_calls
from aggregator.layout.sealed_calls import calls_of_chunk
from aggregator.layout.unpriced import read_unpriced
from aggregator.objects.frame_cache import FrameCache
from aggregator.objects.object_store import ObjectStore
from aggregator.prices.book import UNPRICED, PriceBook, Timeline
from aggregator.prices.file import load_price_file
from aggregator.rollups.levels import LEVELS, MINUTES, Retention
from aggregator.rollups.view import View
from aggregator.rollups.views import ALL_CALLS, MORE_MODELS_FACET, ViewDirectory, model_facet
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_S, MINUTE_US, SECOND_US
from aggregator.writing.batch_changes import BatchChanges
from aggregator.writing.fold import Fold
from aggregator.writing.limits import ShardLimits
from aggregator.writing.records import Records
from aggregator.writing.shard import Shard
from ingest.decoding.single import decode_message
from tests.support.keys_of_shard import keys_of
from tests.support.open_cells import whole_cells
from tests.support.paths import CASES
from tests.support.sealed_blocks import NO_CONTENT, unsealed
from tests.support.stored_ids import named_calls
from tests.support.stored_postings import StoredPostings
from tests.support.strategies import NOW

Json = dict[str, Any]
T0_US = int(datetime(2026, 3, 3, 10, tzinfo=UTC).timestamp()) * SECOND_US
NOW_US = int(NOW.timestamp()) * SECOND_US
SHARD = ShardName("callmeter", "calls", 0)
PROJECT = "acme/agents"
KEEP_ALL = Retention(*(3650 * DAY_S,) * 4)
ROOMY = ShardLimits()
_CACHED = dict.fromkeys(("calls_cached_max", "cells_cached_max", "expiries_cached_max", "directories_cached_max"), 1)
TINY = ShardLimits(
    **_CACHED,
    posting_tails_bytes_max=1,
    busy_calls_min=2,
    open_calls_min=0,
    open_within_s=3650 * DAY_S,  # minutes are opened by each batch, and closed before the next one
    seal_after_s=-10 * DAY_S,  # everything is sealed before the next batch, which takes it out again
)


class NoCatalogue:
    """Knows no model."""

    def timeline(self, model: str) -> Timeline:
        return UNPRICED


@cache
def prices() -> PriceBook:
    """The price file of the golden cases; what it lacks has no price."""
    return PriceBook(load_price_file(CASES / "prices.yaml"), NoCatalogue())


def tokens(input_tokens: int = 0, output_tokens: int = 0, requests: int = 1) -> UsageCounts:
    """Counts without cache."""
    return UsageCounts(input_tokens, output_tokens, input_tokens + output_tokens, 0, 0, requests)


def start(call_id: str, at_s: float = 0, project_id: str = PROJECT, **told: Any) -> Event:
    """The start of a call, `at_s` seconds after T0."""
    fields: Json = {"op_name": "op", "started_at_us": T0_US + int(at_s * SECOND_US), "trace_id": "trace"} | told
    return Event(project_id, call_id, CallStart(**fields), None)


def end(call_id: str, at_s: float = 1, project_id: str = PROJECT, **told: Any) -> Event:
    """The end of a call, `at_s` seconds after T0."""
    fields: Json = {"ended_at_us": T0_US + int(at_s * SECOND_US), "failed": False, "usage": {}} | told
    return Event(project_id, call_id, None, CallEnd(**fields))


def complete(call_id: str, at_s: float = 0, end_s: float = 1, usage: Any = None, **told: Any) -> Event:
    """Returns a complete call: start and end at once."""
    began = start(call_id, at_s, **told)
    return msgspec.structs.replace(began, end=end(call_id, end_s, usage=usage or {}).end)


def decoded(messages: Iterable[Json]) -> list[list[Event]]:
    """The events of each message, which must be valid."""
    found = []
    for message in messages:
        of_message = decode_message(json.dumps(message).encode(), NOW_US)
        assert not of_message.invalid
        found.append(of_message.events)
    return found


def open_shard(
    client: redis.Redis,
    limits: ShardLimits = ROOMY,
    retention: Retention = KEEP_ALL,
) -> Shard:
    """A writer of the one shard of these tests."""
    return Shard(ShardStore(client, SHARD), prices(), retention, limits)


def apply(shard: Shard, events: Sequence[Event], now_us: int = NOW_US) -> None:
    """Applies one message per event, all in one batch, read at `now_us`."""
    shard.apply(events, (shard.next_offset or 0) + len(events), now_us, now_us, {})


def in_batches(events: Sequence[Sequence[Event]], sizes: Sequence[int]) -> list[list[Event]]:
    """The events of consecutive messages in batches of so many messages, the sizes taken in turn."""
    batches: list[list[Event]] = []
    at = 0
    while at < len(events):
        size = sizes[len(batches) % len(sizes)]
        batches.append([event for message in events[at : at + size] for event in message])
        at += size
    return batches


def fold_all(client: redis.Redis, batches: Iterable[Sequence[Event]], limits: ShardLimits = ROOMY) -> Json:
    """The state of an empty Redis after these batches."""
    client.flushall()
    shard = open_shard(client, limits)
    for batch in batches:
        apply(shard, batch)
    return read_state(client)


def fold_in_memory(batches: Iterable[Sequence[Event]]) -> Records:
    """The records of these batches, none of them ever forgotten; nothing is stored."""
    records = Records({}, 0)
    for batch in batches:
        fold(records, batch)
    return records


def fold(records: Records, events: Iterable[Event]) -> BatchChanges:
    """Returns what one batch changes."""
    folding = Fold(records, prices())
    for event in events:
        folding.add(event, id_field(records.project(event.project_id), pack_id(event.call_id)))
    return folding.finish()


def read_state(client: redis.Redis, objects: ObjectStore | None = None) -> Json:
    """Everything the shard keeps, by names instead of numbers; sketches as counts. Raises on any key it does not know.

    Left out: cells that count nothing any more and views of models, which a call may have belonged to for a while; the
    counters `events` and `duplicates`, which count what came; an example, which is the last one met; how long what has
    not started is kept, which depends on what named it first.
    """
    return _StateReader(client, objects).read()


class _StateReader:
    def __init__(self, client: Any, objects: ObjectStore | None) -> None:
        self._objects = objects
        self._kept = keys_of(client, SHARD.tag)
        self._projects = {int(number): name.decode() for name, number in self._kept.get("projects", {}).items()}
        self._names = named_calls(SHARD.tag, self._kept, self._projects, FrameCache(objects))

    def read(self) -> Json:
        state: Json = {"projects": sorted(self._projects.values()), "calls": {}}
        for name, kept in self._kept.items():
            first, _, rest = name.partition(":")
            if first == "next":
                state["next"] = layout.stored_offset(kept)
            elif first == "shard":
                state["shard"] = self._shard(kept)
            elif first == "calls":
                state["calls"] |= self._calls(int(rest), kept)
            elif first == "unpriced":
                state["unpriced"] = {
                    (self._projects.get(unpriced.project), *unpriced[1:]): calls
                    for unpriced, calls in read_unpriced(kept).items()
                }
            elif first not in NO_CONTENT:
                state.update(self._of_project(int(first), rest, kept))
        return state

    def _shard(self, fields: Mapping[bytes, bytes]) -> Json:
        left_out = (b"events", b"duplicates", b"ends_waiting", layout.SHORT_ROLLUP.encode())
        return {name.decode(): int(value) for name, value in fields.items() if name not in left_out}

    def _calls(self, chunk: int, fields: Mapping[bytes, bytes]) -> dict[tuple[str, str], Json]:
        calls = {}
        for number, call in calls_of_chunk(
            SHARD.tag, chunk * layout.CALLS_PER_CHUNK, fields, FrameCache(self._objects)
        ).items():
            name = self._names[number]
            assert (self._projects[call.project], unpack_id(call.packed_id)) == name
            calls[name] = self._call(call)
        return calls

    def _call(self, call: Call) -> Json:
        told: Json = msgspec.structs.asdict(call)
        for internal in ("project", "packed_id"):
            del told[internal]
        told["parent_number"] = None if call.parent_number is None else self._names[call.parent_number]
        told["subtree"] = _subtree(call.total())
        waiting = {trace: _subtree(one) for trace, one in (call.waiting or {}).items()}
        told["waiting"] = {trace: one for trace, one in waiting.items() if one != ({}, 0)}
        told["waiting_output_refs"] = sorted(call.waiting_output_refs or ())
        if call.started_us is None:
            del told["seen_us"]
        return told

    def _of_project(self, project: int, rest: str, kept: Any) -> Json:
        kind, _, more = rest.partition(":")
        name = self._projects[project]
        parts = more.split(":")
        if kind == "open":
            return {f"{name} {rest}": self._open_calls(kept)}
        if kind == "views":
            directory = ViewDirectory(kept)
            return {f"{name} {rest}": ({view for view in directory.numbers if not _of_models(view)}, directory.full)}
        if kind == "r":
            letter, block = parts
            (level,) = [level for level in LEVELS if level.letter == letter]
            day = int(block) * level.block_s // DAY_S
            numbers = ViewDirectory(self._kept[f"{project}:views:{day}"]).numbers
            views = {number: view for view, number in numbers.items()} | {ALL_CALLS: "all"}
            cells = whole_cells(
                kept,
                level,
                int(block),
                views,
                lambda fields: unsealed(fields, SHARD.tag, self._objects),
                lambda hour: self._kept.get(f"{project}:r:{MINUTES.letter}:{hour}", {}),
            )
            return {f"{name} {rest}": cells}
        if kind == "v":
            return {f"{name} {rest}": {int(slot) for slot in kept}}
        if kind in ("x", "w"):
            return {f"{name} postings {parts[-1]}": self._postings(project, int(parts[-1]))}
        assert kind in ("y", "z", "busy"), rest  # the last goes by batches, too
        return {f"{name} {rest}": kept} if kind == "z" else {}

    def _open_calls(self, fields: Mapping[bytes, bytes]) -> dict[tuple[str, str], Any]:
        entries = unpack_open_calls(fields)
        return {
            self._names[number]: (None if parent is None else self._names[parent], packed)
            for number, (parent, packed) in entries.items()
        }

    def _postings(self, project: int, day: int) -> Json:
        """The calls of each value; of threads and turns, whose names pages do not tell, those of all, in order."""
        postings = StoredPostings(self._kept.get(f"{project}:w:{day}", {}), SHARD.tag, FrameCache(self._objects))
        calls = [call for call in self._records() if call.project == project and call.started_us is not None]
        named = {
            layout.MINUTE: [((call.started_us or 0) // MINUTE_US).to_bytes(4, "big") for call in calls],
            layout.TRACE: [call.trace for call in calls],
            layout.PARENT: [call.parent for call in calls if call.parent is not None],
            layout.INPUT_REF: self._kept.get(f"{project}:z:{layout.INPUT_REF}:{day}", ()),
            layout.OUTPUT_REF: self._kept.get(f"{project}:z:{layout.OUTPUT_REF}:{day}", ()),
        }
        found: Json = {}
        unnamed: list[int] = []
        for index in layout.INDEXES:
            latest, blocks = (self._kept.get(f"{project}:{kind}:{index}:{day}", {}) for kind in "xy")
            taken = postings.take(index, latest, blocks, named.get(index, ()))
            if index in named:
                found[index] = {value.hex(): self._named(numbers) for value, numbers in taken.items()}
            else:
                unnamed += chain.from_iterable(taken.values())
        return found | {"unnamed": sorted(self._names[number] for number in chain(unnamed, *postings.left))}

    def _named(self, numbers: Iterable[int]) -> set[tuple[str, str]]:
        return {self._names[number] for number in numbers}

    def _records(self) -> Iterator[Call]:
        for name, kept in self._kept.items():
            if name.startswith("calls:"):
                yield from calls_of_chunk(SHARD.tag, 0, kept, FrameCache(self._objects)).values()


def _subtree(subtree: Subtree) -> tuple[Json, int]:
    return dict(sorted(subtree.usage.items())), subtree.unfinished


def _of_models(view: View) -> bool:
    """Whether a view counts the calls of one model, or of more than one: a call may be there for a while."""
    return view.facet is not None and (view.facet.startswith(model_facet("")) or view.facet == MORE_MODELS_FACET)
