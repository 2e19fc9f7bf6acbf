"""The answer of `POST /calls/stats` by scanning every call (behaviour §2)."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple, TypeVar

from tests.brute_force import instants
from tests.brute_force.buckets import Bucket, buckets_of
from tests.brute_force.calls import Call, passes
from tests.brute_force.prices import PICO_PER_USD, Cost, PriceList
from tests.brute_force.quantiles import allowed_range, percentile
from tests.brute_force.requests import Refused, check_instant, check_stats
from tests.brute_force.usage import Counts

BUCKETS_MAX = 10_000
HOUR_S, DAY_S = 3600, 86_400
# The granularity of a range of at most so many seconds, when the request names none.
GRANULARITY_OF_RANGE = ((2 * HOUR_S, 300), (12 * HOUR_S, 3600), (3 * DAY_S, 21_600), (14 * DAY_S, 43_200))

Number = int | Fraction
# Allowed percentiles, as in the golden cases: part, row number, key, lowest and highest.
Ranges = dict[str, dict[str, dict[str, list[float | int]]]]


class StatsAnswer(NamedTuple):
    """The body of the answer, and what a percentile of more than 50 values may be."""

    body: dict[str, Any]
    ranges: Ranges


class CallRow(NamedTuple):
    """One call's contribution to the call metrics."""

    started_at_us: int
    latency_ms: int | None
    failed: bool


class UsageRow(NamedTuple):
    """One (call, model)'s contribution to the usage metrics."""

    started_at_us: int
    model: str
    counts: Counts
    cost: Cost | None


def answer_stats(calls: Iterable[Call], prices: PriceList, request: Any, now_us: int) -> StatsAnswer:
    """Answer for these calls (those of the project that have a start). Raises Refused."""
    check_stats(request)
    start_us = check_instant(request["start"], "start")
    end_us = now_us if request.get("end") is None else check_instant(request["end"], "end")
    if end_us < start_us:
        raise Refused(422, "body", "end")
    granularity_s = granularity_of(end_us - start_us, request.get("granularity"))
    timezone = request.get("timezone", "UTC")
    call_specs, usage_specs = request.get("call_metrics") or [], request.get("usage_metrics") or []
    body = {
        "start": instants.to_text(start_us),
        "end": instants.to_text(end_us),
        "granularity": granularity_s,
        "timezone": timezone,
        "usage_buckets": [],
        "call_buckets": [],
    }
    ranges: Ranges = {}
    if call_specs or usage_specs:
        buckets = buckets_of(start_us, end_us, granularity_s, timezone)
        selected = _select(calls, start_us, end_us, request.get("filter") or {})
        call_table = _call_table(selected, buckets, call_specs) if call_specs else []
        roots_only = bool((request.get("filter") or {}).get("trace_roots_only"))
        usage_rows = [
            UsageRow(call.start.started_at_us, *row)
            for call in (selected if usage_specs else [])
            if call.start is not None
            for row in call.used(prices, roots_only)
        ]
        usage_table = _usage_table(usage_rows, buckets, usage_specs) if usage_specs else []
        for part, table in (("call_buckets", call_table), ("usage_buckets", usage_table)):
            body[part] = [row for row, _ in table]
            allowed = {str(number): allowed for number, (_, allowed) in enumerate(table) if allowed}
            if allowed:
                ranges[part] = allowed
    return StatsAnswer(body, ranges)


def granularity_of(range_us: int, asked_s: int | None) -> int:
    """The bucket size used for a range, in seconds: what was asked or fits, larger above 10,000 buckets."""
    range_s = Fraction(range_us, instants.SECOND_US)
    granularity_s = next((size for longest, size in GRANULARITY_OF_RANGE if range_s <= longest), DAY_S)
    if asked_s is not None:
        granularity_s = int(asked_s)
    if range_s / granularity_s > BUCKETS_MAX:
        granularity_s = max(granularity_s, range_s // BUCKETS_MAX + 1)
        if granularity_s >= 60:
            granularity_s = -(-granularity_s // 60) * 60
    return granularity_s


def _select(calls: Iterable[Call], start_us: int, end_us: int, filters: Mapping[str, Any]) -> list[Call]:
    return [
        call
        for call in calls
        if call.start is not None
        and start_us <= call.start.started_at_us < end_us
        and passes(call, call.start, filters)
    ]


Row = TypeVar("Row", CallRow, UsageRow)
Table = list[tuple[dict[str, Any], dict[str, list[float | int]]]]


def _call_table(calls: Sequence[Call], buckets: Sequence[Bucket], specs: Sequence[Any]) -> Table:
    """One row per bucket, with the ranges of its percentiles."""
    rows = [
        CallRow(call.start.started_at_us, call.latency_ms, call.end is not None and call.end.failed)
        for call in calls
        if call.start is not None
    ]
    table: Table = []
    for bucket, inside in _split(rows, buckets):
        cells: dict[str, Any] = {"timestamp": instants.to_text(bucket.start_us, bucket.offset_s)}
        allowed: dict[str, list[float | int]] = {}
        for spec in specs:
            values = [value for row in inside if (value := _CALL_VALUES[spec["metric"]](row)) is not None]
            _fill(cells, allowed, spec, values, 0)
        table.append((cells | {"count": len(inside)}, allowed))
    return table


def _usage_table(rows: Sequence[UsageRow], buckets: Sequence[Bucket], specs: Sequence[Any]) -> Table:
    """One row per bucket and model seen in the window, with the ranges of its percentiles."""
    models = sorted({row.model for row in rows}, key=lambda model: model.encode("utf-8", "surrogatepass"))
    priced = {row.model for row in rows if row.cost is not None}
    table: Table = []
    for bucket, inside in _split(rows, buckets):
        for model in models:
            of_model = [row for row in inside if row.model == model]
            cells = {"timestamp": instants.to_text(bucket.start_us, bucket.offset_s), "model": model}
            allowed: dict[str, list[float | int]] = {}
            for spec in specs:
                values = [value for row in of_model if (value := _USAGE_VALUES[spec["metric"]](row)) is not None]
                unpriced = not values and (bool(of_model) or model not in priced)
                is_cost = spec["metric"].endswith("_cost")
                _fill(cells, allowed, spec, values, None if is_cost and unpriced else 0)
            table.append((cells | {"count": len(of_model)}, allowed))
    return table


def _split(rows: Sequence[Row], buckets: Sequence[Bucket]) -> list[tuple[Bucket, list[Row]]]:
    """The rows of each bucket; every row is in exactly one."""
    inside: dict[Bucket, list[Row]] = defaultdict(list)
    for row in rows:
        (bucket,) = [b for b in buckets if b.start_us <= row.started_at_us < b.end_us]
        inside[bucket].append(row)
    return [(bucket, inside[bucket]) for bucket in buckets]


_CALL_VALUES: dict[str, Callable[[CallRow], int | None]] = {
    "latency_ms": lambda row: row.latency_ms,
    "call_count": lambda row: 1,
    "error_count": lambda row: int(row.failed),
}
_USAGE_VALUES: dict[str, Callable[[UsageRow], Number | None]] = {
    "input_tokens": lambda row: row.counts.input_tokens,
    "output_tokens": lambda row: row.counts.output_tokens,
    "total_tokens": lambda row: row.counts.total_tokens,
    "cache_read_input_tokens": lambda row: row.counts.cache_read_input_tokens,
    "cache_creation_input_tokens": lambda row: row.counts.cache_creation_input_tokens,
    "input_cost": lambda row: None if row.cost is None else Fraction(sum(row.cost[:3]), PICO_PER_USD),
    "output_cost": lambda row: None if row.cost is None else Fraction(row.cost.output_pico, PICO_PER_USD),
    "total_cost": lambda row: None if row.cost is None else Fraction(sum(row.cost), PICO_PER_USD),
}


def _fill(
    cells: dict[str, Any],
    allowed: dict[str, list[float | int]],
    spec: Mapping[str, Any],
    values: Sequence[Number],
    nothing: int | None,
) -> None:
    """Add the keys of one metric; `nothing` is the sum and average of no values."""
    metric = spec["metric"]
    aggregations, percents = spec.get("aggregations", ["sum"]), spec.get("percentiles", [])
    if not aggregations and not percents:
        aggregations = ["sum"]
    for aggregation in aggregations:
        cells[f"{aggregation}_{metric}"] = _aggregate(aggregation, values, nothing)
    ordered = sorted(values)
    for percent in percents:
        key, exact_percent = f"p{_label(percent)}_{metric}", Fraction(str(percent))
        cells[key] = float(percentile(ordered, exact_percent)) if ordered else None
        bounds = allowed_range(ordered, exact_percent)
        if bounds is not None:
            allowed[key] = [_plain(bound) for bound in bounds]


def _aggregate(aggregation: str, values: Sequence[Number], nothing: int | None) -> float | int | None:
    if aggregation.startswith("count"):
        counted = {"count": values, "count_true": [v for v in values if v == 1]}
        return len(counted.get(aggregation, [v for v in values if v == 0]))
    if not values:
        return nothing if aggregation in ("sum", "avg") else None
    if aggregation == "avg":
        return float(Fraction(sum(values), len(values)))
    if aggregation == "sum":
        return _plain(sum(values))
    return _plain(min(values) if aggregation == "min" else max(values))


def _plain(number: Number) -> float | int:
    return number if isinstance(number, int) else float(number)


def _label(percent: float) -> str:
    """`95` for 95 and 95.0, `99.9` for 99.9."""
    return str(int(percent)) if percent == int(percent) else str(percent)
