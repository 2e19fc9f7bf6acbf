"""The answer of `POST /calls/examples` by scanning every call: docs/endpoints.md."""

from collections.abc import Iterable
from typing import Any

from tests.brute_force import instants
from tests.brute_force.breakdown import selected
from tests.brute_force.calls import Call
from tests.brute_force.prices import PICO_PER_USD, PriceList

Json = dict[str, Any]


def answer_examples(calls: Iterable[Call], prices: PriceList, request: Json) -> Json:
    """Answer for the calls of a project; instants are absolute."""
    start_us, end_us = (instants.from_text(request[edge]) for edge in ("start", "end"))
    kind = request.get("kind", "newest")
    ranked = []
    for call in selected(calls, start_us, end_us, request):
        assert call.start is not None
        example = _example(call, prices)
        rank = {
            "newest": call.start.started_at_us,
            "failing": call.start.started_at_us if example["failed"] else None,
            "slowest": example["latency_ms"],
            "dearest": example["cost"],
        }[kind]
        if rank is not None:
            ranked.append((rank, call.start.started_at_us, example))
    ranked.sort(key=lambda one: (-one[0], -one[1], one[2]["id"]))
    return {
        "start": instants.to_text(start_us),
        "end": instants.to_text(end_us),
        "kind": kind,
        "calls": [example for _, _, example in ranked[: request.get("limit", 20)]],
        "complete": True,
    }


def _example(call: Call, prices: PriceList) -> Json:
    assert call.start is not None
    used = call.used(prices)
    costs = [sum(cost) for _, _, cost in used if cost is not None]
    return {
        "id": call.call_id,
        "trace_id": call.place[1],
        "parent_id": call.start.parent_id,
        "op_name": call.start.op_name,
        "wb_user_id": call.start.wb_user_id,
        "wb_run_id": call.start.wb_run_id,
        "started_at": instants.to_text(call.start.started_at_us),
        "ended_at": None if call.end is None else instants.to_text(call.end.ended_at_us),
        "latency_ms": call.latency_ms,
        "models": sorted(call.models(prices)),
        "input_tokens": sum(counts.input_tokens for _, counts, _ in used),
        "output_tokens": sum(counts.output_tokens for _, counts, _ in used),
        "total_tokens": sum(counts.total_tokens for _, counts, _ in used),
        "cost": sum(costs) / PICO_PER_USD if costs else None,
        "failed": call.end is not None and call.end.failed,
        "error": call.end.error if call.end is not None and call.end.failed else None,
        "link": None,
    }
