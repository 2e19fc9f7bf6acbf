"""A shard that moves sealed frames into a directory, and the check of what points where."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from random import Random
from typing import Any

import pytest
import redis

from aggregator.calls.event import Event
from aggregator.layout.first_calls import viewed
from aggregator.layout.keys import ShardKeys
from aggregator.layout.minute_calls import in_order, unpack_minute_calls
from aggregator.layout.moved import CALLS_LETTER, MINUTES_LETTER, NO_PROJECT, POSTINGS_LETTER, unpack_objects
from aggregator.layout.moved_minutes import MINUTE_BYTES, unpack_minute, unpack_place
from aggregator.layout.moved_postings import MOVED_FIELD, unpack_moved
from aggregator.layout.sealed import DIRECTORY_FIELD, unpack_directory
from aggregator.layout.sealed_calls import CALL_FRAME_FIELD, MovedCalls, unpack_pointer
from aggregator.layout.slots import MINUTES_PER_DAY, named_day
from aggregator.objects.directory_store import DirectoryStore
from aggregator.objects.frame_cache import FrameCache
from aggregator.objects.object_store import ObjectStoreAway, Span
from aggregator.rollups.levels import Retention
from aggregator.segments.segment import SectionKey, check_segment
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_S
from aggregator.writing.limits import ShardLimits
from aggregator.writing.objects_access import AtOnce, objects_access
from aggregator.writing.shard import Shard
from tests.support.folding import KEEP_ALL, SHARD, apply, fold_all, prices, read_state
from tests.support.sealing import agents_batches, blocks, seal_all

KEYS = ShardKeys(SHARD)
AT_ONCE = ShardLimits(seal_after_s=-10 * DAY_S, move_after_s=-10 * DAY_S)
PREFIX = "callmeter/calls/0/"


Day = tuple[int, int]
"""A project and a day."""


class FailingStore(DirectoryStore):
    """A directory that can be away."""

    is_away = False
    puts = 0

    def _check(self) -> None:
        if self.is_away:
            raise ObjectStoreAway("away")

    def put(self, name: str, content: bytes) -> None:
        self._check()
        self.puts += 1
        super().put(name, content)

    def read(self, name: str, spans: Sequence[Span]) -> list[bytes]:
        self._check()
        return super().read(name, spans)

    def read_whole(self, name: str) -> bytes:
        self._check()
        return super().read_whole(name)

    def delete(self, names: Iterable[str]) -> None:
        self._check()
        super().delete(names)


def away_said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Returns of what it was logged that it stays in Redis while objects cannot be put, each time."""
    stays = "what is to be moved stays in Redis until the object store takes it"
    return [vars(record)["what"] for record in caplog.records if record.message == stays]


def open_moving(
    client: Any, objects: FailingStore | None, limits: ShardLimits = AT_ONCE, retention: Retention = KEEP_ALL
) -> Shard:
    """A writer that moves what it has sealed."""
    return Shard(ShardStore(client, SHARD), prices(), retention, limits, objects_access(objects, AtOnce()))


@contextmanager
def killed_at(monkeypatch: pytest.MonkeyPatch, command: str, crash_at: int, takes_effect: bool) -> Iterator[None]:
    """End what runs inside at the step after so many: Redis is to `replace` or the directory to `put` something.

    `takes_effect`: the last step is done and not answered.
    """
    of: Any = ShardStore if command == "replace" else FailingStore
    original = getattr(of, command)
    left = crash_at

    def crashing(self: Any, *args: Any) -> Any:
        nonlocal left
        left -= 1
        if left >= 0:
            return original(self, *args)
        if takes_effect:
            original(self, *args)
        raise redis.ConnectionError("killed")

    with monkeypatch.context() as patch, suppress(redis.ConnectionError):
        patch.setattr(of, command, crashing)
        yield


def frames_in_redis(client: Any) -> list[bytes]:
    """Fields of frames."""
    return [field for block in blocks(client).values() for field in block if field.startswith(b"z") and field != b"zd"]


def moved_chunks(client: Any) -> dict[int, MovedCalls]:
    """Find where each chunk of calls points to whose frame has moved."""
    found = {}
    for key in client.scan_iter(f"{SHARD.tag}:calls:*"):
        moved = unpack_pointer(client.hget(key, CALL_FRAME_FIELD))
        if moved is not None:
            found[int(key.rpartition(b":")[2])] = moved
    return found


def state(client: Any, objects: FailingStore) -> Any:
    """Returns what is said, wherever it lies."""
    return read_state(client, objects)


def check_pointers(client: Any, objects: FailingStore) -> None:
    """Every pointer leads to a section of its own, every object says who points into it, and nobody else."""
    entries = unpack_objects(client.hgetall(KEYS.objects))
    pointing: dict[str, set[tuple[int, int]]] = {}
    for key, block in blocks(client).items():
        _, _, tail = key.decode().partition("}:")
        project, _, level, number = tail.split(":")
        directory = unpack_directory(block.get(DIRECTORY_FIELD))
        assert {one.field for one in directory.in_redis} == {f for f in block if f.startswith(b"z") and f != b"zd"}
        for one in directory.ranges:
            if one.location is not None:
                pointing.setdefault(one.location.name, set()).add((int(project), int(number)))
                packed = objects.read_whole(PREFIX + one.location.name)
                sections = check_segment(PREFIX + one.location.name, packed)
                assert (one.location.offset, one.location.length, one.location.checksum, one.number) in [
                    (s.offset, s.length, s.checksum, s.key.number) for s in sections
                ]
                assert one.location.name.split("-")[1] == level
    for chunk, (location, _) in moved_chunks(client).items():
        pointing.setdefault(location.name, set()).add((NO_PROJECT, chunk))
        sections = check_segment(PREFIX + location.name, objects.read_whole(PREFIX + location.name))
        assert (NO_PROJECT, CALLS_LETTER, chunk, 0) in [
            section.key for section in sections if section[1:] == location[1:]
        ]
    for key in client.scan_iter(f"{SHARD.tag}:*:w:*"):
        project, _, day = key.decode().partition("}:")[2].split(":")
        for moved in unpack_moved(client.hget(key, MOVED_FIELD)):
            pointing.setdefault(moved.name, set()).add((int(project), int(day)))
            packed = objects.read_whole(PREFIX + moved.name)
            found = {one.key: one for one in check_segment(PREFIX + moved.name, packed)}
            for section in moved.sections:
                key_there = SectionKey(int(project), POSTINGS_LETTER, int(day), section)
                assert found[key_there][1:] == moved.location(section)[1:]
    left = check_minutes(client, objects, pointing)
    assert {name: set(entry.blocks) - left.get(name, set()) for name, entry in entries.items()} == pointing
    assert not set(entries) & {name.decode() for name in client.hkeys(KEYS.retired)}


def check_minutes(client: Any, objects: FailingStore, pointing: dict[str, set[Day]]) -> dict[str, set[Day]]:
    """Note days by the objects that their busy minutes are in; returns those by objects that none is in any more."""
    for key in client.scan_iter(f"{SHARD.tag}:*:busy:*"):
        project, _, day = key.decode().partition("}:")[2].split(":")
        for field, said in client.hgetall(key).items():
            place = unpack_place(said) if len(field) == MINUTE_BYTES else None
            if place is None:
                assert client.hexists(KEYS.unmoved_minutes, f"{project}:{day}")
            else:
                pointing.setdefault(place.name, set()).add((int(project), int(day)))
                found = {
                    one.key: one for one in check_segment(PREFIX + place.name, objects.read_whole(PREFIX + place.name))
                }
                number = int.from_bytes(field, "big") % MINUTES_PER_DAY
                assert found[SectionKey(int(project), MINUTES_LETTER, int(day), number)][1:] == place[1:]
                assert [one for one in client.hkeys(key) if one.startswith(field)] == [field]
    left: dict[str, set[Day]] = {}
    for field, names in client.hgetall(KEYS.unmoved_minutes).items():
        for name in names.decode().split():
            if named_day(field) not in pointing.get(name, set()):
                left.setdefault(name, set()).add(named_day(field))
    for name in left:
        pointing.setdefault(name, set())
    return left


def busy_minutes(client: Any, objects: FailingStore) -> Any:
    """Returns what is kept of busy minutes, wherever it lies: all calls, and by view the first ones."""
    frames, found = FrameCache(objects), {}
    for key in client.scan_iter(f"{SHARD.tag}:*:busy:*"):
        fields = client.hgetall(key)
        for field, said in fields.items():
            if len(field) != MINUTE_BYTES:
                continue
            if (place := unpack_place(said)) is not None:
                located = place.located(key.decode())
                calls, first = unpack_minute(frames.read([located])[located])
                pieces = [calls]
            else:
                pieces = [fields[field + b":" + piece.to_bytes(4, "big")] for piece in range(int(said))]
                first = {
                    view: one
                    for name, one in fields.items()
                    if name[:4] == field and (view := viewed(name)) is not None
                }
            of_minute = in_order(unpack_minute_calls(pieces))
            found[key, field] = [column.tolist() for column in of_minute], dict(sorted(first.items()))
    return found


def check_any_order(seed: int, client: Any, objects: FailingStore, limits: ShardLimits) -> None:
    """Fold calls of agents, out of order and twice, sealed and moved between any two batches, by any writer: all is as
    it is without any moving, and every pointer leads to what it says.
    """
    rng = Random(seed)
    batches = agents_batches(rng, 60)
    expected = fold_all(client, batches)
    client.flushall()
    shard = open_moving(client, objects, limits)
    for batch in batches:
        apply(shard, batch)
        if rng.random() < 0.5:
            seal_all(shard)
            check_pointers(client, objects)
        if rng.random() < 0.3:
            shard = open_moving(client, objects, limits)
    seal_all(shard)
    check_pointers(client, objects)
    assert state(client, objects) == expected


def check_crashes(
    client: Any,
    objects: FailingStore,
    events: Sequence[Event],
    killed: Callable[[int], AbstractContextManager[None]],
    is_done: Callable[[], bool],
    writers_max: int = 100,
) -> None:
    """Fold events, and move them by writers that are killed one after the other, as `killed` does with each by its
    number, until all is moved: all is as it is without any moving whenever one has died, and every pointer leads to
    what it says.
    """
    expected = fold_all(client, [events])
    client.flushall()
    shard = open_moving(client, objects)
    apply(shard, events)
    for number in range(writers_max):
        with killed(number):
            seal_all(shard)
        assert state(client, objects) == expected
        check_pointers(client, objects)
        shard = open_moving(client, objects)
        if is_done():
            return
    raise AssertionError("never done")
