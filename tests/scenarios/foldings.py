"""Messages in any order, repeated and cut into batches, over one shard or some."""

import json
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from aggregator.writing.limits import ShardLimits
from tests.pipeline.in_process import Batch
from tests.support.event_strategies import event_messages
from tests.support.folding import ROOMY, TINY

Json = dict[str, Any]
# Shrinking takes minutes with servers; what is found is small, and noted in a form to paste.
WITHOUT_SHRINKING = settings(
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class Folding(NamedTuple):
    """The events that arrive, in the order in which the model counts them, and how the product gets them."""

    messages: list[Json]
    shards: list[list[Batch]]
    limits: ShardLimits


def entries(message: Json) -> list[Json]:
    """A message as messages of one event each."""
    return [{"batch": [entry]} for entry in message["batch"]] if "batch" in message else [message]


def fields_of(message: Json) -> Json:
    """Returns what a message of one event tells of its call."""
    entry: Json = message["batch"][0] if "batch" in message else message
    entry = entry.get("req", entry)
    return next((entry[shape] for shape in ("start", "end", "complete") if shape in entry), entry)


def split_by_trace(messages: list[Json], shard_count: int) -> list[list[Json]]:
    """The messages of one event each by the trace of their call, as `callmeter produce --key trace` spreads them."""
    traces: dict[tuple[str, str], str] = {}
    for fields in map(fields_of, messages):
        if "op_name" in fields:
            trace_id = fields.get("trace_id")
            traces[fields["project_id"], fields["id"]] = fields["id"] if trace_id is None else trace_id
    shards: list[list[Json]] = [[] for _ in range(shard_count)]
    for message in messages:
        fields = fields_of(message)
        key = traces.setdefault((fields["project_id"], fields["id"]), fields["id"])
        shards[sum(key.encode()) % shard_count].append(message)
    return shards


def doubled(messages: list[Json], rng: random.Random) -> list[Json]:
    """The messages with some of them once more, later."""
    again = list(messages)
    for place in sorted(rng.sample(range(len(messages)), rng.randint(0, len(messages))), reverse=True):
        again.insert(rng.randint(place + 1, len(again)), messages[place])
    return again


def batches(messages: list[Json], rng: random.Random, sizes_max: Sequence[int] = (1, 3, 100)) -> list[Batch]:
    """The messages cut into batches, with a restart of the writer now and then."""
    size_max, left, cut = rng.choice(sizes_max), [json.dumps(message).encode() for message in messages], []
    while left:
        size = rng.randint(1, size_max)
        cut.append(Batch(left[:size], rng.random() < 0.3))
        left = left[size:]
    return cut


@st.composite
def foldings(draw: DrawFn, views_max: Sequence[int] = ()) -> Folding:
    """Messages and how they are folded: by one shard as they are, conflicts and all; or spread by trace over some.

    Where order cannot matter, the product gets them in another one than the model. `views_max`: how many views may be
    kept, beside as many as by default.
    """
    rng = random.Random(draw(st.integers(0, 2**32)))
    limits = draw(st.sampled_from([ROOMY, TINY]))
    limits = msgspec.structs.replace(limits, views_max=draw(st.sampled_from([limits.views_max, *views_max])))
    shard_count = draw(st.integers(1, 3))
    rings = draw(st.booleans())
    if shard_count == 1:
        messages = doubled(draw(event_messages(rings=rings, conflicts=True)), rng)
        return Folding(messages, [batches(messages, rng)], limits)
    drawn = draw(event_messages(rings=rings, conflicts=False))
    messages = doubled([entry for message in drawn for entry in entries(message)], rng)
    arriving = messages if rings else rng.sample(messages, len(messages))
    shards = [batches(shard, rng) for shard in split_by_trace(arriving, shard_count)]
    return Folding(messages, shards, limits)
