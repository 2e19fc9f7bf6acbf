"""The answer of `POST /calls/breakdown` by scanning every call: docs/endpoints.md."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.brute_force import instants
from tests.brute_force.calls import Call, passes
from tests.brute_force.prices import PriceList
from tests.brute_force.stats import _CALL_VALUES, _USAGE_VALUES, CallRow, UsageRow, _fill

Json = dict[str, Any]
Value = str | bool | None


def answer_breakdown(calls: Iterable[Call], prices: PriceList, request: Json) -> Json:
    """Answer for the calls of a project; instants are absolute."""
    started = [call for call in calls if call.start is not None]
    start_us, end_us = (instants.from_text(request[edge]) for edge in ("start", "end"))
    inside = selected(started, start_us, end_us, request)
    before = selected(started, 2 * start_us - end_us, start_us, request)
    groups = _by_value(inside, prices, request)
    rows: list[Json] = [
        ({"value": value} | _row(of_value, prices, request, value)) for value, of_value in groups.items()
    ]
    key = _order_key(request)
    rows.sort(key=lambda row: (not row["value"], str(row["value"])))
    known = [row for row in rows if row[key] is not None]
    known.sort(key=lambda row: row[key], reverse=request.get("order", "desc") == "desc")
    rows = known + [row for row in rows if row[key] is None]
    limit = request.get("limit", 20)
    total = _row(inside, prices, request | {"dimension": "op_name"}, "total")
    first, others = rows[:limit], [row["value"] for row in rows[limit:]]
    compare = request.get("compare") == "previous"
    of_before = _by_value(before, prices, request)
    for row in first:
        row["share"] = _share(row, total, key)
        earlier = _row(of_before.get(row["value"], []), prices, request, row["value"])
        row["previous"] = earlier if compare else None
    rest = None
    if others:
        of_rest = [call for value in others for call in groups[value]]
        rest = {"values": len(others)} | _row(of_rest, prices, request, None if not all(others) else "rest", others)
    answer = {
        "start": instants.to_text(start_us),
        "end": instants.to_text(end_us),
        "dimension": request["dimension"],
        "order_by": key,
        "rows": first,
        "rest": rest,
        "total": total,
    }
    if compare:
        total["previous"] = _row(before, prices, request | {"dimension": "op_name"}, "total")
        answer["previous_start"] = instants.to_text(2 * start_us - end_us).replace("+00:00", "Z")
        answer["previous_end"] = instants.to_text(start_us).replace("+00:00", "Z")
    return answer


def _roots_only(request: Json) -> bool:
    return bool((request.get("filter") or {}).get("trace_roots_only"))


def selected(calls: Iterable[Call], start_us: int, end_us: int, request: Json) -> list[Call]:
    """The started calls of a window that pass the request's filter."""
    filters = request.get("filter") or {}
    return [
        call
        for call in calls
        if call.start is not None
        and start_us <= call.start.started_at_us < end_us
        and passes(call, call.start, filters)
    ]


def _by_value(calls: Sequence[Call], prices: PriceList, request: Json) -> dict[Value, list[Call]]:
    groups: dict[Value, list[Call]] = {}
    for call in calls:
        assert call.start is not None
        by_dimension: dict[str, Sequence[Value]] = {
            "op_name": [call.start.op_name],
            "wb_user_id": [call.start.wb_user_id],
            "wb_run_id": [call.start.wb_run_id],
            "trace_root": [call.start.parent_id is None],
            "model": [row.model for row in call.used(prices, _roots_only(request))],
        }
        for value in by_dimension[request["dimension"]]:
            groups.setdefault(value, []).append(call)
    return groups


def _row(calls: Sequence[Call], prices: PriceList, request: Json, value: Value, others: Sequence[Value] = ()) -> Json:
    of_calls = [
        CallRow(call.start.started_at_us, call.latency_ms, call.end is not None and call.end.failed)
        for call in calls
        if call.start is not None
    ]
    distinct = {id(call): call for call in calls}.values()
    of_usage = [
        UsageRow(call.start.started_at_us, *used)
        for call in distinct
        if call.start is not None
        for used in call.used(prices, _roots_only(request))
        if request["dimension"] != "model" or used[0] in (others or (value,))
    ]
    row: Json = {}
    for spec in request.get("call_metrics") or []:
        values: list[Any] = [got for one in of_calls if (got := _CALL_VALUES[spec["metric"]](one)) is not None]
        _fill(row, {}, spec, values, 0)
    for spec in request.get("usage_metrics") or []:
        used: list[Any] = [worth for one in of_usage if (worth := _USAGE_VALUES[spec["metric"]](one)) is not None]
        unpriced = bool(of_usage) and spec["metric"].endswith("_cost")
        _fill(row, {}, spec, used, None if unpriced else 0)
    if not value and request["dimension"] != "model":
        unknown = [key for key in row if key[0] == "p" or key.startswith(("min_", "max_"))]
        row |= dict.fromkeys(unknown)
    return row | {"count": len(of_calls)}


def _order_key(request: Json) -> str:
    if request.get("order_by") is not None:
        key: str = request["order_by"]
        return key
    specs = [*(request.get("call_metrics") or []), *(request.get("usage_metrics") or [])]
    keys: Json = {}
    # A metric that is asked twice has the aggregations of both before the percentiles of both.
    for spec in (one for one in specs if one["metric"] == specs[0]["metric"]):
        _fill(keys, {}, spec, [], 0)
    return next(iter(sorted(keys, key=lambda key: key[0] == "p")), "count")


def _share(row: Mapping[str, Any], total: Mapping[str, Any], key: str) -> float | None:
    if not key.startswith(("sum_", "count")) or row[key] is None or total[key] is None:
        return None
    return row[key] / total[key] if total[key] else 0.0


def answer_values(calls: Iterable[Call], prices: PriceList, request: Json) -> Json:
    """The answer of `POST /calls/values`; instants are absolute."""
    start_us, end_us = (instants.from_text(request[edge]) for edge in ("start", "end"))
    groups = _by_value(selected(calls, start_us, end_us, {}), prices, request["dimension"])
    found = [
        {"value": value, "count": len(of_value)}
        for value, of_value in groups.items()
        if isinstance(value, str) and value.startswith(request.get("prefix", ""))
    ]
    found.sort(key=lambda row: (-int(str(row["count"])), row["value"]))
    limit = request.get("limit", 100)
    return {
        "start": instants.to_text(start_us),
        "end": instants.to_text(end_us),
        "dimension": request["dimension"],
        "values": found[:limit],
        "more": len(found) > limit,
    }
