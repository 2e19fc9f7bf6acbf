"""What a request may say, and where it is refused (behaviour §5 and the OpenAPI documents)."""

from collections.abc import Sequence
from typing import Any
from zoneinfo import available_timezones

from tests.brute_force import instants

CALL_METRICS = ("latency_ms", "call_count", "error_count")
USAGE_METRICS = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "input_cost",
    "output_cost",
    "total_cost",
)
AGGREGATIONS = ("sum", "avg", "min", "max", "count", "count_true", "count_false")
FILTER_LISTS = (
    "op_names",
    "input_refs",
    "output_refs",
    "parent_ids",
    "trace_ids",
    "call_ids",
    "thread_ids",
    "turn_ids",
    "wb_user_ids",
    "wb_run_ids",
)
FILTER_VALUES_MAX = 1000
METRIC_SPECS_MAX = 100
USAGE_LIMIT_DEFAULT = 10_000

STATS_FIELDS = (
    "project_id",
    "start",
    "end",
    "granularity",
    "usage_metrics",
    "call_metrics",
    "filter",
    "timezone",
)
TRACE_USAGE_FIELDS = ("project_id", "filter", "query", "include_costs", "limit")
USAGE_FIELDS = ("project_id", "call_ids", "include_costs", "limit")
SPEC_FIELDS = ("metric", "aggregations", "percentiles")

Location = tuple[str | int, ...]


class Refused(Exception):
    """The request is refused with this status; `loc` is that of the first detail, empty where there is none."""

    def __init__(self, status: int, *loc: str | int) -> None:
        super().__init__(status, loc)
        self.status = status
        self.loc = list(loc)


def check_stats(request: Any) -> None:
    """Raise Refused unless `request` is a valid CallStatsReq (but for `end < start`)."""
    _check_fields(request, STATS_FIELDS, ("body",))
    _check_text(request, "project_id")
    check_instant(request.get("start"), "start")
    if request.get("end") is not None:
        check_instant(request["end"], "end")
    if request.get("granularity") is not None:
        _check_integer(request["granularity"], 1, ("body", "granularity"))
    for field, metrics in (("usage_metrics", USAGE_METRICS), ("call_metrics", CALL_METRICS)):
        if request.get(field) is not None:
            _check_specs(request[field], metrics, ("body", field))
    if request.get("filter") is not None:
        _check_filter(request["filter"])
    if "timezone" in request:
        zone = request["timezone"]
        _require(isinstance(zone, str) and zone in available_timezones(), ("body", "timezone"))


def check_usage(request: Any) -> None:
    """Raise Refused unless `request` is a valid CallsUsageReq, within its own limit."""
    _check_fields(request, USAGE_FIELDS, ("body",))
    _check_text(request, "project_id")
    _check_list(request.get("call_ids"), ("body", "call_ids"))
    for index, call_id in enumerate(request["call_ids"]):
        _require(isinstance(call_id, str), ("body", "call_ids", index))
    _require(isinstance(request.get("include_costs", False), bool), ("body", "include_costs"))
    limit = request.get("limit", USAGE_LIMIT_DEFAULT)
    _check_integer(limit, 1, ("body", "limit"))
    if len(set(request["call_ids"])) > limit:
        raise Refused(413)


def check_trace_usage(request: Any) -> None:
    """Raise Refused unless `request` is a valid TraceUsageReq; a query is known, but not answered."""
    _check_fields(request, TRACE_USAGE_FIELDS, ("body",))
    _check_text(request, "project_id")
    if request.get("filter") is not None:
        _check_filter(request["filter"])
    _require(request.get("query") is None, ("body", "query"))
    _require(isinstance(request.get("include_costs", False), bool), ("body", "include_costs"))
    _check_integer(request.get("limit", USAGE_LIMIT_DEFAULT), 1, ("body", "limit"))


def check_instant(value: Any, field: str) -> int:
    """The instant, in microseconds, of a request's field."""
    try:
        return instants.from_text(value)
    except (TypeError, ValueError) as error:
        raise Refused(422, "body", field) from error


def _check_fields(value: Any, known: Sequence[str], loc: Location) -> None:
    _require(isinstance(value, dict), loc)
    for field in value:
        _require(field in known, (*loc, field))


def _check_text(request: dict[str, Any], field: str) -> None:
    _require(isinstance(request.get(field), str), ("body", field))


def _check_integer(value: Any, least: int, loc: Location) -> None:
    whole = isinstance(value, (int, float)) and not isinstance(value, bool) and value == value // 1
    _require(whole and value >= least, loc)


def _check_list(value: Any, loc: Location) -> None:
    _require(isinstance(value, list), loc)


def _check_specs(specs: Any, metrics: Sequence[str], loc: Location) -> None:
    _check_list(specs, loc)
    _require(len(specs) <= METRIC_SPECS_MAX, loc)
    for index, spec in enumerate(specs):
        here = (*loc, index)
        _check_fields(spec, SPEC_FIELDS, here)
        _require(spec.get("metric") in metrics, (*here, "metric"))
        for field in ("aggregations", "percentiles"):
            _check_list(spec.get(field, []), (*here, field))
        for place, aggregation in enumerate(spec.get("aggregations", [])):
            _require(aggregation in AGGREGATIONS, (*here, "aggregations", place))
        for place, percentile in enumerate(spec.get("percentiles", [])):
            number = isinstance(percentile, (int, float)) and not isinstance(percentile, bool)
            _require(number and 0 <= percentile <= 100, (*here, "percentiles", place))


def _check_filter(filters: Any) -> None:
    _check_fields(filters, (*FILTER_LISTS, "trace_roots_only"), ("body", "filter"))
    for field in FILTER_LISTS:
        values = filters.get(field)
        if values is None:
            continue
        here = ("body", "filter", field)
        _check_list(values, here)
        _require(len(values) <= FILTER_VALUES_MAX, here)
        for index, value in enumerate(values):
            _require(isinstance(value, str), (*here, index))
    roots_only = filters.get("trace_roots_only")
    _require(roots_only is None or isinstance(roots_only, bool), ("body", "filter", "trace_roots_only"))


def _require(valid: bool, loc: Location) -> None:
    if not valid:
        raise Refused(422, *loc)
