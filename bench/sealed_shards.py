"""A project in several shards against the same calls in one: the bytes of objects once all of them is sealed and moved.

Calls are told apart by their trace, as messages keyed by trace are. What Redis keeps beside the objects is left out: of
so few calls most of it is the last, open chunk of each shard.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from zlib import crc32

from aggregator.calls.event import Event
from aggregator.layout.keys import ShardName
from aggregator.layout.moved import CALLS_LETTER, POSTINGS_LETTER
from aggregator.objects.directory_store import DirectoryStore
from aggregator.rollups.levels import LEVELS
from aggregator.writing.objects_access import AtOnce, objects_access
from bench.measuring import Line, compared, ratio_at_most
from bench.memory import events_at
from bench.month import fold, last_minute
from bench.scale import Scale, tell
from bench.sealing import LATER, object_bytes, seal
from bench.stage import Stage

CALLS_PER_S = 10.0
HOURS, HOURS_SHORT = 2, 1
SHARDS = 3
RATIO_MAX = 1.1
NAMES = {CALLS_LETTER: "records", POSTINGS_LETTER: "indexes"} | {
    one.letter: f"rollups by {one.slot_s} s" for one in LEVELS
}


def run(scale: Scale) -> Iterator[Line]:
    """A line for all objects, and one for each kind."""
    calls = round(scale.amount(HOURS * 3_600, HOURS_SHORT * 3_600, least=200) * CALLS_PER_S)
    end = last_minute()
    events = list(events_at(calls, CALLS_PER_S, end))
    several, one = _moved(events, end, SHARDS), _moved(events, end, 1)
    told = f"{SHARDS} shards / one"
    yield compared(
        f"objects of a call, {told}",
        "B",
        [several.total() / calls],
        [one.total() / calls],
        ratio_at_most(RATIO_MAX),
    )
    for kind, name in NAMES.items():
        yield compared(f"objects: {name}, {told}", "B", [several[kind] / calls], [one[kind] / calls])


def _moved(events: Sequence[Event], end: datetime, shards: int) -> Counter[str]:
    """Bytes of objects by kind, of all shards."""
    tell(f"folding, sealing and moving {len(events):,} events of {shards} shard{'s' * (shards > 1)}")
    traces = {event.call_id: event.start.trace_id or event.call_id for event in events if event.start is not None}
    found: Counter[str] = Counter()
    with Stage(broker=False) as stage, tempfile.TemporaryDirectory() as directory:
        objects = DirectoryStore(Path(directory))
        for number in range(shards):
            shard = ShardName("sealed", "calls", number)
            mine = (one for one in events if crc32(traces[one.call_id].encode()) % shards == number)
            fold(stage.redis_server.url, shard, mine, end, LATER)
            seal(stage, shard, round(end.timestamp() * 1e6), objects_access(objects, AtOnce()))
            found += object_bytes(objects, shard)
    return found
