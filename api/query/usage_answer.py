"""Answering `/calls/usage`: one record per requested id, and the open calls of its trace where it has any."""

from typing import Any, NamedTuple

import msgspec

from aggregator.calls.call import Call, counted_usage
from aggregator.calls.packed_id import unpack_id
from aggregator.calls.usage_vector import COSTS, COUNTS, PRICED_ROWS, Usage, Vector
from aggregator.reading.calls import read_by_ids
from aggregator.reading.open_calls import TraceOfShard, read_open_calls, traces_elsewhere, unfinished_below
from aggregator.reading.rollups import TooMuchToRead
from aggregator.rollups.totals import PICO_PER_DOLLAR
from aggregator.store.reader import OpenedProject, ProjectShard, StoreReader
from api.query.questions import UsageQuestion
from api.refusals import Refusal

# The fields of an answer, in the order of the numbers of a usage vector.
_COUNT_FIELDS = (
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "requests",
)
_COST_FIELDS = (
    "prompt_tokens_total_cost",
    "cache_read_input_tokens_total_cost",
    "cache_creation_input_tokens_total_cost",
    "completion_tokens_total_cost",
)


class UsageAnswer(NamedTuple):
    """The JSON of an answer, and those of its calls of whose trace another shard holds a part, too.

    What is below these may not be known here, so that too little may be told of them.
    """

    body: bytes
    split_call_ids: tuple[str, ...]


class UsageOfCalls:
    """Gathers the usage of calls with all their descendants, and what is still unfinished of them."""

    def __init__(self, include_costs: bool) -> None:
        self.by_id: dict[str, dict[str, Any]] = {}
        self._include_costs = include_costs
        self._open_roots: dict[TraceOfShard, set[int]] = {}
        self._traces: dict[TraceOfShard, list[str]] = {}

    def add(self, call_id: str, place: tuple[ProjectShard, int], call: Call) -> None:
        """Report a started call, whose record is at this place."""
        shard, number = place
        total = call.total()
        self.by_id[call_id] = by_model(total.usage, self._include_costs)
        self._traces.setdefault((shard, call.trace), []).append(call_id)
        if total.unfinished:
            self._open_roots.setdefault((shard, call.trace), set()).add(number)

    def add_unknown(self, call_id: str) -> None:
        """Report a call that has no start."""
        self.by_id[call_id] = {}

    async def answer(self, reader: StoreReader, project: OpenedProject) -> UsageAnswer:
        """Read what is still open, and put the answer together. Raises Refusal (413), and StateLost."""
        try:
            opened = await read_open_calls(reader, list(self._open_roots))
        except TooMuchToRead as too_much:
            raise Refusal(413, ("body", "call_ids"), f"{too_much}; ask for fewer.", "too_long") from None
        unfinished: set[str] = set()
        for open_calls, wanted in zip(opened, self._open_roots.values(), strict=True):
            unfinished.update(unpack_id(packed) for packed in unfinished_below(open_calls, wanted))
        split = await traces_elsewhere(reader, project, self._traces)
        await reader.fetch_of(project, [])
        return UsageAnswer(
            msgspec.json.encode({"call_usage": self.by_id, "unfinished_call_ids": sorted(unfinished)}),
            tuple(call_id for trace, call_ids in self._traces.items() if trace in split for call_id in call_ids),
        )


async def answer_usage(reader: StoreReader, project: OpenedProject, question: UsageQuestion) -> UsageAnswer:
    """The JSON of a CallsUsageRes. Raises Refusal (413) where too many calls are unfinished, and StateLost."""
    found = await read_by_ids(reader, project, question.call_ids)
    usage = UsageOfCalls(question.include_costs)
    for call_id in question.call_ids:
        started = ((place, call) for place, call in found.get(call_id, {}).items() if call.is_started)
        place, call = next(started, (None, None))
        if place is None or call is None:
            usage.add_unknown(call_id)
        else:
            usage.add(call_id, place, call)
    return await usage.answer(reader, project)


def by_model(usage: Usage, include_costs: bool) -> dict[str, dict[str, Any]]:
    """Usage as an answer states it, by model in byte order: an object for each of which any count is not 0.

    The same calls give the same answer, in whatever order they came.
    """
    return {model: _fields(vector, include_costs) for model, vector in sorted(counted_usage(usage).items())}


def _fields(vector: Vector, include_costs: bool) -> dict[str, Any]:
    costs: list[float | None] = [None] * 4
    if include_costs and vector[PRICED_ROWS]:
        costs = [pico_dollars / PICO_PER_DOLLAR for pico_dollars in vector[COSTS]]
    return dict(zip(_COUNT_FIELDS, vector[COUNTS], strict=True)) | dict(zip(_COST_FIELDS, costs, strict=True))
