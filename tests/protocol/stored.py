"""What a shard holds, read from its keys as they are stored."""

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

import msgspec

from aggregator.calls.call import Call
from aggregator.calls.packed_id import unpack_id
from aggregator.layout import keys as layout
from aggregator.layout.keys import CALLS_PER_CHUNK, ShardKeys, ShardName, day_of
from aggregator.layout.minute_calls import unpack_minute_calls
from aggregator.layout.moved_minutes import MINUTE_BYTES, unpack_minute, unpack_place
from aggregator.layout.open_minutes import OPEN_FIELD, open_minutes_of
from aggregator.layout.sealed_calls import CALL_FRAME_FIELD, calls_of_chunk, read_call_frames
from aggregator.objects.frame_cache import FrameCache
from aggregator.objects.object_store import ObjectStore
from aggregator.rollups.cell import CELL_CODEC
from aggregator.rollups.levels import LEVELS, MINUTES
from aggregator.rollups.series import LATENCY, is_of_trees, model_of, series_of
from aggregator.rollups.view import View
from aggregator.rollups.views import ALL_CALLS, ViewDirectory
from aggregator.time_units import DAY_S, MINUTE_US
from tests.protocol.memory_redis import State
from tests.protocol.totals import CallName, Counted, Slot, Totals
from tests.support.sealed_blocks import unsealed
from tests.support.stored_ids import stored_ids
from tests.support.stored_postings import StoredPostings

COUNTERS = ("messages", "dead_letters", "events", "duplicates", "calls")
_LEVELS = {level.letter: level for level in LEVELS}


def next_offset(state: State, shard: ShardName) -> int | None:
    """The stored next offset; None for a new shard."""
    stored = state.string(ShardKeys(shard).next.encode())
    return layout.stored_offset(stored)


def as_of_us(state: State, shard: ShardName) -> int:
    """Through which time the shard says that everything has been applied; 0 for a new shard."""
    return int(state.hash(ShardKeys(shard).shard.encode()).get(b"as_of_us", 0))


def totals_in(state: State, shard: ShardName, objects: ObjectStore | None = None) -> Totals:
    """Everything that counts; raises where keys contradict each other."""
    return _Reading(state, shard, objects).totals()


class _Reading:
    def __init__(self, state: State, shard: ShardName, objects: ObjectStore | None) -> None:
        self._state = state
        self._objects, self._frames = objects, FrameCache(objects)
        self._shard = shard
        self._keys = ShardKeys(shard)
        self._tag = shard.tag.encode() + b":"
        found = state.hash(self._keys.projects.encode())
        self._project_ids = {int(number): name.decode() for name, number in found.items()}
        self._calls = dict(self._records())

    def totals(self) -> Totals:
        totals = Totals()
        fields = self._state.hash(self._keys.shard.encode())
        totals.counters = Counter({name: int(fields.get(name.encode(), 0)) for name in COUNTERS})
        totals.registered = set(self._registered())
        in_hash, pages = (self._state.hash(key.encode()) for key in (self._keys.ids, self._keys.id_pages))
        for field, number in stored_ids(in_hash, pages, self._calls).items():
            project_id = self._project_ids[int.from_bytes(field[:4], "big")]
            totals.numbers[project_id, unpack_id(field[4:])] = number
        assert {self._name(call): number for number, call in self._calls.items()} == totals.numbers
        assert int(fields.get(b"calls_numbered", 0)) == len(totals.numbers)
        for call in self._calls.values():
            if call.started_us is not None:
                subtree = call.total()
                tokens = Counter({model: numbers[0] for model, numbers in subtree.usage.items()})
                totals.subtrees[self._name(call)] = tokens, subtree.unfinished
        self._read_days(totals)
        return totals

    def _read_days(self, totals: Totals) -> None:
        """Reads what lies in keys of their own by project, and most by day."""
        lacking: list[tuple[Slot, Slot]] = []
        for key in self._state.keys:
            if not key.startswith(self._tag):
                continue
            project, _, rest = key.removeprefix(self._tag).partition(b":")
            if not project.isdigit():
                continue
            project_id = self._project_ids[int(project)]
            kind, _, rest = rest.partition(b":")
            if kind == b"r":
                self._read_slots(int(project), key, rest.decode(), totals)
                lacking += self._lacking(int(project), key, rest.decode())
            elif kind in (b"x", b"w"):
                self._read_postings(int(project), int(rest.rpartition(b":")[2]), totals)
            elif kind == b"busy":
                self._check_busy(int(project), key)
            elif kind == b"open":
                for number, entry in self._state.hash(key).items():
                    own = msgspec.msgpack.decode(entry)[1]
                    if own is not None:
                        totals.open_calls.add((project_id, unpack_id(own)))
                    call = self._calls[int(number)]
                    assert call.total().unfinished or not call.is_started  # something waits for its start

        for slot, minute in lacking:
            if minute in totals.slots:
                totals.slots.setdefault(slot, Counted()).add(totals.slots[minute])

    def _lacking(self, project: int, key: bytes, rest: str) -> Iterator[tuple[Slot, Slot]]:
        """Yields the slots of a coarser block that lack a minute, each with that."""
        letter, block = rest.split(":")
        opened = open_minutes_of(int(block), self._state.hash(key).get(OPEN_FIELD))
        if opened:
            directory = ViewDirectory(self._state.hash(self._keys.views(project, int(block)).encode()))
            views = {number: view for view, number in directory.numbers.items()} | {ALL_CALLS: View()}
        for minute, first_view in opened.items():
            for number, view in views.items():
                if number >= first_view:
                    begins_us, slot_us = minute * MINUTE_US, _LEVELS[letter].slot_us
                    coarser = Slot(self._project_ids[project], letter, view, begins_us // slot_us * slot_us)
                    yield coarser, coarser._replace(level=MINUTES.letter, begins_us=begins_us)

    def _read_postings(self, project: int, day: int, totals: Totals) -> None:
        """Reads those of minutes, and that those of traces are of the calls of these traces."""
        keys, hash_of = self._keys, self._state.hash
        postings = StoredPostings(hash_of(keys.posting_pages(project, day).encode()), keys.shard, self._frames)
        calls = {number: call for number, call in self._calls.items() if call.project == project and call.is_started}
        minutes = [((call.started_us or 0) // MINUTE_US).to_bytes(4, "big") for call in calls.values()]
        latest = hash_of(keys.postings(project, layout.MINUTE, day).encode())
        blocks = hash_of(keys.posting_blocks(project, layout.MINUTE, day).encode())
        for minute, numbers in postings.take(layout.MINUTE, latest, blocks, minutes).items():
            totals.posted[self._project_ids[project], int.from_bytes(minute, "big")] = sorted(numbers)
        latest = hash_of(keys.postings(project, layout.TRACE, day).encode())
        blocks = hash_of(keys.posting_blocks(project, layout.TRACE, day).encode())
        traces = [call.trace for call in calls.values()]
        for trace, numbers in postings.take(layout.TRACE, latest, blocks, traces).items():
            expected = [number for number, call in calls.items() if call.trace == trace and day_of(call.seen_us) == day]
            assert sorted(numbers) == sorted(expected)

    def _check_busy(self, project: int, key: bytes) -> None:
        """Checks that all calls of a busy minute are kept, each once, wherever that is."""
        fields = self._state.hash(key)
        for field, said in fields.items():
            if len(field) == MINUTE_BYTES:
                pieces = [piece for name, piece in fields.items() if name.startswith(field + b":")]
                if (place := unpack_place(said)) is None:
                    assert len(pieces) == int(said)
                else:
                    assert not pieces, "calls are beside the place of those in an object, where nobody looks for them"
                    located = place.located(key.decode())
                    pieces.append(unpack_minute(self._frames.read([located])[located]).calls)
                kept = sorted(unpack_minute_calls(pieces).numbers.tolist())
                assert kept == self._begun_in(project, int.from_bytes(field, "big"))

    def _begun_in(self, project: int, minute: int) -> list[int]:
        """Returns the calls of a minute."""
        of_project = {number: call for number, call in self._calls.items() if call.project == project}
        return sorted(
            number for number, call in of_project.items() if call.started_us and call.started_us // MINUTE_US == minute
        )

    def _read_slots(self, project: int, key: bytes, rest: str, totals: Totals) -> None:
        letter, block = rest.split(":")
        level = _LEVELS[letter]
        day = int(block) * level.block_s // DAY_S
        directory = ViewDirectory(self._state.hash(self._keys.views(project, day).encode()))
        views = {number: view for view, number in directory.numbers.items()} | {ALL_CALLS: View()}
        for field, packed in unsealed(self._state.hash(key), key.decode(), self._objects).items():
            assert len(field) == 5, "nothing is beside a cell: it has too few rows"
            cell = CELL_CODEC.unpack(packed)
            begins_us = (int(block) * level.block_slots + int.from_bytes(field[:2], "big")) * level.slot_us
            rows = {name: series_of(name).unpack(packed) for name, packed in cell.rows.items() if not is_of_trees(name)}
            latencies_ms = sorted(row[0] for row in rows.pop(LATENCY, []))
            totals.slots[
                Slot(self._project_ids[project], letter, views[int.from_bytes(field[2:], "big")], begins_us)
            ] = Counted(
                cell.calls,
                cell.errors,
                len(latencies_ms),
                sum(latencies_ms),
                latencies_ms,
                Counter({model_of(name): len(of_model) for name, of_model in rows.items()}),
                Counter({model_of(name): sum(row[0] for row in of_model) for name, of_model in rows.items()}),
            )

    def _records(self) -> Iterator[tuple[int, Call]]:
        prefix = self._keys.calls(0).encode().removesuffix(b"0")
        for key in self._state.keys:
            if key.startswith(prefix):
                first = int(key.removeprefix(prefix)) * CALLS_PER_CHUNK
                fields = dict(self._state.hash(key))
                [frame] = read_call_frames({key.decode(): fields.get(CALL_FRAME_FIELD)}, self._frames).values()
                if frame is not None:
                    fields[CALL_FRAME_FIELD] = frame
                yield from _calls_of_chunk(key.decode(), first, frozenset(fields.items())).items()

    def _registered(self) -> Iterator[str]:
        member = layout.shard_member(self._shard).encode()
        for project_id in self._project_ids.values():
            if member in self._state.names(layout.project_registry(self._shard.namespace, project_id).encode()):
                yield project_id

    def _name(self, call: Call) -> CallName:
        return self._project_ids[call.project], unpack_id(call.packed_id)


@lru_cache(4_096)  # most chunks are the same after most steps
def _calls_of_chunk(key: str, first: int, fields: frozenset[tuple[bytes, bytes]]) -> dict[int, Call]:
    return calls_of_chunk(key, first, dict(fields))
