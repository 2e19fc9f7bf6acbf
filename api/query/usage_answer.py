"""Answering `/calls/usage`: one record per requested id, and the open calls of its trace where it has any."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

import msgspec

from aggregator.calls.call import COUNTS, PRICED, Usage
from aggregator.calls.packed_id import unpack_id
from aggregator.reading.calls import read_calls, select_ids
from aggregator.rollups.totals import PICO_PER_DOLLAR
from aggregator.store.reader import OpenedProject, ProjectShard, StoreReader
from api.query.questions import UsageQuestion
from api.refusals import Refusal

# Unfinished calls, with their ancestors, in the traces of the requested calls: 3 µs and 100 bytes of an answer each.
OPEN_CALLS_READ_MAX = 200_000

OpenCalls = Mapping[int, tuple[int | None, bytes | None]]
"""The unfinished calls of a trace and all their ancestors: number -> (parent's number, packed id if unfinished)."""


async def answer_usage(reader: StoreReader, project: OpenedProject, question: UsageQuestion) -> bytes:
    """The JSON of a CallsUsageRes. Raises Refusal (413) where too many calls are unfinished, and StateLost."""
    places = await select_ids(reader, project, question.call_ids)
    selected: dict[ProjectShard, set[int]] = {}
    for shard, number in chain.from_iterable(places.values()):
        selected.setdefault(shard, set()).add(number)
    calls = await read_calls(reader, selected)
    usage: dict[str, dict[str, Any]] = {}
    open_roots: dict[tuple[ProjectShard, bytes], set[int]] = {}
    for call_id in question.call_ids:
        place = next((one for one in places.get(call_id, ()) if one in calls and calls[one].is_started), None)
        if place is None:
            usage[call_id] = {}
            continue
        call = calls[place]
        total = call.total()
        usage[call_id] = _by_model(total.usage, question.include_costs)
        if total.unfinished:
            open_roots.setdefault((place[0], call.trace), set()).add(place[1])
    unfinished = await _unfinished(reader, open_roots)
    await reader.fetch_of(project, [])
    return msgspec.json.encode({"call_usage": usage, "unfinished_call_ids": sorted(unfinished)})


async def _unfinished(reader: StoreReader, roots: Mapping[tuple[ProjectShard, bytes], set[int]]) -> set[str]:
    keys = [shard.keys.open_calls(shard.project, trace) for shard, trace in roots]
    if sum(await reader.fetch([("HLEN", key) for key in keys])) > OPEN_CALLS_READ_MAX:
        sentence = f"The traces of these calls have more than {OPEN_CALLS_READ_MAX:,} unfinished calls; ask for fewer."
        raise Refusal(413, ("body", "call_ids"), sentence, "too_long")
    replies = await reader.fetch([("HGETALL", key) for key in keys])
    found: set[str] = set()
    for stored, wanted in zip(replies, roots.values(), strict=True):
        open_calls = {int(number): _entry_decoder.decode(entry) for number, entry in stored.items()}
        found.update(unpack_id(packed) for packed in unfinished_below(open_calls, wanted))
    return found


def unfinished_below(open_calls: OpenCalls, roots: set[int]) -> list[bytes]:
    """Packed ids of the unfinished calls among `roots` and their descendants, each once."""
    children: dict[int | None, list[int]] = {}
    for number, (parent, _) in open_calls.items():
        children.setdefault(parent, []).append(number)
    found = []
    to_visit, seen = [number for number in roots if number in open_calls], set(roots)
    while to_visit:
        number = to_visit.pop()
        packed_id = open_calls[number][1]
        if packed_id is not None:
            found.append(packed_id)
        below = [child for child in children.get(number, ()) if child not in seen]
        seen.update(below)
        to_visit.extend(below)
    return found


_entry_decoder = msgspec.msgpack.Decoder(tuple[int | None, bytes | None])


def _by_model(usage: Usage, include_costs: bool) -> dict[str, dict[str, Any]]:
    """By model in byte order: the same calls give the same answer, in whatever order they came."""
    used = sorted(model for model, numbers in usage.items() if any(numbers[:COUNTS]))
    return {model: _fields(usage[model], include_costs) for model in used}


def _fields(numbers: list[int], include_costs: bool) -> dict[str, Any]:
    costs: list[float | None] = [None] * 4
    if include_costs and len(numbers) == PRICED:
        costs = [pico_dollars / PICO_PER_DOLLAR for pico_dollars in numbers[COUNTS:]]
    prompt_tokens, completion_tokens, total_tokens, cache_read, cache_creation, requests = numbers[:COUNTS]
    uncached_cost, cache_read_cost, cache_creation_cost, completion_cost = costs
    return {
        "requests": requests,
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": total_tokens,
        "cache_read_input_tokens": cache_read,
        "cache_creation_input_tokens": cache_creation,
        "prompt_tokens_total_cost": uncached_cost,
        "completion_tokens_total_cost": completion_cost,
        "cache_read_input_tokens_total_cost": cache_read_cost,
        "cache_creation_input_tokens_total_cost": cache_creation_cost,
    }
