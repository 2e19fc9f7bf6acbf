"""The answer of `POST /calls/breakdown` by scanning every call: docs/endpoints.md."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.brute_force import instants
from tests.brute_force.calls import Call, passes
from tests.brute_force.prices import PriceList
from tests.brute_force.stats import _CALL_VALUES, _USAGE_VALUES, CallRow, UsageRow, _fill

Json = dict[str, Any]
Value = str | bool | None


@dataclass
class Group:
    """The counts of one row: calls, and usage by row of (call, model)."""

    calls: list[Call] = field(default_factory=list)
    usage: list[UsageRow] = field(default_factory=list)

    def __add__(self, other: "Group") -> "Group":
        return Group(self.calls + other.calls, self.usage + other.usage)


def answer_breakdown(calls: Iterable[Call], prices: PriceList, request: Json) -> Json:
    """Answer for the calls of a project; instants are absolute."""
    started = [call for call in calls if call.start is not None]
    start_us, end_us = (instants.from_text(request[edge]) for edge in ("start", "end"))
    inside = selected(started, start_us, end_us, request)
    before = selected(started, 2 * start_us - end_us, start_us, request)
    groups, total_group = _by_value(inside, prices, request)
    groups_before, total_before = _by_value(before, prices, request)
    key = _order_key(request)
    rows = _ordered_rows(groups, request, key)
    limit = request.get("limit", 20)
    total = _row(total_group, request)
    first, others = rows[:limit], [row["value"] for row in rows[limit:]]
    compare = request.get("compare") == "previous"
    for row in first:
        value = row["value"]
        row["share"] = _share(row, total, key)
        earlier = _row(
            groups_before.get(value, Group()), request, value in groups_before and _is_unknown(value, request)
        )
        row["previous"] = earlier if compare else None
    rest = None
    if others:
        unknown = any(_is_unknown(value, request) for value in others)
        rest = {"values": len(others)} | _row(sum((groups[value] for value in others), Group()), request, unknown)
    answer = {
        "start": instants.to_text(start_us),
        "end": instants.to_text(end_us),
        "dimension": request["dimension"],
        "order_by": key,
        "rows": first,
        "rest": rest,
        "total": total,
    }
    if request["dimension"] == "model":
        answer["calls_without_model"] = sum(not call.models(prices) for call in inside)
    if compare:
        total["previous"] = _row(total_before, request)
        answer["previous_start"] = instants.to_text(2 * start_us - end_us).replace("+00:00", "Z")
        answer["previous_end"] = instants.to_text(start_us).replace("+00:00", "Z")
    if request.get("more_starts"):
        answer["windows"] = [_window_alone(started, prices, request, start) for start in request["more_starts"]]
    return answer


def _window_alone(calls: Iterable[Call], prices: PriceList, request: Json, start: str) -> Json:
    """A further window, as a question of its own has it."""
    alone = answer_breakdown(calls, prices, request | {"start": start, "more_starts": None, "compare": None})
    edges = {edge: alone[edge].replace("+00:00", "Z") for edge in ("start", "end")}
    return {name: alone[name] for name in alone if name not in ("dimension", "order_by")} | edges


def _ordered_rows(groups: Mapping[Value, Group], request: Json, key: str) -> list[Json]:
    """A row for each value, by the key it is ordered by; where that is null, last."""
    rows: list[Json] = [
        {"value": value} | _row(group, request, _is_unknown(value, request)) for value, group in groups.items()
    ]
    rows.sort(key=lambda row: (not row["value"], str(row["value"])))
    known = [row for row in rows if row[key] is not None]
    known.sort(key=lambda row: row[key], reverse=request.get("order", "desc") == "desc")
    return known + [row for row in rows if row[key] is None]


def _is_unknown(value: Value, request: Json) -> bool:
    """Whether nothing but sums and counts is known of a row."""
    return not value and request["dimension"] in ("wb_user_id", "wb_run_id", "trace_root") and value != ""


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


def _by_value(calls: Sequence[Call], prices: PriceList, request: Json) -> tuple[dict[Value, Group], Group]:
    """Returns what each row counts, and what all do together; of errors, only calls that failed."""
    dimension = request["dimension"]
    groups: dict[Value, Group] = {}
    total = Group()
    for call in calls:
        assert call.start is not None
        failed = call.end is not None and call.end.failed
        if dimension == "error" and not failed:
            continue
        by_dimension: dict[str, Sequence[Value]] = {
            "op_name": [call.start.op_name],
            "wb_user_id": [call.start.wb_user_id],
            "wb_run_id": [call.start.wb_run_id],
            "trace_root": [call.start.parent_id is None],
            "error": [call.error_class],
            "model": [*call.models(prices)],
        }
        usage = [UsageRow(call.start.started_at_us, *used) for used in call.used(prices, _roots_only(request))]
        total = total + Group([call], usage)
        for value in by_dimension[dimension]:
            groups.setdefault(value, Group()).calls.append(call)
        for row in usage:
            of_row: Sequence[Value] = [row.model] if dimension == "model" else by_dimension[dimension]
            for value in of_row:
                groups.setdefault(value, Group()).usage.append(row)
    return groups, total


def _row(group: Group, request: Json, unknown: bool = False) -> Json:
    of_calls = [
        CallRow(call.start.started_at_us, call.latency_ms, call.end is not None and call.end.failed)
        for call in group.calls
        if call.start is not None
    ]
    row: Json = {}
    for spec in request.get("call_metrics") or []:
        values: list[Any] = [got for one in of_calls if (got := _CALL_VALUES[spec["metric"]](one)) is not None]
        _fill(row, {}, spec, values, 0)
    for spec in request.get("usage_metrics") or []:
        used: list[Any] = [worth for one in group.usage if (worth := _USAGE_VALUES[spec["metric"]](one)) is not None]
        unpriced = bool(group.usage) and spec["metric"].endswith("_cost")
        _fill(row, {}, spec, used, None if unpriced else 0)
    if unknown:
        row |= dict.fromkeys([key for key in row if key[0] == "p" or key.startswith(("min_", "max_"))])
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
    groups, _ = _by_value(selected(calls, start_us, end_us, {}), prices, request)
    found = [
        {"value": value, "count": len(group.calls)}
        for value, group in groups.items()
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
