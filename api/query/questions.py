"""What is asked, once a request has been checked: frozen values that the rest of the api works with.

Times are integer microseconds since 1970-01-01T00:00Z (`_us`); percentiles run from 0 to 100.
"""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class MetricQuestion:
    """One metric with all that is asked of it, each aggregation and percentile once, in the order of the request."""

    metric: str
    aggregations: tuple[str, ...]
    percentiles: tuple[float, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The answer's keys, such as `sum_latency_ms` and `p99.9_latency_ms`; aggregations first."""
        return (
            *(f"{aggregation}_{self.metric}" for aggregation in self.aggregations),
            *(f"p{_plain(percentile)}_{self.metric}" for percentile in self.percentiles),
        )


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which calls count: those that meet every field. None: no restriction; else one of the values must match."""

    op_names: tuple[str, ...] | None = None
    input_refs: tuple[str, ...] | None = None
    output_refs: tuple[str, ...] | None = None
    parent_ids: tuple[str, ...] | None = None
    trace_ids: tuple[str, ...] | None = None
    call_ids: tuple[str, ...] | None = None
    thread_ids: tuple[str, ...] | None = None
    turn_ids: tuple[str, ...] | None = None
    wb_user_ids: tuple[str, ...] | None = None
    wb_run_ids: tuple[str, ...] | None = None
    trace_roots_only: bool = False


@dataclass(frozen=True, slots=True)
class StatsQuestion:
    """A question to `/calls/stats`. The window is `start_us <= started_at < end_us`; `end_us` None means now."""

    project_id: str
    start_us: int
    end_us: int | None
    granularity_s: int | None
    timezone: str
    usage_metrics: tuple[MetricQuestion, ...]
    call_metrics: tuple[MetricQuestion, ...]
    filter: CallFilter


@dataclass(frozen=True, slots=True)
class UsageQuestion:
    """A question to `/calls/usage`: distinct call ids, in the order of the request, no more than its limit."""

    project_id: str
    call_ids: tuple[str, ...]
    include_costs: bool


@dataclass(frozen=True, slots=True)
class TraceUsageQuestion:
    """A question to `/trace/usage`: all calls that the filter selects, `limit` at most."""

    project_id: str
    filter: CallFilter
    include_costs: bool
    limit: int


def _plain(percentile: float) -> str:
    """The shortest decimal that is this percentile: 95.0 is "95", 99.9 is "99.9", 1e-05 is "0.00001"."""
    if percentile.is_integer():
        return str(int(percentile))
    return format(Decimal(repr(percentile)), "f")
