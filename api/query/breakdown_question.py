"""What `/calls/breakdown` is asked, once the request has been checked."""

from dataclasses import dataclass

from aggregator.rollups.view import ERROR, MODEL, OP, ROOT, RUN, USER
from api.query.questions import CallFilter, MetricQuestion

BY_MODEL, BY_ERROR, BY_ROOT = "model", "error", "trace_root"
VIEW_DIMENSIONS = {
    "op_name": OP,
    "wb_user_id": USER,
    "wb_run_id": RUN,
    BY_ROOT: ROOT,
    BY_MODEL: MODEL,
    BY_ERROR: ERROR,
}
"""The dimensions by their names in requests."""


@dataclass(frozen=True, slots=True)
class BreakdownQuestion:
    """A question to `/calls/breakdown` about the calls with `start_us <= started_at < end_us`.

    `more_starts_us`: of further windows that end there too. `order_by` is a key of a row. `compare`: whether the window
    before, of the same length, is asked too.
    """

    project_id: str
    start_us: int
    end_us: int
    dimension: str
    call_metrics: tuple[MetricQuestion, ...]
    usage_metrics: tuple[MetricQuestion, ...]
    filter: CallFilter
    order_by: str
    is_descending: bool
    limit: int
    compare: bool
    more_starts_us: tuple[int, ...] = ()
