"""`POST /calls/stats` on the wire: the request as its schema states it, checked and turned into a StatsQuestion."""

from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictStr,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from aggregator.rollups.series import CallMetric, UsageMetric
from api.contract.field_types import FilterStrings, InstantUs, WholeNumber
from api.query.questions import CallFilter, MetricQuestion, StatsQuestion
from api.query.zones import UnknownZone, load_zone
from api.refusals import invalid, invalid_at

# Metric specs in one list; the law's number. There are eleven metrics: more than this is a mistake.
METRICS_MAX = 100
# Keys of one row: all metrics with all aggregations and every whole percentile are 1,188.
KEYS_MAX = 2_000
# One bucket of 317 years holds everything there is; the edges of longer ones leave the calendar.
GRANULARITY_S_MAX = 10_000_000_000

# A dashboard on many screens asks the same, word for word; checking it takes longer than answering. Some MB in all.
BODIES_REMEMBERED_MAX, BODY_REMEMBERED_BYTES_MAX = 500, 4_000


class AggregationType(StrEnum):
    """Aggregation functions supported by feedback and call stats metrics."""

    SUM = "sum"
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    COUNT = "count"
    COUNT_TRUE = "count_true"
    COUNT_FALSE = "count_false"


def _zone(name: str) -> str:
    try:
        load_zone(name)
    except UnknownZone:
        raise PydanticCustomError("timezone", "Timezone should be a name from the IANA time zone database") from None
    return name


def _percentile(percentile: float) -> float:
    if not 0 <= percentile <= 100:  # refuses NaN too
        raise PydanticCustomError("percentile", "Percentile should be a number from 0 to 100")
    return percentile


def _granularity(granularity_s: int) -> int:
    if not 1 <= granularity_s <= GRANULARITY_S_MAX:
        raise PydanticCustomError("granularity", f"Granularity should be from 1 to {GRANULARITY_S_MAX} seconds")
    return granularity_s


def _no_more_metrics(specs: list[Any]) -> list[Any]:
    if len(specs) > METRICS_MAX:
        raise PydanticCustomError("too_long", f"List should have at most {METRICS_MAX} metrics")
    return specs


class _MetricSpec(BaseModel):
    model_config = ConfigDict(extra="forbid")

    metric: str
    aggregations: Annotated[list[AggregationType], Field(fail_fast=True)] = Field(
        default=[AggregationType.SUM], description="Basic aggregation functions to apply"
    )
    percentiles: Annotated[list[Annotated[StrictFloat, AfterValidator(_percentile)]], Field(fail_fast=True)] = Field(
        default=[], description="Percentile values to compute (0-100). E.g., [50, 95, 99] for p50, p95, p99"
    )


class UsageMetricSpec(_MetricSpec):
    """Specification for a usage metric to aggregate (grouped by model)."""

    metric: UsageMetric = Field(description="Metric to aggregate. Token metrics are normalized across providers.")


class CallMetricSpec(_MetricSpec):
    """Specification for a call-level metric to aggregate (not grouped by model)."""

    metric: CallMetric = Field(description="Metric to aggregate.")


class CallsFilter(BaseModel):
    # No docstring: the contract gives this schema no description. Fields AND together, values inside a list OR.
    model_config = ConfigDict(extra="forbid")

    op_names: FilterStrings | None = None
    input_refs: FilterStrings | None = None
    output_refs: FilterStrings | None = None
    parent_ids: FilterStrings | None = None
    trace_ids: FilterStrings | None = None
    call_ids: FilterStrings | None = None
    thread_ids: FilterStrings | None = None
    turn_ids: FilterStrings | None = None
    trace_roots_only: StrictBool | None = None
    wb_user_ids: FilterStrings | None = None
    wb_run_ids: FilterStrings | None = None


METRIC_LIST = (Field(fail_fast=True), AfterValidator(_no_more_metrics))


class CallStatsReq(BaseModel):
    """Request for aggregated call statistics over a time range."""

    model_config = ConfigDict(extra="forbid")

    project_id: StrictStr
    start: InstantUs = Field(description="Inclusive start time (UTC, ISO 8601).")
    end: InstantUs | None = Field(
        default=None, description="Exclusive end time (UTC, ISO 8601). Defaults to now if omitted."
    )
    granularity: Annotated[WholeNumber, AfterValidator(_granularity)] | None = Field(
        default=None,
        description="Bucket size in seconds (e.g., 3600 for 1 hour). If omitted, auto-selected based on time range. "
        "Will be adjusted if it would produce more than 10,000 buckets.",
    )
    usage_metrics: Annotated[list[UsageMetricSpec], *METRIC_LIST] | None = Field(
        default=None, description="Usage metrics (tokens, cost) to compute. Grouped by timestamp and model."
    )
    call_metrics: Annotated[list[CallMetricSpec], *METRIC_LIST] | None = Field(
        default=None, description="Call-level metrics (latency, counts) to compute. Grouped by timestamp only."
    )
    filter: CallsFilter | None = None
    timezone: Annotated[StrictStr, AfterValidator(_zone)] = Field(
        default="UTC", description="IANA timezone for bucket alignment (e.g., 'America/New_York')"
    )


class CallStatsRes(BaseModel):
    """Response containing time-series call statistics."""

    start: InstantUs = Field(description="Resolved start time (UTC)")
    end: InstantUs = Field(description="Resolved end time (UTC)")
    granularity: int = Field(description="Bucket size used (in seconds)")
    timezone: str = Field(description="Timezone used for bucket alignment")
    usage_buckets: list[dict[str, Any]] = Field(
        default=[],
        description="Usage metrics by model. Each bucket contains 'timestamp', 'model', and aggregated metric values.",
    )
    call_buckets: list[dict[str, Any]] = Field(
        default=[],
        description="Call-level metrics. Each bucket contains 'timestamp' and aggregated metric values.",
    )


def read_stats_question(body: bytes, now_us: int) -> StatsQuestion:
    """The question that the JSON `body` asks at `now_us`. Raises Refusal (422) for a body that asks none."""
    question = (_read_again if len(body) <= BODY_REMEMBERED_BYTES_MAX else _read)(body)
    if question.start_us > (now_us if question.end_us is None else question.end_us):
        raise invalid_at(("end",), "The window should not end before it starts")
    return question


def _read(body: bytes) -> StatsQuestion:
    try:
        request = CallStatsReq.model_validate_json(body)
    except ValidationError as wrong:
        raise invalid(wrong) from None
    return StatsQuestion(
        project_id=request.project_id,
        start_us=request.start,
        end_us=request.end,
        granularity_s=request.granularity,
        timezone=request.timezone,
        usage_metrics=metric_questions("usage_metrics", request.usage_metrics),
        call_metrics=metric_questions("call_metrics", request.call_metrics),
        filter=call_filter(request.filter or CallsFilter(), request.project_id),
    )


_read_again = lru_cache(BODIES_REMEMBERED_MAX)(_read)


def metric_questions(field: str, specs: Sequence[_MetricSpec] | None) -> tuple[MetricQuestion, ...]:
    """One question per metric, in the order of first mention; a metric asked twice gets the keys of both."""
    asked: dict[str, tuple[list[str], list[float]]] = {}
    for spec in specs or ():
        aggregations, percentiles = asked.setdefault(spec.metric, ([], []))
        aggregations += [aggregation.value for aggregation in spec.aggregations]
        if not spec.aggregations and not spec.percentiles:
            aggregations.append(AggregationType.SUM.value)
        percentiles += spec.percentiles
    metrics = tuple(
        MetricQuestion(metric, tuple(dict.fromkeys(aggregations)), tuple(dict.fromkeys(percentiles)))
        for metric, (aggregations, percentiles) in asked.items()
    )
    if sum(len(metric.aggregations) + len(metric.percentiles) for metric in metrics) > KEYS_MAX:
        raise invalid_at((field,), f"A row should have at most {KEYS_MAX} keys", "too_long")
    return metrics


def call_filter(asked: CallsFilter, project_id: str) -> CallFilter:
    """Each list as a tuple; null and an empty list restrict nothing."""
    fields = asked.model_dump()
    roots_only = bool(fields.pop("trace_roots_only"))
    fields["wb_run_ids"] = _run_ids(asked.wb_run_ids or (), project_id)
    return CallFilter(
        trace_roots_only=roots_only, **{name: tuple(values) if values else None for name, values in fields.items()}
    )


def _run_ids(asked: Sequence[str], project_id: str) -> list[str]:
    """The ids themselves; one without a `/` means the run of this project too, which SDKs write with its project."""
    return [name for run_id in asked for name in (run_id, *([] if "/" in run_id else [f"{project_id}/{run_id}"]))]
