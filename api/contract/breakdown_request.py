"""`POST /calls/breakdown` on the wire: the request, checked and turned into a BreakdownQuestion, and the answer."""

from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError

from api.contract.field_types import InstantUs, WholeNumber
from api.contract.relative_instants import Instant
from api.contract.stats_request import (
    BODIES_REMEMBERED_MAX,
    BODY_REMEMBERED_BYTES_MAX,
    METRIC_LIST,
    CallMetricSpec,
    CallsFilter,
    UsageMetricSpec,
    call_filter,
    metric_questions,
)
from api.contract.window_request import WindowReq, at_most, window
from api.query.breakdown_question import BreakdownQuestion
from api.query.questions import MetricQuestion
from api.refusals import invalid, invalid_at

# Rows of one answer; more than a table shows anybody.
ROWS_MAX = 1_000
ROWS_DEFAULT = 20
# Windows of one answer beside the first: the longest lists of burn rates have seven.
MORE_STARTS_MAX = 16
COUNT = "count"

BreakdownDimension = Literal["op_name", "model", "wb_user_id", "wb_run_id", "trace_root", "error"]


class CallBreakdownReq(WindowReq):
    """Request for call statistics of one window, by the values of one dimension."""

    dimension: BreakdownDimension = Field(
        description="The dimension whose values are the rows. A call counts in each `model` it used itself; one that "
        "failed and used none, in the model its attributes name. `error`: failed calls, by the class "
        "of their error; they are the total."
    )
    call_metrics: Annotated[list[CallMetricSpec], *METRIC_LIST] | None = Field(
        default=None, description="Call metrics of each row, as in `/calls/stats`."
    )
    usage_metrics: Annotated[list[UsageMetricSpec], *METRIC_LIST] | None = Field(
        default=None, description="Usage metrics of each row, as in `/calls/stats`, over all models."
    )
    filter: CallsFilter | None = None
    order_by: StrictStr | None = Field(
        default=None,
        description="The key that orders rows: one that was asked, or `count`. Default: the first one asked.",
    )
    order: Literal["desc", "asc"] = "desc"
    limit: Annotated[WholeNumber, at_most(ROWS_MAX)] = Field(
        default=ROWS_DEFAULT, description="How many rows the answer has, 1 to 1,000; all others are one row, `rest`."
    )
    more_starts: Annotated[list[Instant], Field(max_length=MORE_STARTS_MAX)] | None = Field(
        default=None,
        description="Starts of further windows, within this one and up to the same end: one read answers all of them.",
    )
    compare: Literal["previous"] | None = Field(
        default=None, description="`previous` adds to each row what it was in the window before, of the same length."
    )


class BreakdownTotals(BaseModel):
    """Calls, and the keys of all metrics that were asked."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float | None]

    count: int = Field(description="Number of calls")


class BreakdownRow(BreakdownTotals):
    """One value of the dimension."""

    value: str | bool | None = Field(description="The value that the row counts; null: calls without one")
    share: float | None = Field(
        description="The row's part of the total of `order_by`, 0 to 1; null where that is no sum"
    )
    previous: BreakdownTotals | None = Field(default=None, description="The row in the window before, if asked")


class BreakdownRest(BreakdownTotals):
    """All values beyond `limit` in one row."""

    values: int = Field(description="How many values the row puts together")


class BreakdownTotal(BreakdownTotals):
    """All calls of the window that the filter lets through, each once."""

    previous: BreakdownTotals | None = None


class BreakdownWindow(BaseModel):
    """The rows of one window, in their order."""

    start: InstantUs = Field(description="Resolved start (UTC)")
    end: InstantUs = Field(description="Resolved end (UTC)")
    rows: list[BreakdownRow]
    rest: BreakdownRest | None
    total: BreakdownTotal
    calls_without_model: int | None = Field(
        default=None,
        description="Only for dimension `model`: calls that belong to no model, such as tools, and unfinished ones",
    )


class CallBreakdownRes(BreakdownWindow):
    """Call statistics by the values of a dimension. Of calls without a value (`value` null, or false of `trace_root`)
    minimum, maximum and percentiles are null.
    """

    dimension: BreakdownDimension
    order_by: str
    previous_start: InstantUs | None = None
    previous_end: InstantUs | None = None
    windows: list[BreakdownWindow] | None = Field(
        default=None, description="The windows of `more_starts`, in their order; each as a question of its own has it"
    )


def read_breakdown_question(body: bytes, now_us: int) -> BreakdownQuestion:
    """The question that the JSON `body` asks at `now_us`. Raises Refusal (422) for a body that asks none."""
    request = (_read_again if len(body) <= BODY_REMEMBERED_BYTES_MAX else _read)(body)
    start_us, end_us = window(request.start, request.end, now_us)
    call_metrics = metric_questions("call_metrics", request.call_metrics)
    usage_metrics = metric_questions("usage_metrics", request.usage_metrics)
    more_starts_us = tuple(one.as_start(now_us) for one in request.more_starts or ())
    for at, more_us in enumerate(more_starts_us):
        if not start_us <= more_us <= end_us:
            raise invalid_at(("more_starts", at), "A further start should be within the window")
    return BreakdownQuestion(
        project_id=request.project_id,
        start_us=start_us,
        end_us=end_us,
        dimension=request.dimension,
        call_metrics=call_metrics,
        usage_metrics=usage_metrics,
        filter=call_filter(request.filter or CallsFilter(), request.project_id),
        order_by=_order_by(request.order_by, (*call_metrics, *usage_metrics)),
        is_descending=request.order == "desc",
        limit=request.limit,
        compare=request.compare is not None,
        more_starts_us=more_starts_us,
    )


def _order_by(asked: str | None, metrics: tuple[MetricQuestion, ...]) -> str:
    keys = [*(key for metric in metrics for key in metric.keys), COUNT]
    if asked is None:
        return keys[0]
    if asked not in keys:
        raise invalid_at(("order_by",), f"Order should be by a key that is asked: {', '.join(keys[:50])}")
    return asked


def _read(body: bytes) -> Any:
    try:
        return CallBreakdownReq.model_validate_json(body)
    except ValidationError as wrong:
        raise invalid(wrong) from None


_read_again = lru_cache(BODIES_REMEMBERED_MAX)(_read)
